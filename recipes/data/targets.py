"""Targets: what each task learns from, and the checks that go with it."""

from collections.abc import Sequence

import numpy as np

from zoo.nearest import choose

# Task → what it reads, and what its target is: a class, numbers, another text, a tag for every word of a text, a class
# for every pixel, boxes with a class each, or nothing beside the input itself.
TASKS = {
    "regression": ("table", "values"),
    "binary-classification": ("table", "class"),
    "image-classification": ("image", "class"),
    "text-classification": ("text", "class"),
    "token-classification": ("text", "tags"),
    "sequence-to-sequence": ("text", "text"),
    "language-modeling": ("text", None),
    "masked-language-modeling": ("text", None),
    "semantic-segmentation": ("image", "mask"),
    "object-detection": ("image", "boxes"),
    "image-generation": ("image", None),
    "style-transfer": ("image", None),
    "domain-adaptation": ("image", "class"),
}


def is_classification(task: str) -> bool:
    """Whether the task's target is a class."""
    return kind(task) == "class"


def kind(task: str) -> str | None:
    """What a task's target is: "class", "values", "tags", "text", "mask", "boxes", or None where it has none."""
    return TASKS[choose("task", task, TASKS)][1]


def reads_text(task: str) -> bool:
    """Whether a task's input is text."""
    return TASKS[choose("task", task, TASKS)][0] == "text"


def default_name(task: str) -> str:
    """What the target is called where the source gives it no name."""
    return {"class": "label", "tags": "tags", "mask": "mask", "boxes": "objects"}.get(kind(task), "target")


def check_kind(kind: str, task: str) -> None:
    """Raise ValueError for pictures given to a regression."""
    if kind == "image" and not is_classification(task):
        raise ValueError("Regression reads tables: x of shape [N] or [N, F]. Received pictures.")


def check_classes(name: str, counts: Sequence[int], labels: Sequence[str], task: str) -> None:
    """Raise ValueError unless the training part can teach the task.

    Args:
        name: the source, for the message.
        counts: training examples per class.
        labels: class names, as many as `counts`.
        task: a classification task: it needs two classes with examples; binary has exactly two classes.
    """
    if task == "binary-classification" and len(labels) != 2:
        raise ValueError(
            f"Binary classification needs exactly 2 classes. {name!r} has {len(labels)}: {', '.join(labels)}."
        )
    if np.count_nonzero(counts) < 2:
        listing = ", ".join(f"{label}: {count}" for label, count in zip(labels, counts, strict=True))
        raise ValueError(
            f"Classification needs examples of at least 2 classes in the training part of {name!r}. "
            f"Received: {listing}."
        )


def class_ids(targets: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Class ids (int64) per part, and the class names.

    Args:
        targets: part → one target per example: integer ids 0..C-1, named by their number, or strings, sorted.

    Raises:
        ValueError: one-hot rows, fractions, negative ids, or an id so high that most classes have no example.
    """
    targets = {part: _one_per_example(part, y) for part, y in targets.items()}
    kinds = {y.dtype.kind for y in targets.values()}
    if kinds <= set("US"):
        return _ids_of_names({part: y.astype(str) for part, y in targets.items()})
    if kinds <= set("iub"):
        return _ids_of_integers({part: y.astype(np.int64) for part, y in targets.items()})
    raise ValueError(
        "Classification needs class ids as integers 0..C-1, or class names as strings. "
        f"Received y of type {', '.join(sorted(str(y.dtype) for y in targets.values()))}; "
        'whole numbers stored as floats: y.astype("int64").'
    )


def _ids_of_names(names: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    labels = sorted(set().union(*(y.tolist() for y in names.values())))
    return {part: np.searchsorted(labels, y).astype(np.int64) for part, y in names.items()}, tuple(labels)


def _ids_of_integers(ids: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    everything = np.concatenate(list(ids.values()))
    num_classes = count_ids(everything.min(initial=0), everything.max(initial=0), len(everything))
    return ids, tuple(str(i) for i in range(num_classes))


def count_ids(lowest: int, highest: int, examples: int) -> int:
    """Number of classes that ids from `lowest` to `highest` among that many examples stand for.

    Raises:
        ValueError: a negative id, or an id so high that some class must lack examples.
    """
    if lowest < 0:
        raise ValueError(f"Class ids are 0..C-1. Received the id {lowest}; of -1 and 1 make 0 and 1.")
    if highest >= examples > 0:
        raise ValueError(f"Class ids are 0..C-1. Received the id {highest} among {examples} examples.")
    return highest + 1


def _one_per_example(part: str, y: np.ndarray) -> np.ndarray:
    y = y.astype(str) if y.dtype == object and all(isinstance(value, str) for value in y.flat) else y
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]  # keras.datasets.cifar10 gives [N, 1]
    if y.ndim != 1:
        hint = " One-hot rows: np.argmax(y, axis=1) gives the ids." if y.ndim == 2 else ""
        raise ValueError(f"y of the {part} part must be one class per example, [N]. Received shape {y.shape}.{hint}")
    return y


def values(part: str, y: np.ndarray) -> np.ndarray:
    """Regression targets, float32 [N, K], from [N] or [N, K].

    Raises:
        ValueError: not numeric, another rank, or a value that is NaN or infinite; names the first such row.
    """
    if y.dtype.kind not in "iubf" or y.ndim not in (1, 2):
        raise ValueError(
            f"y of the {part} part must be numbers of shape [N] or [N, K]. Received {y.dtype} of shape {y.shape}."
        )
    y = (y if y.ndim == 2 else y[:, np.newaxis]).astype(np.float32)
    check_finite(f"y of the {part} part", y)
    return y


def check_finite(name: str, array: np.ndarray) -> None:
    """Raise ValueError naming the first row of [N, ...] that holds NaN or an infinity."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    row = int(np.flatnonzero(~finite)[0])
    raise ValueError(f"{name} holds NaN or an infinity, first in row {row} (counted from 0).")
