"""`tf.data.Dataset`s of `(x, y)`."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from recipes.data import columns, pictures, targets
from recipes.data.parts import Stream, check_sizes, example_digest
from recipes.data.source import Source

REREAD = 1000
"""Examples read a second time to see whether the order is the same."""


def open_datasets(parts: Mapping[str, tf.data.Dataset], *, task: str, target: str | None = None) -> Source:
    """Open data sets of `(x, y)`, batched or not; each is read once wholly. The fingerprint covers every example.

    x: a picture (uint8, other integers 0..255, floats 0..1 or 0..255: [H, W] or [H, W, C]; or a scalar string of PNG or
    JPEG bytes) or a row of a table (a number, or [F]). y: an integer class id; or, for regression, a number or [K].

    Whether they are batched is read off the element spec (`is_batched`).

    Raises:
        ValueError: another structure, an endless data set, one that gives its examples in another order every time
            (shuffling is left to training), NaN or infinities, ids that are no classes.
    """
    read = {part: _normalised(part, dataset, task) for part, dataset in parts.items()}
    scans = {part: scan(part, dataset) for part, dataset in read.items()}
    check_sizes("dataset", {part: found.size for part, found in scans.items()})
    described, convert = _inputs(read["train"].element_spec[0], scans)
    targets.check_kind(described["kind"], task)
    labels = _labels(scans, task) if targets.is_classification(task) else None
    digest = hashlib.sha256("".join(f"{part} {found.digest}" for part, found in sorted(scans.items())).encode())
    return Source(
        name="dataset",
        parts={
            part: Stream(mapped(dataset, lambda x, y: (convert(x), y)), scans[part].size)
            for part, dataset in read.items()
        },
        target=target or targets.default_name(task),
        fingerprint=digest.hexdigest(),
        labels=labels,
        **described,
    )


def is_batched(spec, task: str) -> bool:
    """Whether elements of `spec = (x, y)` are batches.

    For classification y decides: a scalar is one example, a vector a batch. For regression x decides: a scalar is one
    example, a matrix a batch; a vector is one row of a table, unless its length is unknown: then it is a batch of
    numbers. Encoded pictures: a scalar string is one example.
    """
    x, y = spec
    if x.dtype == tf.string:
        return x.shape.rank > 0
    if targets.is_classification(task):
        return y.shape.rank > 0
    return x.shape.rank > 1 or (x.shape.rank == 1 and x.shape[0] is None)


def _normalised(part: str, dataset: tf.data.Dataset, task: str) -> tf.data.Dataset:
    """Unbatched, finite, y int64 [] or float32 [K]."""
    spec = dataset.element_spec
    is_pair = isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(item, tf.TensorSpec) for item in spec)
    if not is_pair or any(item.shape.rank is None for item in spec):
        raise ValueError(f"A data set must give pairs of tensors (x, y) of known rank. The {part} part gives {spec}.")
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"The {part} part repeats without end: leave out .repeat().")
    dataset = dataset.unbatch() if is_batched(spec, task) else dataset
    y_spec = dataset.element_spec[1]
    if not targets.is_classification(task):
        if not (y_spec.dtype.is_floating or y_spec.dtype.is_integer) or y_spec.shape.rank > 1:
            raise ValueError(f"Regression needs y of numbers, [] or [K] per example. The {part} part gives {y_spec}.")
        return mapped(dataset, lambda x, y: (x, tf.reshape(tf.cast(y, tf.float32), [-1])))
    if not y_spec.dtype.is_integer or y_spec.shape not in ([], [1]):
        raise ValueError(
            f"Classification needs one integer class id per example. The {part} part gives {y_spec}. "
            "One-hot rows: tf.argmax(y, axis=-1) gives the ids."
        )
    return mapped(dataset, lambda x, y: (x, tf.reshape(tf.cast(y, tf.int64), [])))


def mapped(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """A function of every element, in the same order."""
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


@dataclass
class Scan:
    """What one pass over a part found."""

    size: int = 0
    lowest: float = 0.0
    highest: float = 0.0
    shapes: set = field(default_factory=set)
    counts: dict[int, int] = field(default_factory=dict)
    digest: str = ""


def scan(part: str, dataset: tf.data.Dataset) -> Scan:
    """Read every example once, and the first ones twice.

    Raises:
        ValueError: NaN or an infinity, an unreadable picture, or another order the second time.
    """
    found = Scan()
    found.size, found.digest = digest_of(part, dataset, lambda x, y, number: _note(found, part, x, y, number))
    return found


def digest_of(part: str, dataset: tf.data.Dataset, note: Callable = lambda x, y, number: None) -> tuple[int, str]:
    """Read every example once, and the first ones twice; `note(x, y, number)` sees each. The size, and a digest.

    Raises:
        ValueError: another order the second time.
    """
    size, digest, first = 0, hashlib.sha256(), []
    for x, y in dataset.as_numpy_iterator():
        example = example_digest((x, y))
        digest.update(example)
        if size < REREAD:
            first.append(example)
        note(x, y, size)
        size += 1
    again = [example_digest(example) for example in dataset.take(REREAD).as_numpy_iterator()]
    if again != first:
        raise ValueError(
            f"The {part} part gives other examples, or another order, every time it is read, so it can be neither "
            "split nor repeated. Leave out .shuffle() and random augmentation: training does both; or "
            ".shuffle(…, seed=…, reshuffle_each_iteration=False)."
        )
    return size, digest.hexdigest()


def _note(found: Scan, part: str, x, y, number: int) -> None:
    where = f"example {number} (counted from 0) of the {part} part"
    if isinstance(x, bytes):
        try:
            found.shapes.add(pictures.examine(x))
        except ValueError as error:
            raise ValueError(f"The picture in {where} cannot be read: {error}.") from None
    else:
        if not np.isfinite(x).all():
            raise ValueError(f"x holds NaN or an infinity in {where}.")
        found.shapes.add(x.shape)
        found.lowest = min(found.lowest, float(x.min(initial=0)))
        found.highest = max(found.highest, float(x.max(initial=0)))
    if not np.isfinite(y).all():
        raise ValueError(f"y holds NaN or an infinity in {where}.")
    if np.ndim(y) == 0:
        found.counts[int(y)] = found.counts.get(int(y), 0) + 1


def picture_form(parts: Mapping[str, tf.data.Dataset]) -> tuple[dict, Callable]:
    """Of data sets `(picture, y)`: what `Source` says of the pictures, and the function that gives them that form.

    Raises:
        ValueError: an unreadable picture, NaN, pixels outside of 0..255, or other than 1, 3 or 4 channels.
    """
    return _inputs(parts["train"].element_spec[0], {part: scan(part, dataset) for part, dataset in parts.items()})


def _inputs(spec: tf.TensorSpec, scans: Mapping[str, Scan]) -> tuple[dict, Callable]:
    """What x is, and the function that gives it the form that `Data` promises."""
    shapes = set().union(*(found.shapes for found in scans.values()))
    if spec.dtype == tf.string:
        return {"kind": "image", "pixels": "encoded", "image_shape": pictures.common_shape(shapes)}, lambda x: x
    if not (spec.dtype.is_floating or spec.dtype.is_integer) or spec.shape.rank > 3:
        raise ValueError(f"x must be numbers, a picture, or PNG or JPEG bytes. Received {spec}.")
    if spec.shape.rank < 2:
        return _table(shapes)
    return _picture(spec, shapes, scans)


def _table(shapes: set) -> tuple[dict, Callable]:
    sizes = {int(np.prod(shape)) for shape in shapes}
    if len(sizes) != 1:
        raise ValueError(f"Every row of a table must have the same number of columns. Received {sorted(sizes)}.")
    (size,) = sizes
    described = {"kind": "table", "columns": columns.numbered(size)}
    return described, lambda x: tf.reshape(tf.cast(x, tf.float32), [size])


def _picture(spec: tf.TensorSpec, shapes: set, scans: Mapping[str, Scan]) -> tuple[dict, Callable]:
    shapes = {shape if len(shape) == 3 else (*shape, 1) for shape in shapes}
    channels = {shape[-1] for shape in shapes}
    pictures.check_channels(channels.pop() if len(channels) == 1 else None, "x")
    shape = pictures.common_shape(pictures.Picture(*each) for each in shapes)
    pixels, divisor = pictures.pixel_range(
        spec.dtype.as_numpy_dtype,
        min(found.lowest for found in scans.values()),
        max(found.highest for found in scans.values()),
    )

    def convert(x):
        x = x if spec.shape.rank == 3 else x[..., tf.newaxis]
        x = tf.cast(x, tf.uint8) if pixels == "uint8" else tf.cast(x, tf.float32) / divisor
        return tf.ensure_shape(x, shape)

    return {"kind": "image", "pixels": pixels, "image_shape": shape}, convert


def _labels(scans: Mapping[str, Scan], task: str) -> tuple[str, ...]:
    ids = set().union(*(found.counts for found in scans.values()))
    total = sum(found.size for found in scans.values())
    labels = tuple(str(i) for i in range(targets.count_ids(min(ids, default=0), max(ids, default=0), total)))
    counts = [scans["train"].counts.get(i, 0) for i in range(len(labels))]
    targets.check_classes("dataset", counts, labels, task)
    return labels
