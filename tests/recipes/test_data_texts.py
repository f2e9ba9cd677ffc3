"""Texts as data, from every kind of source, whole and broken."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from recipes.data import load

CLASSES = {"task": "text-classification"}
PAIRS = {"task": "sequence-to-sequence"}
TAGS = {"task": "token-classification"}
RUNNING = {"task": "language-modeling"}
WHOLE = {"validation": 0, "test": 0}


def examples(data, part="train"):
    return list(data.parts[part].as_numpy_iterator())


def reviews(count=20):
    return [f"{'good' if i % 2 else 'bad'} film no. {i}" for i in range(count)], np.arange(count) % 2


def test_lists_of_texts_with_classes():
    x, y = reviews()
    data = load((x, y), **CLASSES)
    assert (data.kind, data.labels, data.target) == ("text", ("0", "1"), "label")
    assert data.sizes == {"train": 16, "validation": 2, "test": 2}
    assert {(text.decode(), int(label)) for text, label in examples(data)} < set(zip(x, y.tolist(), strict=True))


def test_classes_can_be_names_and_texts_bytes():
    data = load(([b"\xff odd", b"plain"] * 5, ["b", "a"] * 5), **CLASSES, **WHOLE)
    assert data.labels == ("a", "b")
    assert examples(data)[:2] == [(b"\xff odd", 1), (b"plain", 0)]


def test_pairs_of_texts():
    data = load((["ein", "zwei"] * 6, ["one", "two"] * 6), **PAIRS, **WHOLE)
    assert data.labels is None
    assert examples(data)[:2] == [(b"ein", b"one"), (b"zwei", b"two")]


def test_tagged_words():
    data = load(([["in", "Paris"], "no place here"], [["O", "LOC"], "O O O"]), **TAGS, **WHOLE)
    assert data.labels == ("LOC", "O")
    assert examples(data) == [(b"in Paris", b"O LOC"), (b"no place here", b"O O O")]


def test_running_text_is_a_list():
    assert examples(load(["one", "two"], **RUNNING, **WHOLE)) == [(b"one", b""), (b"two", b"")]
    parts = load({"train": ["one", "two"], "test": ["three"]}, **RUNNING)
    assert parts.sizes == {"train": 2, "test": 1}


@pytest.mark.parametrize("batched", [False, True])
def test_data_sets_of_strings(batched):
    x, y = reviews()
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    data = load(dataset.batch(4) if batched else dataset, **CLASSES, **WHOLE)
    assert data.labels == ("0", "1")
    assert [text.decode() for text, _ in examples(data)] == x
    alone = load(dataset.map(lambda x, y: x), **RUNNING, **WHOLE)
    assert examples(alone)[0] == (x[0].encode(), b"")


def csv(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_file_with_a_column_of_texts(tmp_path):
    path = csv(tmp_path, "text,label\n" + '"Good, really\nvery good",NA\nbad,no\n' * 3)
    data = load(path, **CLASSES, **WHOLE)
    assert data.labels == ("NA", "no")
    assert examples(data)[0] == (b"Good, really\nvery good", 0)


def test_a_csv_file_of_pairs_and_of_tags(tmp_path):
    path = csv(tmp_path, "de,en\nein Haus,a house\n" * 3)
    assert examples(load(path, text="de", target="en", **PAIRS, **WHOLE))[0] == (b"ein Haus", b"a house")
    path = csv(tmp_path, "words,tags\nin Paris,O LOC\n")
    assert load(path, target="tags", **TAGS, **WHOLE).labels == ("LOC", "O")


def test_a_folder_of_texts(tmp_path):
    for name in ("ham", "spam"):
        for i in range(6):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{i}.txt").write_text(f"{name} {i}")
    data = load(tmp_path, **CLASSES)
    assert (data.labels, data.sizes) == (("ham", "spam"), {"train": 10, "validation": 1, "test": 1})
    assert all(text.startswith(data.labels[label].encode()) for text, label in examples(data))
    assert load(tmp_path, **RUNNING, **WHOLE).sizes == {"train": 12}


def test_the_lines_of_a_file_stay_together(tmp_path):
    """Lines drawn at random would put each test line between two that were learned."""
    path = tmp_path / "book.txt"
    path.write_bytes(b"".join(b"line %d\r\n" % i for i in range(40)))
    data = load(path, **RUNNING)
    assert data.continuous
    whole = b"".join(text for part in ("train", "validation", "test") for text, _ in examples(data, part))
    assert whole == path.read_bytes()


class Talk(tfds.core.GeneratorBasedBuilder):
    """What public sets of text look like."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        words = tfds.features.Sequence(tfds.features.Text())
        tags = tfds.features.Sequence(tfds.features.ClassLabel(names=["O", "NAME"]))
        label = tfds.features.ClassLabel(names=["calm", "loud"])
        text = tfds.features.Text()
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {"text": text, "reply": text, "label": label, "words": words, "tags": tags}
            ),
            supervised_keys=("text", "label"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(20):
            words = ["hey", f"Bob{i}"]
            tags, label = ["O", "NAME"], ["calm", "loud"][i % 2]
            yield i, {"text": f"hey {i}", "reply": f"ho {i}", "label": label, "words": words, "tags": tags}


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talk")
    Talk(data_dir=str(folder)).download_and_prepare()
    return {"data": "talk", "data_dir": folder, **WHOLE}


def test_tfds_texts_for_every_task(talk):
    data = load(**talk, **CLASSES)
    assert (data.labels, data.target) == (("calm", "loud"), "label")
    assert all(int(text.split()[1]) % 2 == label for text, label in examples(data))
    assert all(y == x.replace(b"hey", b"ho") for x, y in examples(load(**talk, target="reply", **PAIRS)))
    assert all(text.startswith(b"ho") for text, _ in examples(load(**talk, text="reply", **RUNNING)))
    tagged = load(**talk, text="words", **TAGS)
    assert tagged.labels == ("O", "NAME")
    assert all(x.startswith(b"hey Bob") and y == b"O NAME" for x, y in examples(tagged))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({**CLASSES, "text": "txt"}, "mean 'text'"),
        ({**PAIRS, "target": "label"}, "Unknown target of 'talk' 'label'"),
        ({**RUNNING, "text": "label"}, "Unknown text of 'talk' 'label'"),
        ({**PAIRS, "text": "words"}, "Accepted: .*reply"),
        (PAIRS | {"text": "reply", "target": "reply"}, "Accepted: text"),
    ],
)
def test_features_that_are_not_what_the_task_reads(talk, options, message):
    with pytest.raises(ValueError, match=message):
        load(**talk, **options)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ((["a", 3.5], [0, 1]), CLASSES, "must hold strings. Received 3.5 in row 1"),
        ((["a", "b"], [0]), CLASSES, "one entry per example. Received 2 and 1"),
        ((["a", "b"], [0, 0]), CLASSES, "at least 2 classes"),
        (([], []), CLASSES, "empty"),
        ((["two words"], ["O"]), TAGS, "2 words and 1 tags"),
        (np.zeros(3), RUNNING, "Accepted"),
    ],
)
def test_texts_that_cannot_be_learned_from(data, options, message):
    with pytest.raises(ValueError, match=message):
        load(data, **WHOLE, **options)


def test_pictures_are_no_texts(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"No \.txt file in"):
        load(tmp_path, **CLASSES)
    with pytest.raises(ValueError, match=r"cannot hold what sequence-to-sequence learns from"):
        load(tmp_path, **PAIRS)


def test_columns_that_are_not_there(tmp_path):
    path = csv(tmp_path, "a,b,label\nx,y,1\nz,w,0\n")
    with pytest.raises(ValueError, match=r"Name the column of .* that is read, with text="):
        load(path, **CLASSES)
    with pytest.raises(ValueError, match="Unknown text column"):
        load(path, text="c", **CLASSES)


def test_fingerprints_follow_the_texts():
    x, y = reviews()
    first = load((x, y), **CLASSES).fingerprint
    assert load((x, y), seed=3, **CLASSES).fingerprint == first
    assert load(([*x[:-1], x[-1] + "!"], y), **CLASSES).fingerprint != first
    assert load((["ab", "c", *x], [0, 1, *y]), **CLASSES).fingerprint != (
        load((["a", "bc", *x], [0, 1, *y]), **CLASSES).fingerprint
    )
