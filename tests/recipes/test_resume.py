"""Trainings that stop short and go on: the Run is the one that they would have made in one go, bit for bit.

Those that are killed are in `test_killed_trainings.py`.
"""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import recipes
from recipes import callbacks, checkpoint, folders
from recipes.adapting import Pairs
from recipes.config import ImageConfig
from recipes.interval import Interval, Timer
from recipes.pipeline import Part, Reading

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (48, 12, 12, 1), np.uint8), np.arange(48) % 3
NETWORK = {"hidden_sizes": (8,), "dropout": 0.3}
OPTIONS = {"batch_size": 16, "model_args": NETWORK, "augment": ("shift", "flip"), "ema": 0.8, "verbose": False}
OPTIONS |= {"checkpoint_every": "1step"}


def train(folder, **options):
    return recipes.image_classification("mlp", PICTURES, run_dir=str(folder), **{**OPTIONS, **options})


def interrupt(patch, epoch):
    """Ctrl-C at the beginning of an epoch, counted from 1."""
    begin = callbacks.History.on_epoch_begin

    def on_epoch_begin(self, number, logs=None):
        if number + 1 == epoch:
            raise KeyboardInterrupt
        begin(self, number, logs)

    patch.setattr(callbacks.History, "on_epoch_begin", on_epoch_begin)


def assert_same(run, other):
    for a, b in zip(run.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert run.metrics == other.metrics
    assert run.history.drop(columns="seconds").equals(other.history.drop(columns="seconds"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training of four epochs of three steps, in one go."""
    return train(tmp_path_factory.mktemp("whole") / "run", epochs=4)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The same, stopped when two were done; not to be changed."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, epoch=3)
        with pytest.raises(KeyboardInterrupt):
            train(folder, epochs=4, checkpoint_keep=3)
    return folder


@pytest.fixture
def own(stopped, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(stopped, tmp_path / "run")


def checkpoints(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def go_on(folder, **options):
    return train(folder, **{"epochs": 4, "resume": True, **options})


def test_a_finished_training_made_longer_is_the_long_one(tmp_path, whole):
    run = train(tmp_path / "run", epochs=2, checkpoint_every="1h", checkpoint_keep=1)
    assert checkpoints(run.dir) == ["step-000000006.npz"]  # the last epoch always has one
    longer = go_on(tmp_path / "run")
    assert_same(longer, whole)
    assert_same(recipes.load_run(tmp_path / "run"), whole)


def test_an_interrupted_training_goes_on(own, whole, tmp_path):
    assert {"checkpoints", "history.csv", "best.weights.h5"} <= {path.name for path in own.iterdir()}
    assert_same(go_on(own), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("before", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_frozen_layers_thaw_when_they_would_have(tmp_path, before):
    start = train(tmp_path / "start", epochs=1, augment=(), ema=None)
    options = {"freeze": "backbone", "unfreeze_at": 3, "schedule": "cosine", "ema": None, "weights": str(start.dir)}
    whole = train(tmp_path / "whole", epochs=4, **options)
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, epoch=before + 1)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", epochs=4, **options)
    assert_same(train(tmp_path / "run", epochs=4, resume=True, **options), whole)


def test_a_finished_run_outlives_the_interruption_of_its_longer_training(tmp_path, monkeypatch):
    run = train(tmp_path / "run", epochs=2)
    with monkeypatch.context() as patch:
        interrupt(patch, epoch=4)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", epochs=5, resume=True)
    assert_same(recipes.load_run(tmp_path / "run"), run)
    longest = train(tmp_path / "run", epochs=5, resume=True)  # from the third epoch, which lies beside the Run
    assert len(longest.history) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def part_of(kind):
    """The same numbers in memory, streamed, as sequences of several lengths, or beside those of another domain."""
    x = np.arange(1, 12, dtype=np.int64)
    if kind == "streamed":
        return Part(11, None, tf.data.Dataset.from_tensor_slices((x, x)), Reading(lambda x, y: (x, y)))
    if kind == "sequences":
        rows = np.where(np.arange(6) < x[:, None] % 6 + 1, x[:, None], 0)
        return Part(11, (rows, x), None, Reading(None, padding=(0, None)))
    in_memory = Part(11, (x, x), None, None)
    return in_memory if kind == "in memory" else Pairs(in_memory, Part(7, (x[:7], x[:7]), None, None))


@pytest.mark.parametrize("kind", ["in memory", "streamed", "sequences", "pairs"])
def test_the_rest_of_an_epoch_is_what_it_would_have_been(kind):
    part = part_of(kind)

    def augment(x, y, step):
        return x + 100 * step, y

    def batches(first, skipped, count):
        read = part.epochs(2, 5, True, augment, first, skipped).take(count)
        return [tf.nest.flatten(batch) for batch in read.as_numpy_iterator()]

    steps = part.steps(2)
    whole = batches(first=0, skipped=0, count=3 * steps)
    rest = batches(first=1, skipped=4, count=2 * steps - 4)
    assert len(whole) == 3 * steps
    for mine, theirs in zip(rest, whole[steps + 4 :], strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def edited(path, change):
    """Let a checkpoint say something else."""
    with np.load(path) as file:
        arrays = dict(file)
    record = json.loads(str(arrays["record"]))
    change(record)
    np.savez(path, **{**arrays, "record": json.dumps(record)})


def test_the_last_checkpoints_are_kept(stopped):
    assert checkpoints(stopped) == [f"step-00000000{step}.npz" for step in (4, 5, 6)]


@pytest.mark.parametrize("harm", ["half", "bit", "empty"])
def test_a_broken_checkpoint_is_passed_over_for_the_one_before(own, harm, monkeypatch):
    newest = own / "checkpoints" / "step-000000006.npz"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes({"half": content[: len(content) // 2], "bit": content, "empty": b""}[harm])
    monkeypatch.setattr(callbacks.StopOnNonFiniteLoss, "on_train_batch_end", leave_at(7))
    passed_over = pytest.warns(UserWarning, match=r"Passed over, as broken, for step-000000005.npz: .*step-000000006")
    with passed_over, pytest.raises(KeyboardInterrupt):
        go_on(own)
    assert len(np.load(own / "checkpoints" / "step-000000006.npz").files) > 10  # written anew


def leave_at(step):
    """A hook of `StopOnNonFiniteLoss`: Ctrl-C at the end of a step of the whole training."""

    def on_train_batch_end(self, batch, logs=None):
        if self._epoch * self.steps + batch + 1 == step:
            raise KeyboardInterrupt

    return on_train_batch_end


def test_a_clock_that_goes_back_does_not_matter(own):
    for age, name in enumerate(reversed(checkpoints(own))):
        os.utime(own / "checkpoints" / name, (1e9 + age, 1e9 + age))
    assert checkpoint.find(own).position == checkpoint.Position(0, 2, 0)


def test_no_checkpoint_that_can_be_read_is_said(own):
    for name in checkpoints(own):
        (own / "checkpoints" / name).write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"No checkpoint of .* can be read: .*step-000000006.npz: .*step-000000004"):
        go_on(own)


def test_a_checkpoint_of_a_newer_version_is_refused(own):
    edited(own / "checkpoints" / "step-000000006.npz", lambda record: record.update(format=checkpoint.FORMAT + 1))
    said = f"step-000000006.npz was written by a newer version, in format {checkpoint.FORMAT + 1}. Accepted: up to"
    with pytest.raises(ValueError, match=said):
        go_on(own)


def test_a_training_that_was_stopped_is_not_begun_anew_by_chance(own):
    with pytest.raises(ValueError, match=r"was stopped. Go on with it \(resume=True, --resume"):
        train(own, epochs=4)
    assert len(checkpoints(own)) == 3
    assert len(train(own, epochs=1, overwrite=True).history) == 1


def test_a_folder_that_another_training_is_making_is_refused(own):
    refused = pytest.raises(ValueError, match=r"Another process is training for .*run")
    with folders.staged_run(own, overwrite=False, resume=True), refused:
        go_on(own)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"learning_rate": 0.5, "seed": 3}, ["learning_rate was None. Received: 0.5", "seed was 0. Received: 3"]),
        ({"schedule": "cosine"}, ["schedule was 'constant'", "override=True (--override)"]),
        ({"epochs": 1}, ["has done 2 epochs. Received: epochs=1. Accepted: more"]),
        ({"overwrite": True}, ["overwrite begins anew and resume goes on"]),
        ({"resume": False, "override": True}, ["say resume, too"]),
    ],
)
def test_what_cannot_go_on_says_why(stopped, options, said):
    with pytest.raises(ValueError) as error:
        go_on(stopped, **options)
    for words in said:
        assert words in str(error.value)
    assert len(checkpoints(stopped)) == 3


def test_other_data_and_other_tasks_are_refused(stopped):
    x, y = PICTURES
    options = {"run_dir": str(stopped), "epochs": 4, "resume": True}
    with pytest.raises(ValueError, match=r"Its data was other data"):
        recipes.image_classification("mlp", (255 - x, y), **options, **OPTIONS)
    with pytest.raises(ValueError, match=r"another task, image-classification. Received: regression"):
        recipes.regression("mlp", (x.reshape(48, -1), y), **options, override=True)


def test_a_training_goes_on_otherwise_where_that_is_wanted(own):
    changed = {"learning_rate": 0.5, "optimizer": "sgd", "batch_size": 8, "override": True}
    with pytest.warns(UserWarning, match="optimizer is another one than before, and begins anew"):
        run = go_on(own, **changed)
    assert run.history["learning_rate"].tolist() == pytest.approx([0.001, 0.001, 0.5, 0.5])
    assert run.facts["overridden"] == (
        "Its batch_size was 16. Received: 8.",
        "Its optimizer was 'adam'. Received: 'sgd'.",
        "Its learning_rate was None. Received: 0.5.",
    )


def test_another_network_does_not_fit_even_if_it_is_wanted(own):
    with pytest.raises(ValueError, match=r"The checkpoint's network has .* Accepted: the same network"):
        go_on(own, model_args={"hidden_sizes": (9,), "dropout": 0.3}, override=True)
    assert len(checkpoints(own)) == 3


@pytest.mark.parametrize(
    ("failing", "code", "reason"),
    [
        ("fsync", errno.ENOSPC, "No space left"),
        pytest.param("replace", errno.EROFS, "Read-only", marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_takes_no_more_leaves_the_last_good_checkpoint(own, whole, monkeypatch, failing, code, reason):
    do, calls = getattr(os, failing), []

    def fail(*given):
        calls.append(given)
        if len(calls) > 4:
            raise OSError(code, os.strerror(code))
        do(*given)

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(checkpoint.CheckpointNotWritten, match=rf"{reason}.* is whole: make room, .*--resume"):
            go_on(own)
    assert len(checkpoints(own)) == 3, "what was there before"
    left = own.with_name(".run.training")
    assert [path.name for path in left.iterdir()] == ["checkpoints"]
    assert not (left / "checkpoints" / "partial").exists()
    assert_same(go_on(own), whole)
    assert not left.exists()


def test_a_folder_that_cannot_be_written_is_said_before_training(tmp_path, monkeypatch):
    def refuse(self, *given, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match=r"cannot be written: Permission denied. Choose another run_dir"):
        train(tmp_path / "folder" / "run", epochs=2)


@pytest.mark.slow
def test_patience_that_is_over_is_over(tmp_path):
    run = train(tmp_path / "run", epochs=9, patience=1, learning_rate=3.0)
    assert len(run.history) < 9
    with pytest.raises(ValueError, match=r"has stopped after \d epochs, 1 of them without gain. Received: patience=1"):
        train(tmp_path / "run", epochs=9, patience=1, learning_rate=3.0, resume=True)


def test_nothing_to_go_on_with_is_said(tmp_path):
    with pytest.raises(ValueError, match="no training to go on with in "):
        train(tmp_path / "run", epochs=2, resume=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", ["often", "0s", "1.5steps", "", 60, "10 days"])
def test_an_interval_that_is_none_is_refused(given):
    with pytest.raises(ValueError, match="checkpoint_every must be a number of steps, seconds, minutes or hours"):
        ImageConfig(checkpoint_every=given)


def test_checkpoints_take_a_hundredth_of_the_time_at_most():
    now = [0.0]
    timer = Timer(None, clock=lambda: now[0])
    due = lambda seconds, after_epoch: now.__setitem__(0, seconds) or timer.is_due(1, after_epoch)  # noqa: E731
    assert [due(9, True), due(11, True), due(59, False), due(61, False)] == [False, True, False, True]
    timer.written(1, seconds=2.0)
    assert [due(61 + 199, True), due(61 + 201, False)] == [False, True]
    by_step = Timer(Interval.parse("3 steps"))
    assert [by_step.is_due(step, False) for step in (1, 2, 3, 4)] == [False, False, True, True]
    assert Interval.parse("1.5m") == Interval(seconds=90.0)
