"""Run `export.replay` in a process of its own."""

import io
import os
import subprocess
import sys
from pathlib import Path

from export import arrays
from export.arrays import Arrays

TIME_LIMIT = 1800.0


def replay(folder: Path, time_limit: float = TIME_LIMIT) -> dict[str, Arrays]:
    """Load a version folder in a fresh process, without Keras, and answer its golden inputs.

    Returns:
        What `export.replay.replay` describes.

    Raises:
        ChildProcessError: the process ended without an answer; the message ends in what it said.
    """
    root = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",  # the proof is made where every server can repeat it
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")])),
    }
    # -P: a folder named `export` where the person happens to stand is not this package.
    command = [sys.executable, "-P", "-m", "export.replay", str(folder.resolve())]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=time_limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise ChildProcessError(f"{folder} did not answer its golden inputs within {time_limit:.0f} s.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise ChildProcessError(f"{folder} cannot be loaded in a fresh process (exit {done.returncode}):\n{said}")
    return arrays.load(io.BytesIO(done.stdout))
