"""No server may survive the process that started it: a forgotten one holds its ports, its memory and old answers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.process import SupervisedProcess

# Says its process id and its child's, and sleeps.
FAMILY = "import os, subprocess, time; c = subprocess.Popen(['sleep', '300']); print(os.getpid(), c.pid, flush=True); "
SLEEPS = FAMILY + "time.sleep(300)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPS


def started(script: str, **options) -> tuple[SupervisedProcess, list[int]]:
    process = SupervisedProcess([sys.executable, "-c", script], **options)
    assert eventually(process.lines), "it wrote nothing"
    return process, [int(word) for word in process.lines()[0].split()]


def eventually(condition, seconds: float = 10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    return condition()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int]) -> bool:
    return bool(eventually(lambda: not any(map(alive, pids))))


def test_stop_ends_the_command_and_its_children():
    process, pids = started(SLEEPS)
    assert all(map(alive, pids))
    process.stop()
    assert gone(pids)
    assert process.exit_code == 128 + signal.SIGTERM


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace_time():
    process, pids = started(DEAF, grace=0.3)
    start = time.monotonic()
    process.stop()
    assert gone(pids)
    assert time.monotonic() - start < 5
    assert process.exit_code == 128 + signal.SIGKILL


PARENT = """
import sys, time
from serving.process import SupervisedProcess
process = SupervisedProcess([sys.executable, "-c", sys.argv[1]], grace=0.3, cleanup=["touch", sys.argv[2]])
while not process.lines():
    time.sleep(0.02)
print(process.lines()[0], flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("script", [SLEEPS, DEAF], ids=["polite", "deaf"])
def test_nothing_outlives_a_parent_however_it_ends(tmp_path, how, script):
    mark = tmp_path / "cleaned"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, script, str(mark)], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert all(map(alive, pids))
    parent.send_signal(how)
    parent.wait(10)
    parent.stdout.close()
    assert gone(pids)
    assert eventually(mark.exists), "the cleanup command did not run"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_killed_supervisor_takes_the_command_with_it():
    process, pids = started(SLEEPS)
    supervisor = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    assert gone(pids[:1])
    assert process.wait(10) == -signal.SIGKILL
    os.kill(pids[1], signal.SIGKILL)  # the kernel tells the direct child only


def test_output_is_kept_and_passed_on_line_by_line():
    seen = []
    process = SupervisedProcess([sys.executable, "-c", "print('one'); print('two ä\\xff')"], log=seen.append)
    assert process.wait(10) == 0
    assert process.lines() == seen == ["one", "two äÿ"]


def test_a_log_function_that_fails_does_not_block_the_server():
    """A pipe that nobody reads holds 64 KiB: then the server would stand still."""

    def fails(_line):
        raise BrokenPipeError

    process = SupervisedProcess([sys.executable, "-c", "print('x' * 99, end='\\n' * 9999)"], log=fails)
    assert process.wait(10) == 0
    assert len(process.lines()) == 9999


def test_a_command_that_does_not_exist_says_so():
    process = SupervisedProcess(["/nonexistent/server"])
    assert process.wait(10) == 127
    assert "cannot start /nonexistent/server: No such file or directory" in process.lines()


def test_the_exit_code_is_the_commands_own():
    assert SupervisedProcess([sys.executable, "-c", "raise SystemExit(7)"]).wait(10) == 7


def test_what_was_made_for_a_command_that_cannot_be_started_goes_too(tmp_path):
    mark = tmp_path / "cleaned"
    process = SupervisedProcess([str(tmp_path / "nothing")], cleanup=["touch", str(mark)])
    assert process.wait(10) == 127
    assert mark.exists()
