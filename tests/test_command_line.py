"""The script `zoo` as a person meets it: quick, quiet, and with exit codes that tell."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from zoo.__main__ import root

ROAD = (
    "list show pretrained data train evaluate compare reproduce explain publish versions verify rollback "
    "prune serve query playground bench tune deploy demo"
)
COMMANDS = ROAD.split()


def zoo(*words, timeout=120):
    """The script in a process of its own."""
    return subprocess.run([sys.executable, "-m", "zoo", *words], capture_output=True, text=True, timeout=timeout)


def invoked(*words):
    """Its commands in this process, which has imported what they need."""
    return CliRunner().invoke(root, words, prog_name="zoo")


def test_help_names_every_command_in_order():
    done = zoo("--help")
    assert done.returncode == 0
    listed = [line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert [name for name in listed if name in COMMANDS] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    done = invoked(command, "--help")
    assert done.exit_code == 0
    assert f"Example: zoo {command}" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "words", [["--help"], ["list"], ["show", "lenet5"], ["train", "--help"], ["reproduce", "--list"]]
)
def test_help_and_listings_import_neither_keras_nor_tensorflow(words):
    code = (
        "import sys; from zoo.__main__ import root\n"
        f"try: root({words!r})\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_list_as_json_and_by_task():
    listed = json.loads(invoked("list", "--task", "regression", "--json").stdout)
    assert listed["linear_regression"]["parameters"] == 2


def test_show_prints_the_facts():
    shown = invoked("show", "lenet5").stdout
    assert "61,706" in shown
    assert "28x28x1 (at least 12x12)" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "No such command 'trian'"),
        (["show", "lenet"], "Did you mean 'lenet5'?"),
        (["list", "--task", "imageclassification"], "Did you mean 'image-classification'?"),
        (["train", "lenet", "--data", "digits"], "Did you mean 'lenet5'?"),
        (["train", "lenet5", "--data", "digits", "--optimizer", "adm"], "adam"),
        (["train", "lenet5", "--data", "digits", "--epochs", "0"], "epochs must be a whole number of at least 1"),
        (["train", "lenet5", "--data", "digits", "--loss", "mae"], "--loss has no meaning for image-classification"),
        (["train", "lenet5"], "Missing option '--data'"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_accepted(words, said):
    done = invoked(*words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_failure_exits_with_1_and_a_message_instead_of_a_stack(tmp_path):
    done = zoo("train", "lenet5", "--data", str(tmp_path), "--run-dir", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "Error:" in done.stderr
    assert "Traceback" not in done.stderr
    assert "oneDNN" not in done.stderr
