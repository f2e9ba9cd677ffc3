"""What a recipe opens and that is no folder or CSV file: TFDS data sets, `.txt` files, arrays, `tf.data.Dataset`s."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from recipes.data import named, targets
from recipes.data.checks import inspecting
from recipes.data.checks.inspecting import Seen, Unusable
from recipes.data.checks.progress import shown
from recipes.data.checks.survey import Survey
from recipes.data.parts import NAMES
from recipes.data.source import Source

ROWS = 4096
"""Rows of a table that are read together."""


def task_of(builder: tfds.core.DatasetBuilder) -> str:
    """The task that the features of a TFDS data set are fit for.

    Raises:
        ValueError: they are neither a picture, nor a text, nor what the data set calls its input and target.
    """
    features, keys = builder.info.features, builder.info.supervised_keys
    x, y = (features[key] if isinstance(key, str) else None for key in (keys or (None, None))[:2])
    is_class = isinstance(y, tfds.features.ClassLabel)
    kinds = {type(feature) for feature in (features.values() if keys is None else [x])}
    if any(issubclass(kind, tfds.features.Image) for kind in kinds):
        return "image-classification" if is_class else "image-generation"
    if any(issubclass(kind, tfds.features.Text) for kind in kinds):
        with_target = "text-classification" if y is None or named.is_number(y) else "sequence-to-sequence"
        return "language-modeling" if keys is None else with_target
    if keys is None:
        raise ValueError(f"Data set {builder.name!r} does not say what is learned from it. Say task=… and target=….")
    return "binary-classification" if is_class else "regression"


def check_source(source: Source, task: str, verbose: bool) -> Survey:
    """Read every example of an opened source once."""
    parts = [part for part in NAMES if part in source.parts]
    survey = Survey(source.name, task, source.kind, parts, _where, compares=not source.continuous)
    for part in parts:
        look = _look_at_table if source.kind == "table" else _look_at_each
        look(survey, source, part, verbose)
    return survey


def _where(part: str, number: int) -> str:
    return f"{part}[{number}]"


def _look_at_each(survey: Survey, source: Source, part: str, verbose: bool) -> None:
    """Pictures or texts."""
    label_of, inspect = _labels(source, survey.task), _inspect(source, survey.task)
    found = inspecting.several(source.parts[part].read().as_numpy_iterator(), inspect)
    shown_bar = shown(found, source.parts[part].size, f"Reading {part}", verbose)
    for number, ((_, y), seen) in enumerate(shown_bar):
        if isinstance(seen, Unusable):
            survey.note(seen.kind, _where(part, number), detail=seen.reason)
        else:
            survey.example(part, number, seen, label_of(y))


def _inspect(source: Source, task: str) -> Callable[[tuple], Seen]:
    """What of an example `(x, y)` is kept."""
    if source.kind == "text":
        is_class = targets.kind(task) == "class"
        return lambda example: inspecting.text(example[0], b"" if is_class else example[1], source.continuous)
    seen = inspecting.picture if source.pixels == "encoded" else inspecting.pixels
    return lambda example: seen(example[0])


def _labels(source: Source, task: str) -> Callable[[Any], str | None]:
    """The label of a target; None where it is no class."""
    if not source.labels or targets.kind(task) not in ("class", None):
        return lambda y: None
    return lambda y: source.labels[y] if 0 <= y < len(source.labels) else None


def _look_at_table(survey: Survey, source: Source, part: str, verbose: bool) -> None:
    label_of, is_class = _labels(source, survey.task), targets.kind(survey.task) == "class"
    batches = source.parts[part].read().batch(ROWS).as_numpy_iterator()
    total, number = -(-source.parts[part].size // ROWS), 0
    for x, y in shown(batches, total, f"Reading {part}", verbose):
        survey.measure(dict(zip(source.columns, x.T, strict=True)))
        for row, target in zip(x, y, strict=True):
            if not np.isfinite(row).all():
                column = source.columns[int(np.flatnonzero(~np.isfinite(row))[0])]
                survey.note("missing", _where(part, number), detail=column)
            seen = inspecting.row(row.tobytes(), b"" if is_class else target.tobytes())
            survey.example(part, number, seen, label_of(target))
            number += 1
