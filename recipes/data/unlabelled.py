"""Pictures by themselves, from every kind of source. Where they have classes, y is the class id, else 0."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from recipes.data import arrays, folder, named, pictures, targets
from recipes.data.annotated import picture_of
from recipes.data.parts import Rows, Stream, check_sizes
from recipes.data.prepared import find_builder, license_of
from recipes.data.source import Source
from recipes.data.splits import choose_splits, read_parts
from recipes.data.splits import fingerprint as fingerprint_of_slices
from recipes.data.streams import digest_of, mapped, picture_form
from zoo.nearest import choose


def open_named(
    name: str,
    *,
    task: str,
    data_dir=None,
    train_split: str = "train",
    test_split: str | None = None,
    validation_split: str | None = None,
    target: str | None = None,
) -> Source:
    """Open a TFDS data set: its picture and, where it has one, its class.

    Raises:
        ValueError: unknown name, split or target; data not there; no picture.
    """
    builder = find_builder(name, data_dir)
    features, supervised = builder.info.features, builder.info.supervised_keys
    x_key = picture_of(name, features, supervised)
    classes = [key for key in features if isinstance(features[key], tfds.features.ClassLabel)]
    usual = supervised[1] if supervised and supervised[1] in classes else None
    y_key = usual if target is None else choose(f"target of {name!r}", target, classes)
    splits = choose_splits(builder, train_split, test_split, validation_split)

    def read(builder, instruction):
        examples = named.read_examples(builder, instruction, {x_key: tfds.decode.SkipDecoding()})
        return mapped(examples, lambda one: (one[x_key], tf.cast(one[y_key], tf.int64) if y_key else no_class()))

    parts = read_parts(name, builder, splits, read)
    return Source(
        name=name,
        kind="image",
        parts=parts,
        target=y_key or targets.default_name(task),
        fingerprint=fingerprint_of_slices(builder, parts),
        labels=tuple(features[y_key].names) if y_key else None,
        image_shape=named.image_shape(name, features[x_key]),
        pixels="encoded",
        license=license_of(builder),
    )


def no_class() -> tf.Tensor:
    """What y is where there are no classes."""
    return tf.constant(0, tf.int64)


def open_folder(path: Path, *, task: str, target: str | None = None) -> Source:
    """Open a folder of PNG and JPEG files, in sub-folders or not; those that lie below one alone are of that class.

    Raises:
        ValueError: no pictures, or unreadable ones.
    """
    roots = folder.part_folders(path)
    files = {part: sorted(file for file in root.rglob("*") if folder.is_picture(file)) for part, root in roots.items()}
    check_sizes(str(path), {part: len(found) for part, found in files.items()})
    names = {part: [_class_of(file, roots[part]) for file in found] for part, found in files.items()}
    labels = tuple(sorted({name for found in names.values() for name in found if name}))
    if len(labels) < 2 or any(None in found for found in names.values()):
        labels = None
    seen, hashes = folder.examined([file for found in files.values() for file in found])
    parts = {}
    for part, found in files.items():
        order = sorted(range(len(found)), key=lambda i: hashlib.sha256(found[i].name.encode()).digest())
        ids = [labels.index(names[part][i]) if labels else 0 for i in order]
        parts[part] = folder.files([found[i] for i in order], np.array(ids, np.int64), hashes)
    return Source(
        name=str(path),
        kind="image",
        parts=parts,
        target=target or targets.default_name(task),
        fingerprint=folder.fingerprint(path, hashes),
        labels=labels,
        image_shape=pictures.common_shape(seen),
        pixels="encoded",
    )


def _class_of(file: Path, root: Path) -> str | None:
    return file.parent.name if file.parent.parent == root else None


def open_file(path: Path, *, task: str, target: str | None = None) -> Source:
    """Refuse a file.

    Raises:
        ValueError: always.
    """
    accepted = "a folder of pictures, a TFDS name, arrays"
    raise ValueError(f"{path} cannot hold what {task} learns from. Accepted: {accepted}.")


def open_arrays(parts: Mapping[str, tuple], *, task: str, target: str | None = None) -> Source:
    """Open arrays of pictures `(n, h, w)` or `(n, h, w, c)`, alone or with class ids or names.

    Raises:
        ValueError: shapes that do not agree, pixels outside 0..255, wrong classes.
    """
    x, pixels = arrays.scale({part: arrays.pictures_of(part, pair[0]) for part, pair in parts.items()})
    check_sizes("arrays", {part: len(array) for part, array in x.items()})
    if any(pair[1] is None for pair in parts.values()):
        y, labels = {part: np.zeros(len(array), np.int64) for part, array in x.items()}, None
    else:
        y, labels = targets.class_ids({part: np.asarray(pair[1]) for part, pair in parts.items()})
    arrays.check_agreement(x, y)
    rows = {part: Rows(x[part], y[part]) for part in x}
    return Source(
        name="arrays",
        kind="image",
        parts=rows,
        target=target or targets.default_name(task),
        fingerprint=arrays.fingerprint(rows, labels),
        labels=labels,
        image_shape=x["train"].shape[1:],
        pixels=pixels,
    )


def open_datasets(parts: Mapping[str, tf.data.Dataset], *, task: str, target: str | None = None) -> Source:
    """Open data sets of single pictures, alone or with a class id: pixels `(h, w, c)` or `(h, w)`, PNG or JPEG bytes.

    Raises:
        ValueError: another structure, an endless data set, another order every time, pixels outside 0..255.
    """
    read = {}
    for part, dataset in parts.items():
        spec = dataset.element_spec
        x = spec[0] if isinstance(spec, tuple) and len(spec) == 2 else spec
        if not isinstance(x, tf.TensorSpec) or x.shape.rank not in ((0,) if x.dtype == tf.string else (2, 3)):
            raise ValueError(f"A data set for {task} must give single pictures. The {part} part gives {spec}.")
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(f"The {part} part repeats without end: leave out .repeat().")
        with_class = isinstance(spec, tuple) and spec[1].dtype.is_integer and spec[1].shape.rank == 0
        read[part] = mapped(dataset, (lambda x, y: (x, tf.cast(y, tf.int64))) if with_class else _alone)
    found = {part: digest_of(part, dataset) for part, dataset in read.items()}
    check_sizes("dataset", {part: size for part, (size, _) in found.items()})
    described, convert = picture_form(read)
    streams = {
        part: Stream(mapped(dataset, lambda x, y: (convert(x), y)), found[part][0]) for part, dataset in read.items()
    }
    highest = max(int(y) for dataset in read.values() for _, y in dataset.as_numpy_iterator())
    return Source(
        name="dataset",
        parts=streams,
        target=target or targets.default_name(task),
        fingerprint=hashlib.sha256("".join(f"{part} {found[part][1]}" for part in sorted(found)).encode()).hexdigest(),
        labels=tuple(str(i) for i in range(highest + 1)) if highest else None,
        **described,
    )


def _alone(x, *others):
    return x, no_class()
