"""From a signature's outputs to what a person reads: an answer per row, its probability, whether it is right.

Published classifiers answer ``probabilities`` [N, C], ``class_ids`` [N] and ``classes`` [N]; taggers ``words`` and
``classes`` [N, W]; what fills masks ``filled_text`` [N], ``tokens`` and ``probabilities`` [N, M, K]; regressions
``value`` [N, 1]; what writes texts ``generated_text`` [N]; detectors ``boxes`` [N, M, 4], ``scores`` and ``classes``
[N, M]; what answers every pixel ``class_ids`` [N, P] and ``size`` [N, 2]. Outputs that end in ``_bytes`` are pictures.
The outputs of any other model are shown as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import numpy as np

from serving.questions import Question

_LONGEST = 60  # characters shown of an output that is no number


@dataclass(frozen=True)
class Guess:
    answer: str
    probability: float | None = None


@dataclass(frozen=True)
class Row:
    """One question's answer. ``guesses`` is the answer and the runners-up; ``right`` is None where truth is unknown.

    ``pictures`` are PNGs by the name of their output, of a seed several with a number behind.
    """

    input: str
    guesses: Sequence[Guess]
    truth: str | None = None
    right: bool | None = None
    pictures: Mapping[str, bytes] = field(default_factory=dict)

    def as_json(self) -> dict:
        row = {"guesses": [asdict(guess) for guess in self.guesses]}
        best = row["guesses"][0]
        truth = None if self.truth is None else printable(self.truth)
        return {"input": printable(self.input), **best, "top": row["guesses"], "truth": truth, "right": self.right}


def read_answers(
    questions: Sequence[Question], outputs: Mapping[str, np.ndarray], *, top: int = 1, labels: Sequence[str] = ()
) -> list[Row]:
    """A row for each question. ``labels`` names all classes, where they are known; else runners-up have their ids."""
    rows = _read(questions, outputs, top, labels)
    return [replace(row, pictures=_pictures(outputs, i, len(questions))) for i, row in enumerate(rows)]


def kind_of(outputs: Mapping[str, np.ndarray], rows: int) -> str:
    """What outputs for so many rows are: ``boxes``, ``mask``, ``pictures``, ``tags``, ``filled``, ``classes``,
    ``value``, ``written``, ``next``, or ``other``, by their names as published models have them."""
    names = outputs.keys()
    if {"boxes", "scores", "classes"} <= names:
        return "boxes"
    if {"class_ids", "mask_bytes", "size"} <= names:
        return "mask"
    if "image_bytes" in names:
        return "pictures"
    if {"classes", "words"} <= names:
        return "tags"
    if {"filled_text", "tokens", "probabilities"} <= names:
        return "filled"
    if {"classes", "class_ids", "probabilities"} <= names and outputs["classes"].ndim == 1:
        return "classes"
    if "value" in names and outputs["value"].size == rows:
        return "value"
    if "generated_text" in names:
        return "written"
    return "next" if {"next_tokens", "next_probabilities"} <= names else "other"


def _read(
    questions: Sequence[Question], outputs: Mapping[str, np.ndarray], top: int, labels: Sequence[str]
) -> list[Row]:
    kind = kind_of(outputs, len(questions))
    read = {
        "boxes": _detected,
        "mask": partial(_masked, labels=labels),
        "pictures": _pictured,
        "tags": _tagged,
        "filled": partial(_filled, top=top),
        "classes": partial(_classified, top=top, labels=labels),
        "value": _valued,
        "written": _written,
    }.get(kind, partial(_other, rows=len(questions)))
    return [read(question, outputs, row) for row, question in enumerate(questions)]


def summary(rows: Sequence[Row]) -> str | None:
    """``59/64 right``; for numbers ``mean absolute error 41.2 over 64``; None where no truth is known."""
    judged = [row.right for row in rows if row.right is not None]
    if judged:
        return f"{sum(judged)}/{len(judged)} right"
    pairs = [(_number(row.guesses[0].answer), _number(row.truth)) for row in rows]
    errors = [abs(answer - truth) for answer, truth in pairs if answer is not None and truth is not None]
    return f"mean absolute error {np.mean(errors):.4g} over {len(errors)}" if errors else None


def _classified(
    question: Question, outputs: Mapping[str, np.ndarray], row: int, top: int, labels: Sequence[str]
) -> Row:
    probabilities = outputs["probabilities"][row]
    best, answer = int(outputs["class_ids"][row]), printable(outputs["classes"][row])
    others = [class_id for class_id in np.argsort(-probabilities, kind="stable").tolist() if class_id != best]
    guesses = [Guess(answer, float(probabilities[best]))]
    for class_id in others[: top - 1]:
        name = labels[class_id] if class_id < len(labels) else f"class {class_id}"
        guesses.append(Guess(name, float(probabilities[class_id])))
    right = None if question.truth is None else _same_class(question.truth, answer, best)
    return Row(question.shown, guesses, question.truth, right)


def _tagged(question: Question, outputs: Mapping[str, np.ndarray], row: int) -> Row:
    """Every word with its tag; right if the tags are those of the truth, which blanks part."""
    words, tags = ([printable(each) for each in outputs[name][row]] for name in ("words", "classes"))
    tagged = [(word, tag) for word, tag in zip(words, tags, strict=True) if word]
    right = None if question.truth is None else question.truth.split() == [tag for _, tag in tagged]
    return Row(question.shown, [Guess(" ".join(f"{word}/{tag}" for word, tag in tagged))], question.truth, right)


def _filled(question: Question, outputs: Mapping[str, np.ndarray], row: int, top: int) -> Row:
    """What may stand at the mask; of a text with several, or without, the text as it was filled."""
    tokens, probabilities = outputs["tokens"][row], outputs["probabilities"][row]
    if np.count_nonzero(probabilities[:, 0]) != 1:
        return Row(question.shown, [Guess(printable(outputs["filled_text"][row]))], question.truth)
    guesses = [Guess(printable(token), float(p)) for token, p in zip(tokens[0], probabilities[0], strict=True)]
    right = None if question.truth is None else question.truth.casefold() == guesses[0].answer.casefold()
    return Row(question.shown, guesses[:top], question.truth, right)


def _detected(question: Question, outputs: Mapping[str, np.ndarray], row: int) -> Row:
    """Every detection with its class, its score and its box: y_min, x_min, y_max, x_max in pixels."""
    found = zip(*(outputs[name][row] for name in ("classes", "scores", "boxes")), strict=True)
    lines = [
        f"{printable(name)} {score:.2f} at {', '.join(f'{side:.0f}' for side in box)}"
        for name, score, box in found
        if score > 0
    ]
    return Row(question.shown, [Guess("\n".join(lines) or "nothing")], question.truth)


def _masked(question: Question, outputs: Mapping[str, np.ndarray], row: int, labels: Sequence[str]) -> Row:
    """How much of the picture each class has."""
    height, width = outputs["size"][row].tolist()
    counts = np.bincount(outputs["class_ids"][row][: height * width])
    shares = [
        f"{labels[i] if i < len(labels) else f'class {i}'} {counts[i] / counts.sum():.1%}"
        for i in np.argsort(-counts, kind="stable").tolist()
        if counts[i]
    ]
    return Row(question.shown, [Guess(", ".join(shares))], question.truth)


def _pictured(question: Question, outputs: Mapping[str, np.ndarray], row: int) -> Row:
    """How many pictures are answered, and how large."""
    found = [png for png in np.atleast_1d(outputs["image_bytes"][row]) if png]
    sizes = sorted({"{}x{}".format(*np.frombuffer(png[16:24], ">u4")[::-1]) for png in found})
    pictures = "a picture" if len(found) == 1 else f"{len(found)} pictures"
    return Row(question.shown, [Guess(f"{pictures} of {', '.join(sizes)}")], question.truth)


def _pictures(outputs: Mapping[str, np.ndarray], row: int, rows: int) -> dict[str, bytes]:
    found = {}
    for name, array in outputs.items():
        if name.endswith("_bytes") and array.ndim and array.shape[0] == rows:
            several = np.atleast_1d(array[row])
            numbered = [
                f"{name.removesuffix('_bytes')}{f'-{i}' if array.ndim > 1 else ''}" for i in range(len(several))
            ]
            found |= {each: png for each, png in zip(numbered, several, strict=True) if isinstance(png, bytes) and png}
    return found


def _valued(question: Question, outputs: Mapping[str, np.ndarray], row: int) -> Row:
    return Row(question.shown, [Guess(f"{float(outputs['value'].reshape(-1)[row]):.6g}")], question.truth)


def _written(question: Question, outputs: Mapping[str, np.ndarray], row: int) -> Row:
    """Right is what is the truth to the letter."""
    text = printable(outputs["generated_text"][row])
    return Row(
        question.shown, [Guess(text)], question.truth, None if question.truth is None else text == question.truth
    )


def _same_class(truth: str, answer: str, class_id: int) -> bool:
    """By name; by number where the truth is one. A number means the class's id only if classes have no numbers."""
    if truth.strip() == answer.strip():
        return True
    number = _number(truth)
    named = _number(answer)
    return number is not None and number == (class_id if named is None else named)


def _other(question: Question, outputs: Mapping[str, np.ndarray], row: int, rows: int) -> Row:
    shown = "; ".join(f"{name}: {shortened(_of_row(array, row, rows))}" for name, array in outputs.items())
    return Row(question.shown, [Guess(shown)], question.truth)


def _of_row(array: np.ndarray, row: int, rows: int) -> object:
    """The row's part of an output; all of one that is not sized by the batch."""
    return array[row] if array.ndim and array.shape[0] == rows else array


def shortened(value: object) -> str:
    """An array, a string or a number on one line of at most 60 characters."""
    array = np.asarray(value, object if isinstance(value, (bytes, str)) else None)  # NumPy's own bytes lose their zeros
    if array.dtype == object:
        text = printable(array.item()) if array.ndim == 0 else ", ".join(map(printable, array.ravel().tolist()))
    else:
        text = np.array2string(array, precision=4, threshold=8, edgeitems=3, suppress_small=True)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def printable(value: object) -> str:
    """A string that a terminal takes: bytes as Python writes them, and what was no UTF-8 as escapes."""
    if isinstance(value, bytes):
        return repr(value)
    return str(value).encode("utf-8", "backslashreplace").decode()


def _number(text: str | None) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
