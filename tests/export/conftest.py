"""Small Runs and the versions published from them, once per session."""

import contextlib
from types import SimpleNamespace

import pytest

import export
from export import fresh_process, replay, timing
from tests.export import small_runs


def replay_here(folder, examples=None, once=False):
    """What a fresh process does and how it fails, without the seconds that importing TensorFlow again takes."""
    try:
        return replay.replay(folder, examples, once)
    except Exception as error:
        raise ChildProcessError(f"{folder} cannot be loaded: {error}") from error


@contextlib.contextmanager
def started_here():
    """In place of `fresh_process.started`."""
    yield SimpleNamespace(replay=replay_here, measure=lambda *asked: timing.measure(*asked))


@pytest.fixture
def here(monkeypatch):
    """Replay proofs in this process."""
    monkeypatch.setattr(fresh_process, "started", started_here)


@pytest.fixture(scope="session")
def image_run():
    return small_runs.image_run()


@pytest.fixture(scope="session")
def classifier_run():
    return small_runs.table_run()


@pytest.fixture(scope="session")
def regressor_run():
    return small_runs.table_run("linear_regression")


@pytest.fixture(scope="session")
def awkward_run():
    return small_runs.image_run(small_runs.awkward_model())


@pytest.fixture(scope="session")
def image_version(image_run, tmp_path_factory):
    """Published as a person does: with the fresh process. Not to be written to."""
    return export.publish(image_run, tmp_path_factory.mktemp("served") / "lenet5")


@pytest.fixture(scope="session")
def classifier_version(classifier_run, tmp_path_factory):
    return published_here(classifier_run, tmp_path_factory.mktemp("served") / "tumours")


@pytest.fixture(scope="session")
def regressor_version(regressor_run, tmp_path_factory):
    return published_here(regressor_run, tmp_path_factory.mktemp("served") / "line")


@pytest.fixture(scope="session")
def awkward_version(awkward_run, tmp_path_factory):
    return published_here(awkward_run, tmp_path_factory.mktemp("served") / "awkward")


def published_here(run, base, **options):
    """Published as `here` lets tests publish, for fixtures that last longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh_process, "started", started_here)
        return export.publish(run, base, **options)
