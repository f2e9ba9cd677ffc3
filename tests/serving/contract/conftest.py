"""The contract suite's models, and one real server of all of them for each worker."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
START_SECONDS = 120
CONFIG = """
model_config_list {{
  config {{ name: "affine" base_path: "{0}/affine" model_platform: "tensorflow"
    model_version_policy {{ all {{}} }} version_labels {{ key: "stable" value: 1 }} }}
  config {{ name: "lookup" base_path: "{0}/lookup" model_platform: "tensorflow" }}
  config {{ name: "strings" base_path: "{0}/strings" model_platform: "tensorflow" }}
  config {{ name: "pair" base_path: "{0}/pair" model_platform: "tensorflow" }}
  config {{ name: "identity" base_path: "{0}/identity" model_platform: "tensorflow" }}
  config {{ name: "shapes" base_path: "{0}/shapes" model_platform: "tensorflow" }}
  config {{ name: "examples" base_path: "{0}/examples" model_platform: "tensorflow" }}
}}
"""


@dataclass
class Running:
    """A server process that answers."""

    process: subprocess.Popen
    rest_port: int
    grpc_port: int
    log: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(30)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(log: Path, *flags: str) -> Running:
    """Starts a server; it may not answer yet."""
    rest_port, grpc_port = free_port(), free_port()
    command = [sys.executable, "-m", "serving.embedded", f"--port={grpc_port}", f"--rest_api_port={rest_port}", *flags]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=REPOSITORY)
    return Running(process, rest_port, grpc_port, log)


def start(log: Path, *flags: str) -> Running:
    """Starts a server and waits until it says that it is ready."""
    running = launch(log, *flags)
    deadline = time.monotonic() + START_SECONDS
    while " ready: " not in log.read_text():
        assert running.process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return running


@dataclass
class Launcher:
    """Starts servers and ends those that a test leaves behind."""

    folder: Path
    running: list[Running] = field(default_factory=list)

    def launch(self, *flags: str) -> Running:
        """A server that may not answer yet."""
        self.running.append(launch(self.folder / f"server-{len(self.running)}.log", *flags))
        return self.running[-1]

    def start(self, *flags: str) -> Running:
        """A server that answers."""
        self.running.append(start(self.folder / f"server-{len(self.running)}.log", *flags))
        return self.running[-1]


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """Starts servers for one test."""
    launcher = Launcher(tmp_path)
    yield launcher
    for running in launcher.running:
        running.process.kill()
        running.process.wait()


@pytest.fixture(scope="session")
def contract_models(shared_folder: Path) -> Path:
    """The folder of base paths, written once for all workers."""
    folder = shared_folder / "contract-models"
    with FileLock(shared_folder / "contract-models.lock"):
        if not folder.exists():
            staging = shared_folder / "contract-models.staging"
            shutil.rmtree(staging, ignore_errors=True)
            command = [sys.executable, str(HERE / "write_models.py"), str(staging)]
            subprocess.run(command, check=True, timeout=240, capture_output=True)
            staging.rename(folder)
    return folder


@pytest.fixture(scope="session")
def contract_server(contract_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of every model, with labels, metrics and CORS."""
    folder = tmp_path_factory.mktemp("contract")
    (folder / "models.config").write_text(CONFIG.format(contract_models))
    (folder / "monitoring.config").write_text('prometheus_config { enable: true path: "/metrics" }')
    running = start(
        folder / "server.log",
        f"--model_config_file={folder / 'models.config'}",
        f"--monitoring_config_file={folder / 'monitoring.config'}",
        "--allow_version_labels_for_unavailable_models",
        "--rest_api_enable_cors_support",
        "--max_request_bytes=16777216",
    )
    yield running
    running.stop()
