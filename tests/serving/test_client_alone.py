"""The client where TensorFlow was never installed: the README's commands in a fresh environment, and a real server."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

ASK = """
import importlib.util, sys
import serving

for absent in ("tensorflow", "keras", "PIL", "aiohttp", "rich", "click", "ml_dtypes"):
    assert importlib.util.find_spec(absent) is None, absent
for target in sys.argv[1:3]:
    with serving.Client(target) as client:
        print(client.predict("tiny", [[1, 2, 3]])["y"].astype(float).round(2).tolist())
        print(client.predict_images("tiny", sys.argv[3:], batch_size=1)["classes"].tolist())
        print(client.predict_texts("tiny", ["once"])["upper"].tolist())
        try:
            client.predict("tiny", [[1.0]], signature="half")
        except serving.Unsupported as error:
            print(error)
"""


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    everything = {**inherited, **environment}
    return subprocess.run(command, env=everything, cwd="/", capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An environment's Python, in which the README's commands were run."""
    folder = tmp_path_factory.mktemp("alone")
    repository, python = folder / "repository", folder / "environment/bin/python"
    repository.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, repository)
    for package in ("zoo", "recipes", "export", "serving"):
        shutil.copytree(REPOSITORY / package, repository / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert run(sys.executable, "-m", "venv", folder / "environment").returncode == 0
    quick = "--retries", "0", "--timeout", "10"
    reached = run(python, "-m", "pip", "download", *quick, "--no-deps", "--dest", folder, "urllib3")
    if reached.returncode:
        pytest.skip(f"no package index: {reached.stderr.strip().splitlines()[-1]}")
    readme = (REPOSITORY / "serving/README.md").read_text()
    commands = re.findall(r"^\$ pip (install .*?)(?: +#.*)?$", readme, re.MULTILINE)
    assert len(commands) == 2, "the README does not say how the client is installed alone"
    for command in commands:
        done = run(
            *(python, "-m", "pip", *command.replace(" .", f" {repository}").split()),
            PIP_CONSTRAINT=str(REPOSITORY / "constraints.txt"),
        )
        assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
def test_the_client_asks_where_it_is_installed_alone(python, server, tmp_path):
    pictures = [tmp_path / f"{more}.png" for more in range(3)]
    for more, picture in enumerate(pictures):
        picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * more)
    done = run(python, "-c", ASK, server.rest_url, server.grpc_address, *pictures)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0:3] == lines[4:7] == ["[[14.1, -0.95]]", "['fox', 'cat', 'dog']", "['ONCE']"]
    assert all("bfloat16 need the package ml_dtypes" in line for line in (lines[3], lines[7]))
