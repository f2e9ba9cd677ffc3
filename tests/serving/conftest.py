"""Small SavedModels, written once for all workers, and real servers of them, started once for each worker."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

import serving
from serving.engines import ENGINES
from tests.serving.awaited import Awaited

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def models(shared_folder: Path) -> Path:
    """A folder of base paths: ``tiny`` and ``moving``."""
    folder = shared_folder / "tiny-models"
    with FileLock(shared_folder / "tiny-models.lock"):
        if not (folder / "moving/2/saved_model.pb").exists():
            subprocess.run([sys.executable, str(HERE / "tiny_models.py"), str(folder)], check=True, timeout=240)
    return folder


@pytest.fixture(scope="session", params=[name for name, engine in ENGINES.items() if engine.why_not() is None])
def server(request: pytest.FixtureRequest, models: Path) -> Iterator[serving.Server]:
    """A server of ``tiny``, on each engine that this machine has."""
    with serving.serve(models / "tiny", engine=request.param) as running:
        yield running


@pytest.fixture(scope="session", params=["rest", "grpc"])
def target(request: pytest.FixtureRequest, server: serving.Server) -> str:
    """Where ``server`` answers, over both transports."""
    return server.rest_url if request.param == "rest" else server.grpc_address


@pytest.fixture(scope="session", params=[serving.Client, Awaited], ids=["blocking", "awaited"])
def connect(request: pytest.FixtureRequest) -> type[serving.Client]:
    """``connect(target)``: a client of either kind."""
    return request.param


@pytest.fixture(scope="session")
def client(connect: type[serving.Client], target: str) -> Iterator[serving.Client]:
    """A client of ``server``, of both kinds, over both transports."""
    with connect(target, timeout=30) as connected:
        yield connected


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    """A base path that passes every check before a start, and that no real server could load."""
    version = tmp_path / "served" / "m" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    return version.parent


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """``on_path(name, script)``: an executable Python script, the only thing of that name on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{script}")
        path.chmod(0o755)
        return path

    return install
