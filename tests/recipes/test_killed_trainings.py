"""Trainings killed with SIGKILL at any moment, and resumed: the Run is that of one that nobody killed, bit for bit."""

import io
import json
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from tests.recipes.doomed_trainer import STEPS, TASKS

ROOT = Path(__file__).parents[2]
TIME_LIMIT = 1800
UNLIKE = ("seconds", "seconds_of_epoch")


def trained(folder, *trainings):
    """What became of each: see `doomed_trainer`."""
    command = [sys.executable, "-m", "tests.recipes.doomed_trainer", str(folder), *trainings]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIME_LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def weights_of(run):
    """The arrays in `model.keras`, by their place in it."""
    found = {}
    with zipfile.ZipFile(run / "model.keras") as archive:
        stored = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    stored.visititems(lambda name, each: found.update({name: each[()]} if isinstance(each, h5py.Dataset) else {}))
    return found


def without_seconds(record):
    """A checkpoint's record without what a clock said."""
    record["history"] = [{k: v for k, v in row.items() if k not in UNLIKE} for row in record["history"]]
    return {k: v for k, v in record.items() if k not in UNLIKE}


def assert_same(run, whole):
    """Weights, optimizers, averages, generators, metrics, history, best: every bit."""
    checkpoints = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == checkpoints
    for name in checkpoints:
        with np.load(run / "checkpoints" / name) as mine, np.load(whole / "checkpoints" / name) as theirs:
            assert mine.files == theirs.files
            for array in set(mine.files) - {"record"}:
                np.testing.assert_array_equal(mine[array], theirs[array], err_msg=f"{name} {array}")
            assert without_seconds(json.loads(str(mine["record"]))) == without_seconds(
                json.loads(str(theirs["record"]))
            )
    mine, theirs = weights_of(run), weights_of(whole)
    assert mine
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    mine, theirs = (json.loads((folder / "metrics.json").read_text())["metrics"] for folder in (run, whole))
    assert mine == theirs
    mine, theirs = (pd.read_csv(folder / "history.csv").drop(columns="seconds") for folder in (run, whole))
    pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    for path in whole.glob("samples*"):
        if path.is_file():
            assert (run / path.name).read_bytes() == path.read_bytes()


def random_moments(case):
    """Steps in rising order, and moments of other kinds."""
    draw = random.Random(case)
    first, second = sorted(draw.sample(range(1, STEPS), 2))
    return [f"step {first}", f"sync {draw.randint(1, 4)}", f"step {second}", f"test {draw.randint(1, 2)}", "saving"]


def kill_and_resume(folder, moments):
    """Kill a training of each case at some moments, then leave it alone; and leave another one alone altogether.

    Returns:
        What became of those that were to come to grief, in order.
    """
    doomed = [f"{case}/run {moment}" for case, listed in moments.items() for moment in listed]
    whole, rest = [f"{case}/whole never" for case in moments], [f"{case}/run never" for case in moments]
    became = trained(folder, *whole, *doomed, *rest)
    assert became[: len(whole)] == ["trained"] * len(whole)
    assert became[-len(rest) :] == ["trained"] * len(rest)
    for case in moments:
        assert_same(folder / case / "run", folder / case / "whole")
    return became[len(whole) : -len(rest)]


FULL = r"CheckpointNotWritten: .*File too large. step-00000000\d.npz is whole: make room, and go on .*--resume."


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path):
    """With a checkpoint half written within the first epoch; and, by a full disk, within the second."""
    killed, full = kill_and_resume(tmp_path, {"image": ["sync 3"], "text": ["full 8"]})
    assert killed == "killed"
    assert re.fullmatch(FULL, full)


@pytest.mark.slow
@pytest.mark.timeout(TIME_LIMIT)
@pytest.mark.parametrize("case", [case for case in TASKS if case != "pair"])
def test_on_jax_too(tmp_path, monkeypatch, case):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    became = kill_and_resume(tmp_path, {case: random_moments(case)[:1]})
    assert became == ["killed"]


@pytest.mark.slow
@pytest.mark.timeout(TIME_LIMIT)
@pytest.mark.parametrize("case", TASKS)
def test_every_task_can_be_killed_at_any_moment(tmp_path, case):
    became = kill_and_resume(tmp_path, {case: random_moments(case)})
    assert "killed" in became
    assert set(became) <= {"killed", "trained"}, "a moment may not come any more"
