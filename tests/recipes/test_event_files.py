"""What TensorBoard is told of a training: every epoch once, whatever happened on the way."""

import re
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util.tensor_util import make_ndarray

import recipes
from recipes import callbacks, event_files

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(int)


def train(folder, **options):
    options = {"epochs": 4, "batch_size": 16, "tensorboard": True, "verbose": False, **options}
    return recipes.binary_classification("logistic_regression", (X, Y), run_dir=str(folder / "run"), **options)


def events(run, part):
    found = EventAccumulator(str(run.dir / event_files.FOLDER / part))
    found.Reload()
    return found


def scalars(run, part):
    """Name → (epoch, value) of everything that was written."""
    found = events(run, part)
    return {
        name: [(event.step, float(make_ndarray(event.tensor_proto))) for event in found.Tensors(name)]
        for name in found.Tags()["tensors"]
    }


def assert_tells_the_history(run):
    written = {name: scalars(run, name) for name in ("train", "validation")}
    told = {
        ("val_" if part == "validation" else "") + name: value
        for part in written
        for name, value in written[part].items()
    }
    columns = {name: list(zip(run.history["epoch"], run.history[name], strict=True)) for name in run.history}
    del columns["epoch"]
    assert told.keys() == columns.keys() >= {"loss", "val_loss", "val_accuracy", "learning_rate"}
    for name, rows in columns.items():
        assert told[name] == [(epoch, pytest.approx(value, rel=1e-6)) for epoch, value in rows]


def test_every_epoch_is_there_once_and_what_the_test_part_gave(tmp_path):
    run = train(tmp_path, schedule="cosine")
    assert len(run.history) == 4
    assert_tells_the_history(run)
    assert scalars(run, "test") == {name: [(4, pytest.approx(value))] for name, value in run.metrics.items()}


def test_a_training_that_was_stopped_tells_no_epoch_twice(tmp_path, monkeypatch):
    # The third epoch is told of, but not in a checkpoint: the training goes through it again.
    end = callbacks.AfterEpoch.on_epoch_end
    with monkeypatch.context() as patch:
        patch.setattr(
            callbacks.AfterEpoch, "on_epoch_end", lambda self, epoch, logs=None: epoch < 2 and end(self, epoch)
        )
        write = event_files.EventFiles.on_epoch_end

        def killed_after_the_third(self, epoch, logs=None):
            write(self, epoch, logs)
            if epoch == 2:
                raise SystemExit(9)

        patch.setattr(event_files.EventFiles, "on_epoch_end", killed_after_the_third)
        with pytest.raises(SystemExit):
            train(tmp_path, checkpoint_every="1step")
    run = train(tmp_path, resume=True, checkpoint_every="1step")
    assert len(run.history) == 4
    assert_tells_the_history(run)


def test_one_that_stops_early_tells_what_there_was(tmp_path):
    run = train(tmp_path, epochs=50, patience=2, learning_rate=3.0, optimizer="sgd", validation=0.4)
    assert len(run.history) < 50
    assert_tells_the_history(run)


def test_the_options_are_hyper_parameters(tmp_path):
    run = train(tmp_path, epochs=1, learning_rate=0.25, l2=0.5, class_weights={0: 1.0, 1: 2.0})
    content = events(run, "").SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    told = HParamsPluginData.FromString(content).session_start_info.hparams
    assert told["learning_rate"].number_value == 0.25
    assert told["l2"].number_value == 0.5
    assert told["optimizer"].string_value == "adam"
    assert told["class_weights"].string_value == '{"0": 1.0, "1": 2.0}'
    assert "clip_norm" not in told


def test_pictures_of_a_run_are_shown(tmp_path, drawing):
    with drawing():
        run = train(tmp_path, epochs=1)
    width, height, png = events(run, "test").Tensors("confusion")[0].tensor_proto.string_val[:3]
    assert png.startswith(b"\x89PNG")
    assert int(width) > 100 < int(height)


@pytest.mark.slow  # trains a pair of networks, and a judge
def test_samples_of_every_epoch_are_shown(tmp_path):
    pictures = RNG.integers(0, 256, (64, 28, 28, 1), np.uint8)
    run = recipes.image_generation(
        "gan", pictures, run_dir=str(tmp_path / "run"), epochs=2, samples=4, measured=0, tensorboard=True, verbose=False
    )
    assert [event.step for event in events(run, "train").Tensors("samples")] == [1, 2]


def test_without_the_option_there_is_nothing(tmp_path):
    assert not (train(tmp_path, epochs=1, tensorboard=False).dir / event_files.FOLDER).exists()


def test_without_the_package_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.plugins.hparams.api", None)
    with pytest.raises(ImportError, match=re.escape("pip install servable-zoo[tensorboard]")):
        train(tmp_path)
    assert list(tmp_path.iterdir()) == []
