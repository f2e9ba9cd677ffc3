"""Data sets by name: their parts, their pixels, and what a person is told when a name leads nowhere."""

import io
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from recipes.data import load

CLASSES = {"task": "image-classification"}


def bytes_of(part):
    return [x for x, _ in part.as_numpy_iterator()]


def rows_of(part):
    return [(*x.tolist(), *np.atleast_1d(y).tolist()) for x, y in part.as_numpy_iterator()]


@pytest.fixture(scope="module")
def digits(data_dir):
    return load("digits", data_dir=data_dir, **CLASSES)


def test_pictures_stay_encoded(digits):
    """Training reads the very bytes that a client would send."""
    x, y = next(digits.parts["train"].as_numpy_iterator())
    assert digits.pixels == "encoded"
    assert PIL.Image.open(io.BytesIO(x)).size == (8, 8)
    assert y.dtype == np.int64


def test_a_picture_data_set_is_described(digits):
    assert (digits.kind, digits.image_shape, digits.columns) == ("image", (8, 8, 1), None)
    assert digits.labels == tuple("0123456789")
    assert digits.target == "label"
    assert digits.evaluated_on == "test"


def test_a_validation_part_is_split_off_the_training_part_alone(digits, data_dir):
    assert digits.sizes == {"train": 1294, "validation": 143, "test": 360}
    whole = load("digits", data_dir=data_dir, validation=None, **CLASSES)
    assert whole.sizes == {"train": 1437, "test": 360}
    assert bytes_of(digits.parts["train"]) + bytes_of(digits.parts["validation"]) == bytes_of(whole.parts["train"])


def test_parts_have_the_sizes_they_state_and_share_no_example(data_dir):
    everything = {"train_split": "train+test", "validation": 0.25, "test": 0.1}
    data = load("line", task="regression", data_dir=data_dir, **everything)
    assert data.sizes == {"train": 780, "validation": 300, "test": 120}
    rows = {part: rows_of(dataset) for part, dataset in data.parts.items()}
    assert {part: len(listed) for part, listed in rows.items()} == data.sizes
    assert len(set().union(*rows.values())) == sum(data.sizes.values())


def test_the_order_is_the_same_every_time(digits):
    assert bytes_of(digits.parts["train"]) == bytes_of(digits.parts["train"])


def test_split_expressions_name_every_part(data_dir):
    data = load(
        "digits",
        data_dir=data_dir,
        train_split="train[:50%]",
        validation="train[50%:60%]",
        test="train[90%:]",
        **CLASSES,
    )
    assert data.sizes == {"train": 718, "validation": 144, "test": 144}


def test_parts_that_overlap_are_refused(data_dir):
    with pytest.raises(ValueError, match=r"must not share examples.*train\[0:1437\].*train\[0:10\]"):
        load("digits", data_dir=data_dir, validation="train[:10]", **CLASSES)


def test_an_unknown_split_lists_those_there_are(data_dir):
    with pytest.raises(ValueError, match=r"trian.*train \(1437\), test \(360\)"):
        load("digits", data_dir=data_dir, train_split="trian", **CLASSES)


def test_four_rows_are_trained_on_whole(data_dir):
    data = load("gates/xor", task="binary-classification", data_dir=data_dir)
    assert data.sizes == {"train": 4, "test": 4}
    assert (data.kind, data.columns, data.labels) == ("table", ("a", "b"), ("false", "true"))


def test_a_table_row_is_a_float32_vector(data_dir):
    data = load("line", task="regression", data_dir=data_dir)
    x, y = next(data.parts["train"].as_numpy_iterator())
    assert (x.dtype, x.shape, y.dtype, y.shape) == (np.float32, (1,), np.float32, (1,))
    assert (data.columns, data.labels, data.target) == (("x",), None, "target")


def test_the_fingerprint_stands_for_the_examples_and_not_for_the_folder(digits, data_dir, tmp_path):
    """TFDS writes features in no fixed order: a fingerprint of its files would differ on every machine."""
    tables = [load("line", task="regression", data_dir=folder).fingerprint for folder in (data_dir, tmp_path)]
    assert tables[0] == tables[1]
    fewer = load("digits", data_dir=data_dir, train_split="train[:99%]", **CLASSES)
    assert fewer.fingerprint != digits.fingerprint


def test_prepared_data_is_found_by_the_environment_variable(data_dir, monkeypatch):
    load("line", task="regression", data_dir=data_dir)
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    assert load("line:1.0.0", task="regression").sizes["train"] == 900


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("digit", "digits"), ("mnits", "mnist"), ("cifer10", "cifar10"), ("breast-cancer", "breast_cancer")],
)
def test_an_unknown_name_gets_the_nearest(name, nearest, data_dir):
    with pytest.raises(ValueError, match=f"Unknown data set '{name}'. Did you mean '{nearest}'"):
        load(name, data_dir=data_dir, **CLASSES)


def test_an_unknown_configuration_gets_the_nearest(data_dir):
    with pytest.raises(ValueError, match=r"'xnor'\. Did you mean 'xor'\?"):
        load("gates/xnor", task="binary-classification", data_dir=data_dir)


def test_data_that_cannot_be_downloaded_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"'cifar10' is not prepared in .*tfds build cifar10.*TFDS_DATA_DIR") as caught:
        load("cifar10", data_dir=tmp_path, **CLASSES)
    assert caught.value.__suppress_context__


def test_one_class_in_the_training_part_is_refused(data_dir):
    with pytest.raises(ValueError, match=r"at least 2 classes.*false: 1, true: 0"):
        load("gates/and", task="binary-classification", data_dir=data_dir, train_split="train[:1]")


def test_an_empty_part_is_refused(data_dir):
    with pytest.raises(ValueError, match=r"train part of 'line' is empty. Examples: train: 0, test: 200"):
        load("line", task="regression", data_dir=data_dir, train_split="train[:0]")


def test_ten_classes_are_not_binary(data_dir):
    with pytest.raises(ValueError, match=r"exactly 2 classes. 'digits' has 10"):
        load("digits", task="binary-classification", data_dir=data_dir)


def test_pictures_are_no_input_of_a_regression(data_dir):
    with pytest.raises(ValueError, match="Regression reads tables"):
        load("digits", task="regression", data_dir=data_dir)


def test_classes_are_no_target_of_a_regression(data_dir):
    with pytest.raises(ValueError, match="Regression needs a target of numbers"):
        load("gates/or", task="regression", data_dir=data_dir)


class Graded(tfds.core.GeneratorBasedBuilder):
    """What public tables look like: no supervised keys, plain integers as classes, rows sorted by class."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"weight": np.float32, "age": np.int64, "grade": np.int64}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features), disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(40):
            yield i, {"weight": i / 2, "age": i, "grade": i // 20}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graded")
    Graded(data_dir=str(folder)).download_and_prepare()
    return {"data": "graded", "data_dir": folder}


def test_a_target_can_be_named_where_a_data_set_names_none(graded):
    data = load(**graded, task="binary-classification", target="grade")
    assert (data.columns, data.labels, data.target) == (("age", "weight"), ("0", "1"), "grade")
    x, y = next(data.parts["test"].as_numpy_iterator())
    assert (x[0], y) == (2 * x[1], int(x[0] >= 20))
    assert load(**graded, task="regression", target="weight").columns == ("age", "grade")


def test_the_licence_of_a_data_set_that_names_none_is_not_guessed(graded):
    """TFDS names few; and it is not for whoever trains on them to say."""
    assert load(**graded, task="regression", target="weight").license == "none stated"


def test_rows_that_are_sorted_are_split_off_at_random(graded):
    """The last rows are all of one class, and would make the validation part."""
    data = load(**graded, task="binary-classification", target="grade", validation=0.25, test=0.25)
    rows = {part: rows_of(dataset) for part, dataset in data.parts.items()}
    assert {part: len(listed) for part, listed in rows.items()} == {"train": 20, "validation": 10, "test": 10}
    assert len(set().union(*rows.values())) == 40
    assert all({row[-1] for row in listed} == {0, 1} for listed in rows.values())


@pytest.mark.parametrize(("target", "message"), [(None, "Name one with target=.*weight"), ("grades", "mean 'grade'")])
def test_a_target_that_is_not_there_lists_the_features(graded, target, message):
    with pytest.raises(ValueError, match=message):
        load(**graded, task="binary-classification", target=target)


MNIST = Path(os.environ.get("TFDS_DATA_DIR", "")) / "mnist"


@pytest.mark.skipif(not MNIST.is_dir(), reason="TFDS_DATA_DIR holds no prepared MNIST")
def test_prepared_public_data_is_read_without_a_network():
    data = load("mnist", **CLASSES)
    assert data.sizes == {"train": 54000, "validation": 6000, "test": 10000}
    assert data.image_shape == (28, 28, 1)
