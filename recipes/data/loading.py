"""`load`: one door for every kind of data source."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from recipes.data import annotated, arrays, csv_file, folder, named, prepared, streams, targets, texts, unlabelled
from recipes.data.parts import Fractions, Part, Rows, Stream, check_part_names, check_sizes, split_off
from recipes.data.source import Source

ACCEPTED = (
    "a TFDS name ('digits', 'gates/xor', 'mnist'), a folder with one sub-folder of pictures or texts per class, a CSV "
    "file, arrays (x, y) or ((x_train, y_train), (x_test, y_test)), a tf.data.Dataset of (x, y), or a dict "
    '{"train": …, "validation": …, "test": …} of arrays or data sets; of running text a .txt file, a folder of them, '
    "or a list of strings; of pictures with boxes annotations in COCO's form; of pictures alone an array"
)


@dataclass(frozen=True)
class Openers:
    """How a source is opened, by what it is. Each raises ValueError for what cannot be trained on."""

    open_named: Callable[..., Source]
    open_folder: Callable[..., Source]
    open_file: Callable[..., Source]
    open_arrays: Callable[..., Source]
    open_datasets: Callable[..., Source]


PICTURES_AND_TABLES = Openers(
    named.open_named, folder.open_folder, csv_file.open_csv, arrays.open_arrays, streams.open_datasets
)
ANNOTATED_PICTURES = Openers(
    annotated.open_named,
    annotated.open_folder,
    annotated.open_file,
    annotated.open_arrays,
    annotated.open_datasets,
)
PICTURES = Openers(
    unlabelled.open_named,
    unlabelled.open_folder,
    unlabelled.open_file,
    unlabelled.open_arrays,
    unlabelled.open_datasets,
)
TEXTS = Openers(texts.open_named, texts.open_folder, texts.open_file, texts.open_arrays, texts.open_datasets)


@dataclass(frozen=True)
class Data:
    """Examples to train on, as the source has them.

    Attributes:
        name: TFDS name, path, "arrays" or "dataset".
        kind: "image", "table" or "text".
        parts: "train", perhaps "validation", perhaps "test" → raw examples `(x, y)`, unbatched, in a fixed order.
            x of a table: float32 [F]; of a picture: see `pixels`; of a text: string []. y: int64 [] class id, float32
            [K] for regression, string [], see `recipes.data.texts`, or what `recipes.data.annotations` describes.
        sizes: examples per part.
        labels: class names by id; None for regression.
        columns: names of a table's columns, snake-case identifiers; None for pictures.
        image_shape: height and width (None where they differ) and 1, 3 or 4 channels; None for tables.
        pixels: "encoded": x is a scalar string, PNG or JPEG bytes as the source has them; "uint8": x is uint8
            [H, W, C] in 0..255; "float": x is float32 [H, W, C] in 0..1; None for tables.
        target: name of the target column.
        evaluated_on: "test"; or "train", where no test part is given and none could be split off.
        fingerprint: SHA-256, hexadecimal, of the examples (what it covers is said where each source is opened). It does
            not depend on where they lie, nor on the seed.
        continuous: whether the examples, which are texts, follow one another in one text.
        license: under which the data is published, as it says itself: an SPDX identifier, or in words; None for a
            person's own.
        opened: the parts as they were opened: some lie in memory, or have digests.
        drawn: names of the parts that were split off at random, by the seed.
    """

    name: str
    kind: str
    parts: dict[str, tf.data.Dataset]
    sizes: dict[str, int]
    labels: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    image_shape: tuple[int | None, int | None, int] | None
    pixels: str | None
    target: str
    evaluated_on: str
    fingerprint: str
    opened: Mapping[str, Part]
    drawn: tuple[str, ...]
    continuous: bool = False
    license: str | None = None


def load(
    data,
    *,
    task: str,
    data_dir=None,
    train_split: str = "train",
    test_split: str | None = None,
    validation=0.1,
    test=0.1,
    text: str | None = None,
    target: str | None = None,
    seed: int = 0,
) -> Data:
    """Open a data source, check it, and split off the parts that it lacks.

    Nothing of a TFDS data set or a folder is held in memory. The same arguments give the same examples in the same
    order.

    Args:
        data: what `ACCEPTED` lists. A string that names one of our own data sets, or one prepared in `data_dir`, means
            that; else an existing path; write "./digits" for a folder of such a name.
        task: a name of `targets.TASKS`.
        data_dir: where TFDS data lies; default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
        train_split: TFDS split expression of the training part, such as "train[:80%]".
        test_split: TFDS split expression of the test part; default "test", else "validation", else split off.
        validation: fraction of the training part to split off for validation, or a TFDS split expression; 0 or None:
            no validation part. A validation part of the source itself is used as it is.
        test: the same for the test part, where the source has none.
        text: name of the column or TFDS feature that holds the text, for a task that reads one.
        target: name of the target column of a CSV file or TFDS data set.
        seed: which examples are split off. TFDS data is divided by position instead: its files are shuffled already.

    Raises:
        ValueError: anything that cannot be trained on; says what was received, what is accepted, and what to do.
    """
    targets.is_classification(task)
    is_split = isinstance(validation, str) or isinstance(test, str) or train_split != "train" or test_split is not None
    source = open_source(
        data,
        task=task,
        names={"target": target} | ({"text": text} if targets.reads_text(task) else {}),
        data_dir=data_dir,
        splits=_splits(train_split, test_split, validation, test) if is_split else {},
    )
    check_sizes(source.name, {name: part.size for name, part in source.parts.items()})
    fractions = Fractions.of(0.1 if isinstance(validation, str) else validation, 0.0 if isinstance(test, str) else test)
    return finish(source, split_off(source.parts, fractions, seed))


def _splits(train: str, test: str | None, validation, test_fraction) -> dict[str, str | None]:
    """The TFDS split expressions among the arguments."""
    return {
        "train_split": train,
        "test_split": test or (test_fraction if isinstance(test_fraction, str) else None),
        "validation_split": validation if isinstance(validation, str) else None,
    }


def open_source(data, *, task: str, names: dict[str, str | None], data_dir, splits: dict[str, str | None]) -> Source:
    """Open whatever `data` is.

    Args:
        task: what it is read for.
        names: of columns or features: "target" and, for texts, "text".
        data_dir: where TFDS data lies.
        splits: TFDS split expressions, which only a TFDS name can have.
    """
    kind = _openers(task)
    if path := path_of(data, data_dir):
        _refuse(splits, f"the path {str(path)!r}")
        return (kind.open_folder if path.is_dir() else kind.open_file)(path, task=task, **names)
    if isinstance(data, str):
        return kind.open_named(data, task=task, data_dir=data_dir, **names, **splits)
    alone = () if targets.kind(task) else (list,) if targets.reads_text(task) else (np.ndarray,)
    parts = _as_parts(data, alone)
    _refuse(splits, "arrays and data sets")
    is_stream = isinstance(parts["train"], tf.data.Dataset)
    return (kind.open_datasets if is_stream else kind.open_arrays)(parts, task=task, **names)


def _openers(task: str) -> Openers:
    if targets.reads_text(task):
        return TEXTS
    return {"mask": ANNOTATED_PICTURES, "boxes": ANNOTATED_PICTURES, None: PICTURES}.get(
        targets.kind(task), PICTURES_AND_TABLES
    )


def path_of(data, data_dir=None) -> Path | None:
    """The path that `data` is meant to be; None for a TFDS name, and for what is no name or path at all.

    Raises:
        ValueError: there is no such file or folder.
    """
    if not isinstance(data, (str, os.PathLike)) or (isinstance(data, str) and prepared.is_at_hand(data, data_dir)):
        return None
    path = Path(data).expanduser()
    if path.exists():
        return path
    text = os.fspath(data)
    if not isinstance(data, str) or text.lower().endswith((".csv", ".txt")) or text.startswith((".", "~", os.sep)):
        raise ValueError(f"There is no file or folder {text!r}.")
    return None


def _as_parts(data, alone: tuple[type, ...]) -> dict[str, tuple | tf.data.Dataset]:
    """Arrays or data sets by the name of their part. What is of a type in `alone` is x without y.

    Raises:
        ValueError: anything else.
    """
    if isinstance(data, alone):
        data = (data, None)
    if isinstance(data, dict):
        data = {part: (x, None) if isinstance(x, alone) else x for part, x in data.items()}
    if isinstance(data, tf.data.Dataset):
        return {"train": data}
    if _is_pair(data):
        return dict(zip(("train", "test"), data, strict=True)) if all(map(_is_pair, data)) else {"train": data}
    if isinstance(data, dict):
        check_part_names(list(data))
        if all(map(_is_pair, data.values())) or all(isinstance(part, tf.data.Dataset) for part in data.values()):
            return data
    raise ValueError(f"data is {_summary(data)}. Accepted: {ACCEPTED}.")


def _is_pair(data) -> bool:
    # A list of two is data: rows, or examples. A pair is a tuple.
    return isinstance(data, tuple) and len(data) == 2


def _summary(data) -> str:
    if isinstance(data, dict):
        return f"a dict of {', '.join(type(part).__name__ for part in data.values())}"
    return f"a tuple of {len(data)}" if isinstance(data, tuple) else f"of type {type(data).__name__}"


def _refuse(splits: dict, received: str) -> None:
    if splits:
        raise ValueError(f"Split expressions (train_split, test_split, …) are for TFDS names. Received {received}.")


def finish(source: Source, parts: dict[str, Part]) -> Data:
    """The `Data` of a source and its final parts, "train" first and "test" last."""
    parts = {name: parts[name] for name in ("train", "validation", "test") if name in parts}
    return Data(
        name=source.name,
        kind=source.kind,
        parts={name: _sized(part) for name, part in parts.items()},
        sizes={name: part.size for name, part in parts.items()},
        labels=source.labels,
        columns=source.columns,
        image_shape=source.image_shape,
        pixels=source.pixels,
        target=source.target,
        evaluated_on="test" if "test" in parts else "train",
        fingerprint=source.fingerprint,
        opened=parts,
        drawn=_drawn(source, parts),
        continuous=source.continuous,
        license=source.license,
    )


def _drawn(source: Source, parts: Mapping[str, Part]) -> tuple[str, ...]:
    """Parts that were split off at random. Those of TFDS data and of running text are stretches of it."""
    new = [name for name in parts if name not in source.parts and not source.continuous]
    return tuple(name for name in new if isinstance(parts[name], Rows | Stream))


def _sized(part: Part) -> tf.data.Dataset:
    dataset = part.read()
    if dataset.cardinality() == part.size:
        return dataset
    return dataset.apply(tf.data.experimental.assert_cardinality(part.size))
