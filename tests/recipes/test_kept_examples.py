"""Examples that are kept on the disk are those that would be preprocessed anew, in the same order."""

import errno
import functools
import os
import threading

import numpy as np
import pytest
import tensorflow as tf

import recipes
from recipes import kept_examples, pipeline
from recipes.kept_examples import kept
from recipes.pipeline import Part, Reading

RNG = np.random.default_rng(0)
RAW = RNG.integers(0, 256, (50, 4, 4, 1), np.uint8), np.arange(50, dtype=np.int64) % 3


def part(factor=2.0, padding=None, y=lambda y: tf.one_hot(y, 3)):
    """A streamed part; it counts how often an example is preprocessed."""
    counted = []

    def preprocess(x, target):
        tf.numpy_function(lambda: counted.append(1) or 0, [], tf.int64)
        return tf.cast(x, tf.float32) * factor, y(target)

    streamed = Part(50, None, tf.data.Dataset.from_tensor_slices(RAW), Reading(preprocess, padding))
    return streamed, counted


def read(of, **arguments):
    batches = of.epochs(8, **{"seed": 5, "shuffle": True, **arguments}).take(14)
    return [tf.nest.flatten(batch) for batch in batches.as_numpy_iterator()]


def assert_same(mine, theirs):
    for a, b in zip(mine, theirs, strict=True):
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "arguments", [{}, {"shuffle": False}, {"first": 1, "skipped": 3}], ids=["shuffled", "in-order", "mid-epoch"]
)
def test_the_same_batches_in_the_same_order(tmp_path, arguments):
    streamed, _ = part()
    on_disk = kept(streamed, tmp_path, {})
    assert_same(read(on_disk, **arguments), read(streamed, **arguments))
    assert_same(on_disk.batches(7).as_numpy_iterator(), streamed.batches(7).as_numpy_iterator())
    assert tf.nest.map_structure(lambda spec: spec.shape[1:], on_disk.batches(7).element_spec) == (
        tf.TensorShape([4, 4, 1]), tf.TensorShape([3])
    )  # fmt: skip


def test_the_order_does_not_depend_on_the_seed_of_the_program(request):
    request.addfinalizer(functools.partial(tf.random.set_seed, 1))
    tf.random.set_seed(0)
    at_zero = read(part()[0])
    tf.random.set_seed(1)
    assert_same(at_zero, read(part()[0]))


def test_later_epochs_and_trainings_preprocess_nothing_but_the_first_few(tmp_path):
    streamed, counted = part()
    read(kept(streamed, tmp_path, {}))
    assert len(counted) == 50
    again, counted = part()
    assert_same(read(kept(again, tmp_path, {})), read(kept(streamed, tmp_path, {})))
    assert len(counted) <= 2 * kept_examples.HELD_AGAINST  # the pipeline reads a little ahead
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_other_facts_are_other_examples(tmp_path):
    kept(part()[0], tmp_path, {"size": 1})
    other = kept(part(factor=3.0)[0], tmp_path, {"size": 2})
    np.testing.assert_array_equal(other.kept[0], RAW[0] * 3.0)


def test_what_changed_and_is_in_no_fact_is_found_out(tmp_path):
    kept(part()[0], tmp_path, {})
    np.testing.assert_array_equal(kept(part(factor=3.0)[0], tmp_path, {}).kept[0], RAW[0] * 3.0)


@pytest.mark.parametrize("damage", ["short", "gone", "garbage"])
def test_broken_files_are_made_anew(tmp_path, damage):
    kept(part()[0], tmp_path, {})
    file = next(tmp_path.glob("*/0.npy"))
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes(content[: len(content) // 2] if damage == "short" else b"no array")
    np.testing.assert_array_equal(kept(part()[0], tmp_path, {}).kept[0], RAW[0] * 2.0)
    assert file.read_bytes() == content


def test_a_killed_writer_leaves_nothing_that_is_read_or_stays(tmp_path, monkeypatch):
    def killed(*arguments):
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(kept_examples.shutil, "rmtree", lambda *arguments, **options: None)
        with pytest.raises(SystemExit):
            kept(part()[0], tmp_path, {})
    assert [path for path in tmp_path.iterdir() if path.is_dir()]
    np.testing.assert_array_equal(kept(part()[0], tmp_path, {}).kept[0], RAW[0] * 2.0)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_of_two_at_once_one_writes(tmp_path, monkeypatch):
    written, write = [], kept_examples._write
    monkeypatch.setattr(kept_examples, "_write", lambda *arguments: written.append(1) or write(*arguments))
    found = []
    threads = [threading.Thread(target=lambda: found.append(kept(part()[0], tmp_path, {}))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1
    for each in found:
        np.testing.assert_array_equal(each.kept[0], RAW[0] * 2.0)


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept_examples.np.lib.format, "write_array_header_2_0", full)
    streamed, _ = part()
    with pytest.warns(UserWarning, match="Examples are not kept in .*: No space left on device"):
        assert kept(streamed, tmp_path, {}) is streamed
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_what_is_in_memory_or_of_no_fixed_shape_stays_as_it_is(tmp_path):
    in_memory = Part(50, RAW, None, None)
    assert kept(in_memory, tmp_path, {}) is in_memory
    for other in (part(padding=(0, None))[0], part(y=tf.as_string)[0]):
        assert kept(other, tmp_path, {}) is other
    assert list(tmp_path.iterdir()) == []


def test_a_training_with_it_is_the_same_training(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "MEMORY_LIMIT", 0)
    data = RNG.integers(0, 256, (48, 12, 12, 1), np.uint8), np.arange(48) % 3

    def train(name, **options):
        return recipes.image_classification(
            "mlp", data, run_dir=str(tmp_path / name), epochs=2, batch_size=16, model_args={"hidden_sizes": (8,)},
            augment=("shift",), verbose=False, **options
        )  # fmt: skip

    folder = tmp_path / "cache"
    plain, cached, again = train("plain"), train("cached", cache_dir=str(folder)), train("again", cache_dir=str(folder))
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 2  # for training and validation
    for run in (cached, again):
        for a, b in zip(plain.model.get_weights(), run.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert plain.history.drop(columns="seconds").equals(run.history.drop(columns="seconds"))
