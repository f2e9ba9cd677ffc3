"""Arrays as data: pixels, tables, classes, and the parts split off them."""

import numpy as np
import pytest

from recipes.data import load

CLASSES = {"task": "image-classification"}
VALUES = {"task": "regression"}


def table(n=40, columns=3):
    return np.arange(n * columns, dtype=np.float32).reshape(n, columns)


def two_classes(n=40):
    return np.arange(n) % 2


def images(n=40, dtype=np.uint8, channels=()):
    return (np.arange(n * 16).reshape(n, 4, 4) % 256).astype(dtype).reshape(n, 4, 4, *channels)


def read(part):
    x, y = zip(*part.as_numpy_iterator(), strict=True)
    return np.array(x), np.array(y)


def first_columns(data):
    return {part: {int(x[0]) for x, _ in dataset.as_numpy_iterator()} for part, dataset in data.parts.items()}


def test_a_table_becomes_three_disjoint_parts():
    data = load((table(), two_classes()), **CLASSES)
    rows = first_columns(data)
    assert data.sizes == {"train": 32, "validation": 4, "test": 4}
    assert sum(map(len, rows.values())) == len(set().union(*rows.values())) == 40
    assert (data.kind, data.name, data.columns, data.labels) == ("table", "arrays", ("x0", "x1", "x2"), ("0", "1"))
    assert data.evaluated_on == "test"


def test_the_seed_alone_fixes_which_examples_are_split_off():
    parts = [first_columns(load((table(), two_classes()), seed=seed, **CLASSES)) for seed in (0, 0, 1)]
    assert parts[0] == parts[1]
    assert parts[0] != parts[2]


def test_rows_keep_their_order_and_their_targets():
    data = load((table(), table()[:, 0] * 2), **VALUES)
    x, y = read(data.parts["train"])
    assert (np.diff(x[:, 0]) > 0).all()
    assert (y == 2 * x[:, :1]).all()
    assert (x.dtype, y.dtype, y.shape) == (np.float32, np.float32, (32, 1))


def test_fractions_are_rounded_down_exactly():
    """0.29 of 100 is 29, although 0.29 * 100 is 28.999999999999996."""
    data = load((table(100), two_classes(100)), validation=0.29, test=0.999 / 100, **CLASSES)
    assert data.sizes == {"train": 71, "validation": 29}
    assert data.evaluated_on == "train"


def test_nothing_is_split_off_nine_examples():
    data = load((table(9), two_classes(9)), **CLASSES)
    assert (data.sizes, data.evaluated_on) == ({"train": 9}, "train")


@pytest.mark.parametrize("none", [0, None])
def test_no_part_is_split_off_where_none_is_wanted(none):
    assert load((table(), two_classes()), validation=none, test=none, **CLASSES).sizes == {"train": 40}


def test_a_given_test_part_is_kept_whole_and_never_validated_on():
    data = load(((table(), two_classes()), (table() + 1000, two_classes())), **CLASSES)
    rows = first_columns(data)
    assert data.sizes == {"train": 36, "validation": 4, "test": 40}
    assert min(rows["test"]) >= 1000 > max(rows["train"] | rows["validation"])


def test_parts_by_name_are_taken_as_they_are():
    parts = {name: (table(12) + shift, two_classes(12)) for shift, name in enumerate(("train", "validation", "test"))}
    data = load(parts, **CLASSES)
    assert data.sizes == {"train": 12, "validation": 12, "test": 12}
    assert read(data.parts["validation"])[0][0, 0] == 1


@pytest.mark.parametrize("channels", [(), (1,)])
def test_integers_are_pixel_values(channels):
    data = load((images(channels=channels).astype(np.int32), two_classes()), validation=0, test=0, **CLASSES)
    x, _ = read(data.parts["train"])
    assert (data.kind, data.pixels, data.image_shape, data.columns) == ("image", "uint8", (4, 4, 1), None)
    assert x.dtype == np.uint8
    assert (x[..., 0] == images()).all()


def test_floats_above_one_are_pixel_values_too():
    data = load((images(dtype=np.float32), two_classes()), validation=0, test=0, **CLASSES)
    x, _ = read(data.parts["train"])
    assert (data.pixels, x.dtype) == ("float", np.float32)
    assert np.allclose(x[..., 0] * 255, images())


def test_floats_up_to_one_are_scaled_already():
    scaled = images(dtype=np.float64) / 255
    data = load((scaled, two_classes()), validation=0, test=0, **CLASSES)
    assert data.pixels == "float"
    assert np.allclose(read(data.parts["train"])[0][..., 0], scaled)


def test_one_scale_holds_for_all_parts():
    """A test part that happens to be dark is not brightened."""
    dark = images(dtype=np.float32) / 255
    data = load({"train": (images(dtype=np.float32), two_classes()), "test": (dark, two_classes())}, **CLASSES)
    assert np.allclose(read(data.parts["test"])[0][..., 0] * 255, dark)


def test_names_of_classes_are_sorted_over_all_parts():
    y = np.array(["dog", "cat"] * 6)
    data = load({"train": (table(12), y), "test": (table(12), np.array(["emu", "dog"] * 6))}, **CLASSES)
    assert data.labels == ("cat", "dog", "emu")
    assert read(data.parts["test"])[1][:2].tolist() == [2, 1]


def test_one_column_of_numbers_and_one_column_of_classes_are_enough():
    data = load((np.linspace(0, 1, 20), two_classes(20)[:, None]), **CLASSES)
    x, y = next(data.parts["train"].as_numpy_iterator())
    assert (x.shape, y.shape, y.dtype, data.columns) == ((1,), (), np.int64, ("x0",))


def test_the_fingerprint_changes_with_a_single_value_and_not_with_the_seed():
    x = table()
    before, other_seed = (load((x, two_classes()), seed=seed, **CLASSES).fingerprint for seed in (0, 1))
    x[17, 1] += 1
    assert before == other_seed
    assert load((x, two_classes()), **CLASSES).fingerprint != before


def with_value(x, index, value):
    x[index] = value
    return x


@pytest.mark.parametrize(
    ("x", "y", "task", "message"),
    [
        (with_value(table(), (7, 1), np.nan), two_classes(), "image-classification", r"x of the train part .* row 7 "),
        (with_value(table(), (3, 0), np.inf), two_classes(), "binary-classification", r"x of the train part .* row 3 "),
        (table(), with_value(np.ones(40), 5, np.nan), "regression", r"y of the train part .* row 5 "),
        (table(), two_classes(39), "image-classification", r"one entry per example.*\(40, 3\) and \(39,\)"),
        (table(), np.zeros(40, int), "image-classification", r"at least 2 classes.*0: 40"),
        (table(), np.arange(40) % 3, "binary-classification", r"exactly 2 classes.*has 3"),
        (table(), two_classes() * 2 - 1, "binary-classification", r"the id -1; of -1 and 1 make 0 and 1"),
        (table(), two_classes() * 1000, "image-classification", r"the id 1000 among 40 examples"),
        (table(), two_classes() / 2, "image-classification", r"class ids as integers.*float64"),
        (table(), np.eye(40), "image-classification", r"One-hot rows: np.argmax"),
        (table(), np.array(["a"] * 40), "regression", r"must be numbers"),
        (
            images(dtype=np.int16) - 1,
            two_classes(),
            "image-classification",
            r"Pixels must be in 0..255.*from -1 to 254",
        ),
        (images(dtype=np.int16) + 1, two_classes(), "image-classification", r"Pixels must be in 0..255.*from 1 to 256"),
        (np.zeros((40, 2, 8, 8)), two_classes(), "image-classification", r"1, 3 or 4 channels, in the last axis"),
        (images(), np.ones(40), "regression", r"Regression reads tables"),
        (np.zeros((40, 1, 1, 1, 1)), two_classes(), "image-classification", r"x must be numbers of shape"),
        (np.array([["a"]] * 40), two_classes(), "image-classification", r"x must be numbers of shape"),
        ([[1.0], [1.0, 2.0]], [0, 1], "image-classification", r"x of the train part is no array"),
    ],
)
def test_arrays_that_cannot_be_trained_on_are_refused(x, y, task, message):
    with pytest.raises(ValueError, match=message):
        load((x, y), task=task)


def test_an_empty_part_is_refused():
    with pytest.raises(ValueError, match=r"test part of 'arrays' is empty. Examples: train: 12, test: 0"):
        load(((table(12), two_classes(12)), (table(0), two_classes(0))), **CLASSES)


def test_parts_of_different_width_are_refused():
    with pytest.raises(ValueError, match=r"one shape per example.*\(3,\) for the train part and \(2,\) for the test"):
        load(((table(), two_classes()), (table(columns=2), two_classes())), **CLASSES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (7, "data is of type int. Accepted: a TFDS name"),
        (None, "data is of type NoneType"),
        ([table(), two_classes()], "data is of type list"),
        ((table(), two_classes(), 1), "data is a tuple of 3"),
        ({"train": table()}, "a dict of ndarray"),
        ({"trian": (table(), two_classes())}, "Unknown part 'trian'. Did you mean 'train'"),
        ({"test": (table(), two_classes())}, 'needs a "train" part'),
    ],
)
def test_anything_else_is_told_what_is_accepted(data, message):
    with pytest.raises(ValueError, match=message):
        load(data, **CLASSES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 1.5}, r"validation must be a fraction .* Received: 1.5"),
        ({"test": -0.1}, r"test must be a fraction"),
        ({"validation": 0.5, "test": 0.5}, r"leave something to train on"),
        ({"validation": "train[:10%]"}, r"for TFDS names. Received arrays"),
        ({"task": "regresion"}, r"Did you mean 'regression'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        load((table(), two_classes()), **{**CLASSES, **options})
