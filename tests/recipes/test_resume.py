"""Trainings that stop short and go on: the Run is the one that they would have made in one go, bit for bit."""

import shutil

import numpy as np
import pytest

import recipes
from recipes import callbacks

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


def test_a_finished_training_made_longer_is_the_long_one(tmp_path):
    whole = train(tmp_path / "whole", epochs=4)
    train(tmp_path / "run", epochs=2)
    longer = train(tmp_path / "run", epochs=4, resume=True)
    assert_same(longer, whole)
    assert_same(recipes.load_run(tmp_path / "run"), whole)


def test_an_interrupted_training_goes_on(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", epochs=4, patience=3)
    with monkeypatch.context() as patch:
        interrupt(patch, epoch=3)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", epochs=4, patience=3)
    assert {"checkpoint.npz", "history.csv", "best.weights.h5"} <= {p.name for p in (tmp_path / "run").iterdir()}
    assert_same(train(tmp_path / "run", epochs=4, patience=3, resume=True), whole)


def test_a_killed_training_goes_on(tmp_path):
    whole = train(tmp_path / "whole", epochs=4)
    train(tmp_path / "run", epochs=3)
    killed = tmp_path / ".run-a1b2c3"
    killed.mkdir()
    shutil.copy(tmp_path / "run" / "checkpoint.npz", killed)
    shutil.rmtree(tmp_path / "run")
    assert_same(train(tmp_path / "run", epochs=4, resume=True), whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "whole"]


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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"learning_rate": 0.5}, "learning_rate was None. Received: 0.5"),
        ({"seed": 3}, "seed was 0. Received: 3"),
        ({"epochs": 2}, "has done 2 epochs. Received: epochs=2. Accepted: more"),
        ({"overwrite": True}, "overwrite begins anew and resume goes on"),
    ],
)
def test_what_cannot_go_on_says_why(tmp_path, options, said):
    train(tmp_path / "run", epochs=2)
    with pytest.raises(ValueError) as error:
        train(tmp_path / "run", **{"epochs": 4, "resume": True, **options})
    assert said in str(error.value)
    assert len(recipes.load_run(tmp_path / "run").history) == 2


def test_other_data_is_refused(tmp_path):
    train(tmp_path / "run", epochs=1)
    x, y = PICTURES
    with pytest.raises(ValueError, match="Its data was other data"):
        recipes.image_classification(
            "mlp", (255 - x, y), run_dir=str(tmp_path / "run"), epochs=2, resume=True, **OPTIONS
        )


def test_nothing_to_go_on_with_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"no training to go on with .*checkpoint\.npz not found"):
        train(tmp_path / "run", epochs=2, resume=True)
    assert not list(tmp_path.iterdir())
