"""Data sets by their TFDS name: which of their features are x and y, and how these are read."""

import math

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from recipes import datasets
from recipes.data import columns, targets
from recipes.data.prepared import find_builder, license_of
from recipes.data.source import Source
from recipes.data.splits import Slices, choose_splits, fingerprint, read_parts
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
    """Open a TFDS data set. `x` and `y` are its supervised keys; pictures stay encoded.

    Raises:
        ValueError: unknown name, split or target; data not there; features that are neither a picture nor numbers.
    """
    builder = find_builder(name, data_dir)
    x_key, y_key = supervised_keys(builder, target)
    features = builder.info.features
    splits = choose_splits(builder, train_split, test_split, validation_split)
    image_key = picture_key(x_key, features)
    label_feature = features[y_key]
    if image_key is not None:
        described = {"kind": "image", "image_shape": image_shape(name, features[image_key]), "pixels": "encoded"}
        read = _read_pictures(image_key, y_key)
    else:
        names, flatten = table_of(builder, x_key)
        described = {"kind": "table", "columns": columns.legal(names)}
        read = _read_table(flatten, y_key, target_reader(name, label_feature, task))
    targets.check_kind(described["kind"], task)
    parts = read_parts(name, builder, splits, read)
    labels = class_names(name, label_feature, parts["train"], task) if targets.is_classification(task) else None
    return Source(
        name=name,
        parts=parts,
        target=y_key,
        labels=labels,
        fingerprint=fingerprint(builder, parts),
        license=license_of(builder),
        **described,
    )


def supervised_keys(builder: tfds.core.DatasetBuilder, target: str | None):
    """The keys of x and y: TFDS' supervised keys, or everything but `target` and `target`.

    x is one key, or a nest of keys.
    """
    features, keys = builder.info.features, builder.info.supervised_keys
    if target is not None and (keys is None or target != keys[1]):
        choose(f"target of {builder.name!r}", target, features)
        return {key: key for key in features if key != target}, target
    if keys is None or not isinstance(keys[1], str):
        raise ValueError(
            f"Data set {builder.name!r} does not say which feature is the target. "
            f"Name one with target=…: {', '.join(features)}."
        )
    return keys[0], keys[1]


def picture_key(x_key, features) -> str | None:
    """The only picture among the features of x, or None."""
    keys = [key for key in tf.nest.flatten(x_key) if isinstance(features[key], tfds.features.Image)]
    return keys[0] if len(keys) == 1 else None


def image_shape(name: str, feature: tfds.features.Image):
    """Height, width (None where they differ) and channels of a picture feature."""
    channels = feature.shape[-1] or 3
    if feature.np_dtype != np.uint8 or channels not in (1, 3, 4):
        raise ValueError(
            f"Pictures need 8 bits and 1, 3 or 4 channels. {name!r} has {feature.np_dtype.__name__} {feature.shape}."
        )
    return (*feature.shape[:2], channels)


def _read_pictures(image_key: str, y_key: str):
    def read(builder, instruction):
        return read_examples(builder, instruction, {image_key: tfds.decode.SkipDecoding()}).map(
            lambda example: (example[image_key], tf.cast(example[y_key], tf.int64)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    return read


def _read_table(flatten, y_key: str, read_target):
    def read(builder, instruction):
        return read_examples(builder, instruction, None).map(
            lambda example: (flatten(example), read_target(example[y_key])),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    return read


def read_examples(builder, instruction, decoders) -> tf.data.Dataset:
    """The examples that an instruction names, in the order of the files."""
    # No cache and no prefetch: what to keep in memory is the training pipeline's choice.
    config = tfds.ReadConfig(try_autocache=False, skip_prefetch=True)
    return builder.as_dataset(split=instruction, decoders=decoders, read_config=config, shuffle_files=False)


def table_of(builder, x_key):
    """Column names of a table, and the function from an example to its row, float32 [F].

    Raises:
        ValueError: a feature that is no number.
    """
    features = builder.info.features
    is_nested = isinstance(x_key, str) and isinstance(features[x_key], tfds.features.FeaturesDict)
    if isinstance(x_key, str) and not is_nested:
        return _vector_table(builder.name, x_key, features[x_key])
    inner = features[x_key] if is_nested else features
    keys = _in_order(builder, inner if is_nested else tf.nest.flatten(x_key))
    for key in keys:
        if not is_number(inner[key]):
            raise ValueError(f"Column {key!r} of {builder.name!r} is no number: {inner[key]}.")

    def row(example):
        values = example[x_key] if is_nested else example
        return tf.stack([tf.cast(values[key], tf.float32) for key in keys])

    return keys, row


def _vector_table(name: str, key: str, feature):
    if not np.issubdtype(feature.np_dtype, np.number) or len(feature.shape) > 1 or None in feature.shape:
        raise ValueError(f"x of {name!r} must be a picture or numbers of a fixed count. Received: {feature}.")
    names = columns.numbered(math.prod(feature.shape))
    return names, lambda example: tf.reshape(tf.cast(example[key], tf.float32), [len(names)])


def _in_order(builder, keys) -> list[str]:
    # Prepared files do not keep the order in which a builder declared its features; our own builders do.
    return list(keys) if builder.name in datasets.NAMES else sorted(keys)


def is_number(feature) -> bool:
    """Whether a feature is one number per example; a class label counts as its id."""
    is_composed = isinstance(feature, (tfds.features.FeaturesDict, tfds.features.Sequence))
    return not is_composed and feature.shape == () and np.dtype(feature.np_dtype).kind in "iufb"


def target_reader(name: str, feature, task: str):
    """The function from a target as TFDS reads it to int64 [] (classification) or float32 [K] (regression)."""
    if targets.is_classification(task):
        return lambda y: tf.cast(y, tf.int64)
    is_numeric = np.issubdtype(feature.np_dtype, np.number) and len(feature.shape) <= 1
    if isinstance(feature, tfds.features.ClassLabel) or not is_numeric:
        raise ValueError(f"Regression needs a target of numbers. The target of {name!r} is {feature}.")
    return lambda y: tf.reshape(tf.cast(y, tf.float32), [-1])


def class_names(name: str, feature, train: Slices, task: str) -> tuple[str, ...]:
    """Names of the classes; checks that the training part shows at least two.

    The names of a ClassLabel are taken at their word and examples are read only until a second class is seen. Ids
    without a ClassLabel are counted by one pass.
    """
    if feature.shape != () or np.dtype(feature.np_dtype).kind not in "iub":
        raise ValueError(f"Classification needs one class per example. The target of {name!r} is {feature}.")
    if isinstance(feature, tfds.features.ClassLabel):
        labels = tuple(feature.names)
        counts = _seen_classes(train, len(labels))
    else:
        counts = _count_classes(train)
        labels = tuple(str(i) for i in range(len(counts)))
    targets.check_classes(name, counts, labels, task)
    return labels


def _seen_classes(train: Slices, num_classes: int) -> np.ndarray:
    counts = np.zeros(num_classes, np.int64)
    for y in _labels(train):
        counts[y] += 1
        if np.count_nonzero(counts) == 2:
            break
    return counts


def _count_classes(train: Slices) -> np.ndarray:
    ids = np.fromiter(_labels(train), np.int64)
    return np.bincount(ids, minlength=targets.count_ids(ids.min(initial=0), ids.max(initial=0), len(ids)))


def _labels(part: Slices):
    return part.read().map(lambda _, y: y).as_numpy_iterator()
