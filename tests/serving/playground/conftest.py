"""A playground of scripted models."""

import pytest

from serving.playground.server import Playground
from tests.serving.playground.scripted_models import MODELS, ScriptedModels


@pytest.fixture(scope="session")
def scripted():
    with ScriptedModels() as server:
        yield server


@pytest.fixture(scope="session")
def playground(scripted):
    """A page for all scripted models, and one that is not served."""
    with Playground(scripted.url, dict.fromkeys([*MODELS, "gone"])) as page:
        yield page
