"""Trainings in processes of their own: on JAX, on several devices, or several that train together."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TIME_LIMIT = 280


@dataclass(frozen=True)
class Ended:
    """What became of a process: its exit status, negative where it was killed; what it told of every training; all that
    it said."""

    code: int
    told: list[dict[str, Any]]
    said: str


def launch(
    folder: Path, case: str, *trainings: dict, backend: str = "jax", devices: int = 1, processes: int = 1,
    doomed: dict | None = None,
) -> list[Ended]:  # fmt: skip
    """Train a case of `tests.recipes.trainer`.

    Args:
        folder: of the Runs, `0` and so on.
        case: its name.
        trainings: options of the recipe, of one after the other.
        backend: of Keras.
        devices: of each process, simulated.
        processes: that train together.
        doomed: more options of the last process alone.
    """
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "SIMULATED_DEVICES": str(devices),
        "PYTHONPATH": str(ROOT),
    }
    if processes > 1:
        environment |= {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{free_port()}",
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(processes),
        }

    def start(number):
        more = doomed if doomed and number == processes - 1 else {}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.recipes.trainer", str(folder), case]
            + [json.dumps({**options, **more}) for options in trainings],
            cwd=ROOT,
            env=environment | {"KERAS_DISTRIBUTION_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    started = [start(number) for number in range(processes)]
    try:
        return [_ended(process) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


def _ended(process: subprocess.Popen) -> Ended:
    out, err = process.communicate(timeout=TIME_LIMIT)
    told = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return Ended(process.returncode, told, out + err)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
