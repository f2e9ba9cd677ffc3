"""Digits on photographs: blended as the paper says, with other photographs in the test part than in training."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recipes.data import load, prepared
from recipes.datasets import canvases, digits, digits_m, photographs


def examples(builder, part):
    return list(builder.as_dataset(split=part, as_supervised=True).as_numpy_iterator())


@pytest.fixture(scope="module")
def builder(data_dir):
    return prepared.find_builder("digits_m", data_dir)


def test_it_is_read_like_any_data_set_of_pictures(data_dir):
    data = load("digits_m", task="image-classification", data_dir=data_dir)
    assert data.image_shape == (32, 32, 3)
    assert data.labels == tuple("0123456789")
    assert data.sizes == {"train": 1294, "validation": 143, "test": 360}


def test_it_has_the_digits_of_its_source(builder):
    for part in ("train", "test"):
        counts = np.bincount([y for _, y in examples(builder, part)])
        assert counts.tolist() == np.bincount(digits.scans(part)[2]).tolist()


def test_every_machine_prepares_the_same_pictures(builder):
    """As far as Pillow decodes the three JPEG files alike."""
    digest = hashlib.sha256(b"".join(x.tobytes() + bytes([y]) for x, y in examples(builder, "test")))
    assert digest.hexdigest()[:16] == "5f7a1f46426547a8"


def test_blending_is_the_absolute_difference_of_every_channel():
    random = np.random.RandomState(1)
    digit, patch = random.randint(0, 256, (5, 5), np.uint8), random.randint(0, 256, (5, 5, 3), np.uint8)
    expected = [[[abs(int(patch[y, x, c]) - int(digit[y, x])) for c in range(3)] for x in range(5)] for y in range(5)]
    blended = digits_m.blend(digit, patch)
    assert blended.dtype == np.uint8
    assert blended.tolist() == expected


def test_scans_are_enlarged_as_tensorflow_does():
    images = np.random.RandomState(1).randint(0, 256, (3, 8, 8), np.uint8)
    expected = tf.image.resize(images[..., np.newaxis], (32, 32))[..., 0].numpy()
    enlarged = digits_m.enlarge(images)
    assert enlarged.dtype == np.uint8
    assert np.abs(enlarged - expected).max() <= 0.5


@pytest.mark.parametrize(("part", "level"), [("train", 40), ("test", 200)])
def test_each_part_has_its_own_photographs(part, level, monkeypatch):
    plain = {"train": 40, "test": 200}
    monkeypatch.setattr(photographs, "colour", lambda part: (np.full((40, 50, 3), plain[part], np.uint8),))
    builder = digits_m.DigitsM(data_dir="/nowhere")
    images, labels = np.random.RandomState(0).randint(0, 256, (2, 32, 32), np.uint8), np.array([3, 7])
    made = [example for _, example in builder._generate_examples(part, images, labels)]
    assert [example["label"] for example in made] == [3, 7]
    for image, example in zip(images, made, strict=True):
        expected = np.abs(level - image.astype(int))
        np.testing.assert_array_equal(example["image"], np.stack([expected] * 3, axis=-1))


def test_a_patch_lies_in_its_picture_anywhere():
    picture = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
    random = np.random.RandomState(0)
    corners = {tuple(canvases.cut_patch(random, picture, 4)[0, 0]) for _ in range(100)}
    assert corners == {tuple(picture[y, x]) for y in range(3) for x in range(2)}
    patch = canvases.cut_patch(random, picture[:3], 5)
    np.testing.assert_array_equal(patch, picture[[0, 1, 2, 2, 1]])


def test_without_mnist_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "public"))
    with pytest.raises(
        ValueError, match=r"not prepared in \S+own or \S+public\. .*`tfds build mnist --data_dir \S+own`"
    ):
        prepared.find_builder("digits_m/mnist", tmp_path / "own")


MNIST = Path(os.environ.get("TFDS_DATA_DIR", "")) / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="TFDS_DATA_DIR holds no prepared MNIST")


@needs_mnist
def test_mnist_is_found_where_public_data_lies(tmp_path):
    """The folder of public data may only be read: what is made of it goes elsewhere."""
    assert digits_m.find_mnist(None, tmp_path).info.splits["train"].num_examples == 60_000


@needs_mnist
def test_mnist_beside_it_comes_first(tmp_path):
    shutil.copytree(MNIST, tmp_path / "mnist")
    assert Path(digits_m.find_mnist(None, tmp_path).data_dir).parents[1] == tmp_path


@needs_mnist
@pytest.mark.slow  # 70,000 pictures: a minute
def test_mnist_keeps_its_parts_and_labels(tmp_path):
    builder = prepared.find_builder("digits_m/mnist", tmp_path)
    assert {part: info.num_examples for part, info in builder.info.splits.items()} == {"train": 60_000, "test": 10_000}
    assert builder.info.features["image"].shape == (28, 28, 3)
    source = digits_m.find_mnist(None)
    counts = [np.bincount([y for _, y in examples(one, "test")]).tolist() for one in (builder, source)]
    assert counts[0] == counts[1]
