"""Our own data sets: what they hold, that they are the same everywhere, and that they need no network."""

import dataclasses
import functools
import hashlib
import inspect
import itertools
import platform
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data
import sklearn
import tensorflow_datasets as tfds
from sklearn import datasets as sklearn_datasets
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

import recipes.datasets
from recipes.data import load, prepared
from recipes.data.parts import example_digest
from recipes.datasets import docstrings, photographs, sentences
from recipes.datasets.addition import draw_pairs
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


# To draw 3,500 scenes, to read every docstring of eight packages, and to write 22,000 examples.
SLOW = ("digit_scenes", "prose", "reverse")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in recipes.datasets.NAMES]
)
def test_each_says_where_it_comes_from(name, data_dir):
    builder = prepared.find_builder(name, data_dir)
    info = builder.info
    assert info.description
    assert info.citation
    assert info.homepage.startswith("https://")
    assert prepared.license_of(builder) == info.redistribution_info.license
    assert str(info.version) in builder.RELEASE_NOTES


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


def texts(name, split, data_dir):
    return [(source.decode(), target.decode()) for source, target in read(name, split, data_dir)]


@pytest.mark.parametrize(
    ("digits", "train", "test"), [(1, 80, 20), pytest.param(2, 8_000, 2_000, marks=pytest.mark.slow)]
)
def test_addition_holds_every_sum_once(digits, train, test, data_dir):
    parts = [texts(f"addition/{digits}", split, data_dir) for split in ("train", "test")]
    assert [len(part) for part in parts] == [train, test]
    sums = dict(parts[0] + parts[1])
    numbers = range(10**digits)
    assert sums == {f"{a}+{b}": str(a + b) for a in numbers for b in numbers}


def test_addition_is_of_three_digits_unless_others_are_asked_for(data_dir):
    info = prepared.find_builder("addition", data_dir).info
    assert info.full_name == "addition/3/1.0.0"
    assert {split: part.num_examples for split, part in info.splits.items()} == {"train": 50_000, "test": 5_000}
    pairs = draw_pairs(np.random.RandomState(0), 3, 55_000)
    assert len(set(pairs)) == 55_000
    assert np.min(pairs) == 0
    assert np.max(pairs) == 999


def test_every_machine_prepares_the_same_additions(data_dir):
    assert digest(texts("addition/1", "test", data_dir)) == "b42e7a6e3d348e78"


@pytest.mark.slow
def test_reverse_is_words_of_all_lengths_backwards(data_dir):
    words = [texts("reverse", split, data_dir) for split in ("train", "test")]
    assert [len(part) for part in words] == [20_000, 2_000]
    words = dict(words[0] + words[1])
    assert len(words) == 22_000
    assert {len(word) for word in words} == set(range(1, 11))
    assert all(word[::-1] == backwards and word.isalpha() for word, backwards in words.items())


def test_sentences_are_enough_balanced_and_in_one_part_only(data_dir):
    train, test = (read("sentences", split, data_dir) for split in ("train", "test"))
    assert len(train) + len(test) >= 8_000
    assert not {text for text, _ in train} & {text for text, _ in test}
    for part, least in ((train, 1_200), (test, 150)):
        assert min(np.bincount([label for _, label in part], minlength=4)) >= least
    modules = {text: module for module, text, _ in sentences.draw_sentences()}
    origins = [{modules[text.decode()] for text, _ in part} for part in (train, test)]
    assert not origins[0] & origins[1]


@pytest.mark.slow
def test_words_tell_the_class_of_a_sentence_but_not_of_every_one(data_dir):
    (x, y), (test_x, test_y) = (zip(*read("sentences", split, data_dir), strict=True) for split in ("train", "test"))
    counts = CountVectorizer(min_df=2).fit(x)
    model = MultinomialNB().fit(counts.transform(x), y)
    assert 0.72 < model.score(counts.transform(test_x), test_y) < 0.92


def test_text_of_docstrings_names_the_versions_it_is_from(data_dir):
    versions = prepared.find_builder("sentences", data_dir).info.metadata["versions"]
    assert versions["sklearn"] == sklearn.__version__
    assert versions["python"] == platform.python_version()


@pytest.mark.slow
def test_prose_is_megabytes_of_different_paragraphs(data_dir):
    builder = prepared.find_builder("prose", data_dir)
    parts = {
        split: [e["text"].decode() for e in builder.as_dataset(split=split).as_numpy_iterator()]
        for split in ("train", "validation", "test")
    }
    sizes = {split: sum(map(len, documents)) for split, documents in parts.items()}
    assert sum(sizes.values()) > 2_000_000
    assert min(sizes.values()) > 50_000
    paragraphs = [text for documents in parts.values() for document in documents for text in document.split("\n\n")]
    assert len(paragraphs) == len(set(paragraphs))
    learned = " ".join(parts["train"])
    asked = [
        e["text"].decode()
        for e in prepared.find_builder("sentences", data_dir).as_dataset(split="test").as_numpy_iterator()
    ]
    assert np.mean([sentence in learned for sentence in asked]) < 0.02  # what two modules say alike


def test_prose_is_whole_sentences_without_code_tables_and_lists():
    docstring = """Compute the mean of all :class:`~numpy.ndarray` values in an array.  It is called `mean`.

    Unlike the sum, the mean does not depend on the number of values (e.g. It
    stays the same when all values are there twice).

        mean(x, axis=0)

    - This is an item of a list and not a sentence of the text.

    Args:
        x: This is what an argument is, and no running text at all.

    Parameters
    ----------
    x : array
        The array of which the mean shall be computed by this function.

    The values are read once only, in the order of the memory.

    Notes
    -----
    The sum is computed in double precision whatever the type is.

    x = mean(y) is not a sentence and must not be taken for one.

    Examples
    --------
    The example shows the mean of an array of two numbers.

    >>> mean([1, 2])
    """
    assert docstrings.prose(inspect.cleandoc(docstring)) == [
        ["Compute the mean of all numpy.ndarray values in an array."],
        [
            "Unlike the sum, the mean does not depend on the number of values (e.g. It stays the same when all values "
            "are there twice)."
        ],
        ["The sum is computed in double precision whatever the type is."],
    ]


def test_docstrings_are_read_without_running_anything(tmp_path, monkeypatch):
    (tmp_path / "good.py").write_text('"""This module has seven words and a stop."""\nraise SystemExit\n')
    (tmp_path / "old.py").write_text('"""This is Python of another century, is it not?"""\nprint "no"\n')
    (tmp_path / "odd.py").write_bytes(b'# coding: latin-1\n"""Caf\xe9 is a word that no sentence may hold here."""\n')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text('"""This is a test and nobody wants to read it."""\n')
    monkeypatch.setattr(docstrings, "_root", lambda package: tmp_path)
    found = docstrings.modules.__wrapped__("python")
    assert found == {"python/good.py": [["This module has seven words and a stop."]]}


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


@pytest.mark.parametrize("folder", [".", "deeper/still"])
def test_a_data_folder_that_may_only_be_read_sends_our_own_data_home(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shared = tmp_path / "shared"
    shared.mkdir()
    assert prepared._writable(shared / folder) == shared / folder
    shared.chmod(0o555)
    assert prepared._writable(shared / folder) == tmp_path / "home" / "tensorflow_datasets"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits/size=3", r"Unknown argument of 'digits' 'size'. Accepted: none"),
        ("digit_scenes/sise=96", r"Unknown argument of 'digit_scenes' 'sise'. Did you mean 'size'"),
        ("line/data_dir=elsewhere", r"Unknown argument of 'line' 'data_dir'"),
    ],
)
def test_an_unknown_argument_in_a_name_is_refused(name, message, data_dir):
    with pytest.raises(ValueError, match=message):
        prepared.find_builder(name, data_dir)


def test_photographs_are_in_one_part_each_and_say_under_which_licence(data_dir):
    names, pictures = {}, []
    for config in ("colour", "textures"):
        builder = prepared.find_builder(f"photographs/{config}", data_dir)
        for part in ("train", "test"):
            examples = list(builder.as_dataset(split=part).as_numpy_iterator())
            names[config, part] = [example["name"].decode() for example in examples]
            pictures += [example["image"] for example in examples]
        for name in names[config, "train"] + names[config, "test"]:
            assert f"{name}: " in prepared.license_of(builder)
    assert names == {
        ("colour", "train"): ["astronaut", "coffee", "flower", "ihc", "motorcycle_left", "rocket"],
        ("colour", "test"): ["chelsea", "china"],
        ("textures", "train"): ["brick", "grass"],
        ("textures", "test"): ["gravel"],
    }
    assert all(picture.dtype == np.uint8 and min(picture.shape[:2]) >= 300 for picture in pictures)
    np.testing.assert_array_equal(pictures[0], skimage.data.astronaut())
    np.testing.assert_array_equal(pictures[7], sklearn_datasets.load_sample_image("china.jpg"))
    np.testing.assert_array_equal(pictures[10], skimage.data.gravel()[..., np.newaxis].repeat(3, axis=-1))


def test_a_photograph_that_is_not_shipped_names_the_package():
    lost = dataclasses.replace(photographs.COLOUR["coffee"], path="data/no_such.png")
    with pytest.raises(ValueError, match=r"scikit-image \S+ does not ship data/no_such.png"):
        photographs.read(lost)
