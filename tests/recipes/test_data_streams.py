"""`tf.data.Dataset`s as data: batched or not, of pixels, bytes or numbers, and those that would mislead training."""

import io
import itertools

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from recipes.data import load

CLASSES = {"task": "image-classification"}
VALUES = {"task": "regression"}
N = 40


def pairs(x, y=None):
    return tf.data.Dataset.from_tensor_slices((x, np.arange(len(x)) % 2 if y is None else y))


def table():
    return np.arange(N * 3, dtype=np.float32).reshape(N, 3)


def images():
    return (np.arange(N * 48).reshape(N, 4, 4, 3) % 256).astype(np.uint8)


def png(shade, mode="RGB"):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (6, 5), (shade, 0, 0)).convert(mode).save(buffer, format="PNG")
    return buffer.getvalue()


def first_columns(data):
    return {part: [int(x[0]) for x, _ in dataset.as_numpy_iterator()] for part, dataset in data.parts.items()}


@pytest.mark.parametrize("batch", [None, 7])
def test_batches_are_taken_apart(batch):
    dataset = pairs(table()).batch(batch) if batch else pairs(table())
    data = load(dataset, validation=0, test=0, **CLASSES)
    x, y = next(data.parts["train"].as_numpy_iterator())
    assert (data.name, data.kind, data.columns, data.labels) == ("dataset", "table", ("x0", "x1", "x2"), ("0", "1"))
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((3,), np.float32, (), np.int64)
    assert data.sizes == {"train": N}


@pytest.mark.parametrize("batch", [None, 7])
def test_a_regression_may_be_batched_too(batch):
    dataset = pairs(table()[:, 0], table()[:, 1])
    data = load(dataset.batch(batch) if batch else dataset, **VALUES)
    x, y = next(data.parts["train"].as_numpy_iterator())
    assert (x.shape, y.shape, y.dtype) == ((1,), (1,), np.float32)
    assert sum(data.sizes.values()) == N


def test_parts_are_disjoint_whole_and_drawn_by_the_seed():
    rows = [first_columns(load(pairs(table()), seed=seed, **CLASSES)) for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]
    assert {part: len(listed) for part, listed in rows[0].items()} == {"train": 32, "validation": 4, "test": 4}
    assert sorted(itertools.chain(*rows[0].values())) == list(range(0, 3 * N, 3))


def test_examples_of_unknown_number_are_counted():
    dataset = pairs(table()).filter(lambda x, y: x[0] < 60)
    assert load(dataset, **CLASSES).sizes == {"train": 16, "validation": 2, "test": 2}


def test_pixels_are_described_like_those_of_arrays():
    data = load(pairs(images()), **CLASSES)
    assert (data.kind, data.pixels, data.image_shape) == ("image", "uint8", (4, 4, 3))
    scaled = load(pairs(images() / 255), **CLASSES)
    unscaled = load(pairs(images().astype(np.float32)), **CLASSES)
    assert scaled.pixels == unscaled.pixels == "float"
    for data in (scaled, unscaled):
        x, _ = next(data.parts["train"].as_numpy_iterator())
        assert x.dtype == np.float32
        assert 0 < x.max() <= 1


def test_grey_pictures_get_their_channel():
    data = load(pairs(images()[..., 0]).batch(8), **CLASSES)
    assert data.image_shape == (4, 4, 1)
    assert next(data.parts["train"].as_numpy_iterator())[0].shape == (4, 4, 1)


def test_pictures_of_many_sizes_have_no_size():
    def generate():
        for i in range(12):
            yield np.full((4, 4 + i, 3), i, np.uint8), i % 2

    spec = (tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int64))
    data = load(tf.data.Dataset.from_generator(generate, output_signature=spec), **CLASSES)
    assert data.image_shape == (4, None, 3)


def test_encoded_pictures_stay_encoded():
    data = load(pairs(np.array([png(shade) for shade in range(12)])), **CLASSES)
    assert (data.pixels, data.image_shape) == ("encoded", (5, 6, 3))
    assert next(data.parts["train"].as_numpy_iterator())[0] in {png(shade) for shade in range(12)}


def test_parts_by_name():
    data = load({"train": pairs(table()), "test": pairs(table() + 1000).batch(4)}, **CLASSES)
    assert data.sizes == {"train": 36, "validation": 4, "test": 40}
    assert min(first_columns(data)["test"]) == 1000


def test_the_fingerprint_changes_with_an_example():
    other = table()
    other[-1, -1] += 1
    prints = [
        load(pairs(x).batch(batch), **CLASSES).fingerprint for x, batch in [(table(), 5), (table(), 8), (other, 5)]
    ]
    assert prints[0] == prints[1] != prints[2]


def test_a_reshuffled_data_set_is_refused():
    """Its validation part would hold other examples in every epoch, and training would see them all."""
    with pytest.raises(ValueError, match=r"another order.*Leave out .shuffle\(\)"):
        load(pairs(table()).shuffle(N), **CLASSES)
    fixed = pairs(table()).shuffle(N, seed=1, reshuffle_each_iteration=False)
    assert load(fixed, **CLASSES).sizes["train"] == 32


def spoiled(x, value):
    x = x.copy()
    x[5] = value
    return x


@pytest.mark.parametrize(
    ("dataset", "task", "message"),
    [
        (pairs(table()).repeat(), "image-classification", r"leave out .repeat\(\)"),
        (pairs(spoiled(table(), np.nan)), "image-classification", r"x holds NaN or an infinity in example 5"),
        (pairs(table(), spoiled(np.ones(N), np.inf)), "regression", r"y holds NaN or an infinity in example 5"),
        (pairs(table(), np.zeros(N, int)), "image-classification", r"at least 2 classes.*0: 40"),
        (pairs(table(), np.arange(N) % 3), "binary-classification", r"exactly 2 classes.*has 3"),
        (pairs(table(), np.eye(N, dtype=int)).batch(4), "image-classification", r"One-hot rows: tf.argmax"),
        (pairs(table(), np.ones(N)), "image-classification", r"one integer class id per example"),
        (pairs(images().astype(int) * 2), "image-classification", r"Pixels must be in 0..255"),
        (pairs(images()[..., :2]), "image-classification", r"1, 3 or 4 channels"),
        (
            pairs(spoiled(np.array([png(1)] * 12), png(1)[:-20])),
            "image-classification",
            r"picture in example 5 .* cannot",
        ),
        (tf.data.Dataset.from_tensor_slices(table()), "image-classification", r"pairs of tensors \(x, y\)"),
        (pairs(table()).map(lambda x, y: ({"a": x}, y)), "regression", r"pairs of tensors"),
        (pairs(table()).take(0), "image-classification", r"train part of .dataset. is empty"),
    ],
)
def test_data_sets_that_cannot_be_trained_on_are_refused(dataset, task, message):
    with pytest.raises(ValueError, match=message):
        load(dataset, task=task)
