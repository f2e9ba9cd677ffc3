"""Texts from every kind of source: sentences with a class, pairs of texts, tagged words, or running text.

In every part x is a scalar string, as the source has it. y is what the task's target is (`targets.kind`): an int64
class id; another string; the tags of x's words in one string, separated by blanks; or "" where there is none.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from recipes.batches import objects
from recipes.data import csv_file, folder, named, targets
from recipes.data.arrays import fingerprint
from recipes.data.parts import Rows, Stream, check_sizes
from recipes.data.prepared import find_builder, license_of
from recipes.data.source import Source
from recipes.data.splits import choose_splits, read_parts
from recipes.data.splits import fingerprint as fingerprint_of_slices
from recipes.data.streams import digest_of, mapped
from zoo.nearest import choose

TEXT_NAMES = ("text", "sentence", "source", "review", "description", "document", "content", "words")
SUFFIX = ".txt"


def open_named(
    name: str,
    *,
    task: str,
    data_dir=None,
    train_split: str = "train",
    test_split: str | None = None,
    validation_split: str | None = None,
    text: str | None = None,
    target: str | None = None,
) -> Source:
    """Open a TFDS data set: its supervised keys, or the features named by `text` and `target`.

    Raises:
        ValueError: unknown name, split or feature; data not there; features that are not what the task reads.
    """
    builder = find_builder(name, data_dir)
    features = builder.info.features
    x_key, y_key = _keys(name, features, builder.info.supervised_keys, text, target, task)
    read_text = _text_reader(features[x_key])
    splits = choose_splits(builder, train_split, test_split, validation_split)
    read_target = _feature_reader(y_key and features[y_key], task)

    def read(builder, instruction):
        examples = named.read_examples(builder, instruction, None)
        return mapped(
            examples, lambda example: (read_text(example[x_key]), read_target(example[y_key] if y_key else ""))
        )

    parts = read_parts(name, builder, splits, read)
    labels = None
    if targets.is_classification(task):
        labels = named.class_names(name, features[y_key], parts["train"], task)
    elif targets.kind(task) == "tags":
        labels = _tags_of_feature(features[y_key]) or _tags(
            y for part in parts.values() for _, y in part.read().as_numpy_iterator()
        )
    digest = fingerprint_of_slices(builder, parts)
    return _source(name, parts, y_key, labels, digest, task, license=license_of(builder))


def _keys(name, features, supervised, text, target, task) -> tuple[str, str | None]:
    """The features that are x and y; of running text only x."""
    kind = targets.kind(task)
    x_key, y_key = supervised if supervised and all(isinstance(key, str) for key in supervised) else (None, None)
    texts = [key for key in features if _is(features[key], "words" if kind == "tags" else "text")]
    x_key = _chosen(f"text of {name!r}", "text", text, x_key, texts)
    if kind is None:
        return x_key, None
    fitting = [key for key in features if key != x_key and _is(features[key], kind)]
    return x_key, _chosen(f"target of {name!r}", "target", target, y_key, fitting)


def _chosen(what: str, option: str, named: str | None, usual: str | None, fitting: Sequence[str]) -> str:
    """The feature that is named, else the usual one, else the only one, of those that fit."""
    if named is not None:
        return choose(what, named, fitting)
    if usual in fitting or len(fitting) == 1:
        return usual if usual in fitting else fitting[0]
    raise ValueError(f"Name the {what} with {option}=…: {', '.join(fitting) or 'it has none'}.")


def _is(feature, kind: str) -> bool:
    """Whether a TFDS feature is a "text", the "words" of one, their "tags", or a "class"."""
    inner = feature.feature if isinstance(feature, tfds.features.Sequence) else None
    match kind:
        case "text":
            return isinstance(feature, tfds.features.Text)
        case "words":
            return isinstance(inner, tfds.features.Text)
        case "tags":
            return isinstance(inner, tfds.features.Text | tfds.features.ClassLabel)
        case _:
            return named.is_number(feature)


def _text_reader(feature) -> Callable[[tf.Tensor], tf.Tensor]:
    """From a text as TFDS reads it to x: the words of a sequence are joined by blanks."""
    if isinstance(feature, tfds.features.Sequence):
        return lambda words: tf.strings.reduce_join(words, separator=" ")
    return lambda text: text


def _feature_reader(feature, task: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """From a target as TFDS reads it to y."""
    kind = targets.kind(task)
    if kind == "class":
        return lambda y: tf.cast(y, tf.int64)
    if kind is None:
        return tf.constant
    if kind == "text":
        return lambda y: y
    if names := _tags_of_feature(feature):
        return lambda y: tf.strings.reduce_join(tf.gather(tf.constant(names), y), separator=" ")
    return lambda y: tf.strings.reduce_join(y, separator=" ")


def _tags_of_feature(feature) -> tuple[str, ...] | None:
    inner = getattr(feature, "feature", None)
    return tuple(inner.names) if isinstance(inner, tfds.features.ClassLabel) else None


def open_file(path: Path, *, task: str, text: str | None = None, target: str | None = None) -> Source:
    """Open a CSV file of texts; or, for running text, a `.txt` file, whose lines are its examples.

    Raises:
        ValueError: no such column, a missing class or target, or a file that is neither.
    """
    if targets.kind(task) is None and path.suffix.lower() == SUFFIX:
        lines = _strings(path.read_bytes().splitlines(keepends=True))
        parts = {"train": Passage(lines, _strings([b""] * len(lines)))}
        return _source(str(path), parts, None, None, fingerprint(parts), task, continuous=True)
    table = csv_file.read(path, dtype=str, keep_default_na=False)
    header = table.columns.tolist()
    y_column = csv_file.find_target(path, header, target) if targets.kind(task) else None
    x_column = text_column(path, header, text, y_column)
    x = _strings(table[x_column])
    labels = None
    if targets.is_classification(task):
        y, labels = csv_file.classes(path, table[y_column])
        targets.check_classes(str(path), np.bincount(y, minlength=len(labels)), labels, task)
    else:
        y = _strings(table[y_column] if y_column else [""] * len(x))
    if targets.kind(task) == "tags":
        labels = _checked_tags(str(path), x, y)
    parts = {"train": Rows(x, y)}
    return _source(str(path), parts, y_column, labels, fingerprint(parts, labels), task)


def text_column(path: Path, header: Sequence[str], text: str | None, target: str | None) -> str:
    if text is not None:
        return choose(f"text column of {path}:", text, header)
    others = [name for name in header if name != target]
    usual = [name for name in others if name.strip().lower() in TEXT_NAMES]
    if len(others) != 1 and len(usual) != 1:
        raise ValueError(f"Name the column of {path} that is read, with text=…. Columns: {', '.join(header)}.")
    return (usual if len(usual) == 1 else others)[0]


def open_folder(path: Path, *, task: str, text: str | None = None, target: str | None = None) -> Source:
    """Open a folder of `.txt` files: one sub-folder per class, or, for running text, any files below it.

    Either may lie under `train/`, `validation/` (or `val/`) and `test/`.

    Raises:
        ValueError: no text, a class without one or that training never shows, or a task that no folder can serve.
    """
    kind = targets.kind(task)
    if kind not in ("class", None):
        raise ValueError(f"A folder cannot hold what {task} learns from. Accepted: a CSV file, a TFDS name, arrays.")
    folders = folder.part_folders(path)
    if kind is None:
        files = {part: sorted(p for p in sub.rglob(f"*{SUFFIX}") if p.is_file()) for part, sub in folders.items()}
        check_sizes(str(path), {part: len(found) for part, found in files.items()})
        read = {part: _strings(file.read_bytes() for file in found) for part, found in files.items()}
        parts = {part: Rows(x, _strings([b""] * len(x))) for part, x in read.items()}
        return _source(str(path), parts, None, None, fingerprint(parts), task)
    listed = folder.listed_classes(path, is_text, "text", SUFFIX)
    labels = folder.labels_of(path, listed)
    targets.check_classes(str(path), [len(listed["train"][label]) for label in labels], labels, task)
    files = [file for classes in listed.values() for found in classes.values() for file in found]
    hashes = {file: hashlib.sha256(file.read_bytes()).digest() for file in files}
    parts = {part: folder.rows(path, classes, labels, hashes) for part, classes in listed.items()}
    digest = folder.fingerprint(path, hashes)
    return _source(str(path), parts, "label", labels, digest, task)


def is_text(path: Path) -> bool:
    """Whether a file is named like a text; hidden files are not."""
    return path.suffix.lower() == SUFFIX and not path.name.startswith(".") and path.is_file()


def open_arrays(parts: Mapping[str, tuple], *, task: str, text: str | None = None, target: str | None = None) -> Source:
    """Open lists or arrays of strings: `(x, y)` per part; of running text only x.

    For tags, an example is a list of words and a list of as many tags, or strings of both, separated by blanks.

    Raises:
        ValueError: what is no string, lengths that do not agree, wrong targets.
    """
    kind = targets.kind(task)
    x = {part: _given(f"x of the {part} part", pair[0]) for part, pair in parts.items()}
    check_sizes("arrays", {part: len(listed) for part, listed in x.items()})
    labels = None
    if kind == "class":
        y, labels = targets.class_ids({part: np.asarray(pair[1]) for part, pair in parts.items()})
    else:
        y = {
            part: _given(f"y of the {part} part", [""] * len(x[part]) if kind is None else pair[1])
            for part, pair in parts.items()
        }
    for part in x:
        if len(x[part]) != len(y[part]):
            raise ValueError(
                f"x and y of the {part} part must have one entry per example. "
                f"Received {len(x[part])} and {len(y[part])}."
            )
    if kind == "class":
        targets.check_classes("arrays", np.bincount(y["train"], minlength=len(labels)), labels, task)
    if kind == "tags":
        labels = _checked_tags("arrays", *(np.concatenate(list(side.values())) for side in (x, y)))
    rows = {part: Rows(x[part], y[part]) for part in x}
    return _source("arrays", rows, target, labels, fingerprint(rows, labels), task)


def _given(what: str, texts) -> np.ndarray:
    texts = list(texts)
    for i, item in enumerate(texts):
        if isinstance(item, (list, tuple, np.ndarray)):
            texts[i] = " ".join(map(str, item))
        elif not isinstance(item, (str, bytes)):
            raise ValueError(f"{what} must hold strings. Received {item!r} in row {i} (counted from 0).")
    return _strings(texts)


def open_datasets(
    parts: Mapping[str, tf.data.Dataset], *, task: str, text: str | None = None, target: str | None = None
) -> Source:
    """Open data sets of `(x, y)`, batched or not; of running text, of strings alone. Each is read once wholly.

    Raises:
        ValueError: another structure, an endless data set, another order every time.
    """
    read = {part: _normalised(part, dataset, task) for part, dataset in parts.items()}
    found = {part: digest_of(part, dataset) for part, dataset in read.items()}
    check_sizes("dataset", {part: size for part, (size, _) in found.items()})
    streams = {part: Stream(dataset, found[part][0]) for part, dataset in read.items()}
    digest = hashlib.sha256("".join(f"{part} {found[part][1]}" for part in sorted(found)).encode()).hexdigest()
    labels = None
    if targets.is_classification(task):
        ids = np.concatenate([_all_targets(dataset) for dataset in read.values()])
        labels = tuple(str(i) for i in range(targets.count_ids(ids.min(initial=0), ids.max(initial=0), len(ids))))
        counts = np.bincount(_all_targets(read["train"]), minlength=len(labels))
        targets.check_classes("dataset", counts, labels, task)
    elif targets.kind(task) == "tags":
        labels = _tags(y for dataset in read.values() for _, y in dataset.as_numpy_iterator())
    return _source("dataset", streams, target, labels, digest, task)


def _normalised(part: str, dataset: tf.data.Dataset, task: str) -> tf.data.Dataset:
    """Unbatched, finite: x string [], y as the task has it."""
    spec, kind = dataset.element_spec, targets.kind(task)
    if kind is None and isinstance(spec, tf.TensorSpec):
        dataset, spec = (
            dataset.map(lambda x: (x, tf.fill(tf.shape(x), ""))),
            (spec, tf.TensorSpec(spec.shape, tf.string)),
        )
    wanted = tf.string if kind != "class" else "an integer"
    legal = isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(item, tf.TensorSpec) for item in spec)
    if legal:
        legal = spec[0].dtype == tf.string and (
            spec[1].dtype.is_integer if kind == "class" else spec[1].dtype == wanted
        )
    if not legal or {item.shape.rank for item in spec} not in ({0}, {1}):
        raise ValueError(
            f"A data set for {task} must give texts and targets, x a string. The {part} part gives {spec}."
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"The {part} part repeats without end: leave out .repeat().")
    dataset = dataset.unbatch() if spec[0].shape.rank == 1 else dataset
    return mapped(dataset, lambda x, y: (x, tf.cast(y, tf.int64) if kind == "class" else y))


def _all_targets(dataset: tf.data.Dataset) -> np.ndarray:
    return np.fromiter((y for _, y in dataset.as_numpy_iterator()), np.int64)


@dataclass(frozen=True)
class Passage(Rows):
    """Lines that follow one another: a part of them is a stretch of the text, not lines drawn from all over it."""

    def divide(self, sizes: Sequence[int], seed: int) -> list["Passage"]:
        ends = np.cumsum(sizes)
        return [
            Passage(self.x[end - size : end], self.y[end - size : end]) for size, end in zip(sizes, ends, strict=True)
        ]


def _checked_tags(name: str, x: np.ndarray, y: np.ndarray) -> tuple[str, ...]:
    """All tags, sorted.

    Raises:
        ValueError: an example with more words than tags, or fewer.
    """
    for i, (words, tags) in enumerate(zip(x, y, strict=True)):
        if len(words.split()) != len(tags.split()):
            raise ValueError(
                f"Row {i} (counted from 0) of {name} has {len(words.split())} words and {len(tags.split())} tags: "
                f"{words.decode(errors='replace')!r}."
            )
    return _tags(y)


def _tags(texts: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(sorted({tag.decode() for tags in texts for tag in tags.split()}))


def _strings(texts: Iterable[str | bytes]) -> np.ndarray:
    """Objects of `bytes`, one per text."""
    encoded = [text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass") for text in texts]
    return objects(encoded)


def _source(name, parts, target, labels, digest, task, continuous=False, license=None) -> Source:
    check_sizes(name, {part: found.size for part, found in parts.items()})
    return Source(
        name=name,
        kind="text",
        parts=parts,
        target=target or targets.default_name(task),
        fingerprint=digest,
        labels=labels,
        continuous=continuous,
        license=license,
    )
