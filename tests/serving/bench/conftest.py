"""A server whose answers and delays the test decides."""

from collections.abc import Iterator

import pytest

from tests.serving.bench.scripted_server import ScriptedServer


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    yield running
    running.close()
