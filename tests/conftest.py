"""What all tests share: quiet TensorFlow, prepared data sets, and one worker for the tests of a file."""

import contextlib
import gc
import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items):
    """Keep a file's tests in one worker, which then starts its servers and trains its models once.

    Only the tests of every model are spread, one model to one worker: they say so themselves.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


@pytest.fixture(scope="session", autouse=True)
def frozen():
    """The collector leaves out what was imported: a million objects of TensorFlow that stay."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def drawing():
    """Runs get no pictures, which take as long as a small training, but within `with drawing():`."""
    from recipes import plots

    draw = plots.draw

    @contextlib.contextmanager
    def drawn():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plots, "draw", draw)
            yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "draw", lambda *arguments: None)
        yield drawn


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Published weights on this machine; their hashes are wrong until `vouch` is called."""
    from tests.mirror import Mirror

    return Mirror(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """The same folder for all workers of this session: what one of them makes under a lock, the others find there."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def data_dir(shared_folder):
    """Where this session's own TFDS data sets are prepared, each by the worker that needs it first."""
    return str(shared_folder / "tensorflow_datasets")
