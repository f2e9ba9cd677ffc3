"""Our own data sets: what they hold, that they are the same everywhere, and that they need no network."""

import functools
import hashlib
import itertools
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn import datasets as sklearn_datasets

import recipes.datasets
from recipes.data import load, prepared
from recipes.data.parts import example_digest
from recipes.datasets.digits import ink_to_grey


def read(name, split, data_dir):
    builder = prepared.find_builder(name, data_dir)
    return list(builder.as_dataset(split=split, as_supervised=True).as_numpy_iterator())


def digest(examples):
    return hashlib.sha256(b"".join(map(example_digest, examples))).hexdigest()[:16]


def as_rows(examples):
    return np.array([list(features.values()) for features, _ in examples])


def test_they_are_loaded_by_tfds_itself_once_imported(data_dir):
    prepared.find_builder("digits", data_dir)
    digits, info = tfds.load("digits", data_dir=data_dir, with_info=True, download=False)
    assert set(digits) == {"train", "test"}
    assert info.supervised_keys == ("image", "label")


@pytest.mark.parametrize("name", recipes.datasets.NAMES)
def test_each_says_where_it_comes_from(name, data_dir):
    info = prepared.find_builder(name, data_dir).info
    assert info.description
    assert info.citation
    assert info.homepage.startswith("https://")
    assert str(info.version) == "1.0.0"


def test_digits_are_all_the_scans_of_scikit_learn(data_dir):
    images = [x[..., 0] for split in ("train", "test") for x, _ in read("digits", split, data_dir)]
    counts = sorted(np.rint(image * (16 / 255)).astype(int).tobytes() for image in images)
    assert counts == sorted(scan.astype(int).tobytes() for scan in sklearn_datasets.load_digits().images)


def test_grey_levels_span_the_range_and_keep_every_count():
    levels = ink_to_grey(np.arange(17))
    assert levels.dtype == np.uint8
    assert (levels[0], levels[8], levels[16]) == (0, 128, 255)
    assert np.rint(levels * (16 / 255)).astype(int).tolist() == list(range(17))


def test_digits_parts_show_every_class_in_the_same_proportion(data_dir):
    train, test = ([y for _, y in read("digits", split, data_dir)] for split in ("train", "test"))
    assert (len(train), len(test)) == (1437, 360)
    shares = np.bincount(test) / (np.bincount(train) + np.bincount(test))
    assert np.ptp(shares) < 0.01


def test_every_machine_prepares_the_same_digits_in_the_same_order(data_dir):
    assert digest(read("digits", "test", data_dir)) == "916fef298e239e9b"


def test_every_machine_prepares_the_same_line(data_dir):
    points = [(features["x"], y) for features, y in read("line", "test", data_dir)]
    assert digest(np.round(points, 5).tolist()) == "36a4d66de37bc3d0"


def test_diabetes_keeps_raw_units(data_dir):
    train, test = (read("diabetes", split, data_dir) for split in ("train", "test"))
    assert (len(train), len(test)) == (353, 89)
    ages = [features["age"] for features, _ in train + test]
    assert (min(ages), max(ages)) == (19, 79)
    assert {float(features["sex"]) for features, _ in train} == {1.0, 2.0}
    assert {y.dtype for _, y in train} == {np.dtype(np.float32)}


def test_diabetes_columns_come_in_the_documented_order(data_dir):
    data = load("diabetes", task="regression", data_dir=data_dir)
    assert data.columns == ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
    x, y = next(data.parts["test"].as_numpy_iterator())
    source = sklearn_datasets.load_diabetes(scaled=False)
    row = np.flatnonzero((source.data.astype(np.float32) == x).all(axis=1))
    assert source.target[row] == y


def test_breast_cancer_has_thirty_named_columns_and_two_classes(data_dir):
    data = load("breast_cancer", task="binary-classification", data_dir=data_dir)
    assert data.labels == ("malignant", "benign")
    assert len(data.columns) == 30
    assert data.columns[0] == "mean_radius"
    assert {"concave_points_error", "worst_fractal_dimension"} < set(data.columns)
    assert data.sizes == {"train": 410, "validation": 45, "test": 114}


@pytest.mark.parametrize(("gate", "truth"), [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("xor", [0, 1, 1, 0])])
@pytest.mark.parametrize("split", ["train", "test"])
def test_gates_are_truth_tables_in_counting_order(gate, truth, split, data_dir):
    examples = read(f"gates/{gate}", split, data_dir)
    assert as_rows(examples).tolist() == [list(row) for row in itertools.product((0.0, 1.0), repeat=2)]
    assert [y for _, y in examples] == truth


def test_line_is_a_line_with_the_noise_it_claims(data_dir):
    train, test = (read("line", split, data_dir) for split in ("train", "test"))
    assert (len(train), len(test)) == (1000, 200)
    x, y = as_rows(train)[:, 0], np.array([y for _, y in train])
    slope, intercept = np.polyfit(x, y, 1)
    assert slope == pytest.approx(2, abs=0.02)
    assert intercept == pytest.approx(1, abs=0.02)
    assert np.std(y - 2 * x - 1) == pytest.approx(0.1, abs=0.01)
    assert -1 <= x.min() < -0.99
    assert 0.99 < x.max() <= 1


def test_preparing_tries_no_connection_and_says_nothing(tmp_path, monkeypatch, capfd):
    def refuse(*arguments, **options):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load("gates/and", task="binary-classification", data_dir=tmp_path)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Downloading" not in captured.err


def test_several_at_once_can_prepare_the_same_data(tmp_path):
    """Test workers, or two trainings started together: TFDS alone fails for all but the first."""
    make = functools.partial(recipes.datasets.BUILDERS["line"], data_dir=str(tmp_path))
    with ThreadPoolExecutor(4) as threads:
        builders = list(threads.map(prepared.prepare, [make] * 4))
    assert [builder.info.splits["train"].num_examples for builder in builders] == [1000] * 4
    assert [path.name for path in (tmp_path / "line").iterdir()] == ["1.0.0"]


def test_a_data_folder_that_may_only_be_read_sends_our_own_data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(prepared.os, "access", lambda path, mode: False)
    assert prepared._writable(tmp_path / "shared") == tmp_path / "tensorflow_datasets"
