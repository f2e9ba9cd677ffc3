"""Comparing a version's answers with the expected ones. Who verifies needs neither Keras nor TensorFlow.

Floats lie within their tolerance, integers and strings are equal; only where two classes are so close that the
tolerance could swap them may the class differ, and with it what is said of that class. Pictures are compared by their
pixels. Of a class for every pixel, so many pixels of a picture may differ as the tolerance says, those between two
classes. Detections are compared in whatever order they come, those of least score may be missing or be too many.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from export import detections, pictures, replay
from export.golden import Golden
from recipes.arrays import Arrays

PROBABILITIES = ("probabilities", "scores")
CLASSES = ("class_ids", "classes")
TEXTS = ("filled_text", "generated_text", "next_tokens")
OF_THE_CLASS = ("heatmap",)  # what is said of the class answered, and so of another one where two are tied


@dataclass(frozen=True)
class Tolerance:
    """`absolute + relative * |expected|`; of pictures in levels of 0..255.

    `share` of an example's entries may lie outside of it.
    """

    absolute: float
    relative: float
    share: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """What comparing one signature's answers found.

    Attributes:
        signature: its name.
        examples: how many were compared.
        absolute, relative: float output → largest difference seen; relative ones where the expected value is not tiny.
        class_agreement: fraction of examples with the expected class, or text; of the parts of an example, such as
            pixels, boxes and words, that of all of them. None where there is neither.
        problems: one sentence per output that differs too much, naming example and both values.
    """

    signature: str
    examples: int
    absolute: dict[str, float] = field(default_factory=dict)
    relative: dict[str, float] = field(default_factory=dict)
    class_agreement: float | None = None
    problems: tuple[str, ...] = ()


def compare_replay(
    signature: str, examples: Golden, replies: Mapping[str, Arrays], allowed: Mapping[str, Tolerance]
) -> Comparison:
    """Compare what a fresh process answered: to all examples, again, one by one, to none, and to what is refused."""
    for what, key in ((f"Signature {signature!r}", signature), ("A warm-up record", replay.WARMUP)):
        if failed := replies.get(f"{key}|{replay.ERROR}"):
            text = failed[replay.ERROR][0].decode(errors="replace")
            return Comparison(signature, 0, problems=(f"{what} failed: {text}",))

    def asked(question):
        return replies[f"{signature}|{question}"]

    found = compare(signature, examples, asked(replay.ALL), allowed)
    more = [
        *(
            f"{what}: {problem}"
            for what, question in (("Asked twice", replay.AGAIN), ("Asked alone", replay.ALONE))
            for problem in compare(signature, examples, asked(question), allowed).problems
        ),
        *_rows_of_nothing(signature, replies.get(f"{signature}|{replay.NONE}", {})),
        *_answered_all_the_same(signature, replies.get(f"{signature}|{replay.REFUSED}", {})),
    ]
    return found if found.problems else replace(found, problems=tuple(more))


def compare(signature: str, examples: Golden, answers: Arrays, allowed: Mapping[str, Tolerance]) -> Comparison:
    """Compare answers, `(examples, ...)` by output name, with the expected ones."""
    absolute, relative, problems = {}, {}, []
    tied = _tied(examples, allowed)
    if detections.BOXES in examples.outputs:
        answers = detections.in_order(answers, examples.outputs, allowed)
    for name, expected in examples.outputs.items():
        where = f"Signature {signature!r}, output {name!r}"
        if name not in answers:
            problems.append(f"{where} is missing. Received: {', '.join(sorted(answers)) or 'no output'}.")
            continue
        answer, expected = as_wide(np.asarray(answers[name]), expected)
        if answer.shape != expected.shape:
            problems.append(f"{where} has shape {answer.shape}. Expected: {expected.shape}.")
        elif name in allowed:
            wrong, absolute[name], relative[name] = differing(answer, expected, allowed[name])
            if name in OF_THE_CLASS:
                wrong[tied] = False
            problems += _worst(where, wrong, answer, expected)
        else:
            wrong = answer != expected
            if name in CLASSES and wrong.shape == tied.shape:
                wrong &= ~tied
            problems += _worst(where, wrong, answer, expected)
    return Comparison(
        signature, len(examples), absolute, relative, _agreement(examples.outputs, answers), tuple(problems)
    )


def recorded_tolerances(record: Mapping[str, Any]) -> dict[str, Tolerance]:
    """The tolerances that `record` wrote."""
    return {name: Tolerance(**o["tolerance"]) for name, o in record["outputs"].items() if "tolerance" in o}


def _tied(examples: Golden, allowed: Mapping[str, Tolerance]) -> np.ndarray:
    """Examples, or parts of them, whose two most probable classes the tolerance could swap, bool `(examples, …)`."""
    if detections.BOXES in examples.outputs:
        return np.zeros(len(examples), bool)
    for name in PROBABILITIES:
        if name in allowed:
            second, first = np.moveaxis(np.sort(examples.outputs[name], axis=-1)[..., -2:], -1, 0)
            return first - second <= 2 * (allowed[name].absolute + allowed[name].relative * first)
    return np.zeros(len(examples), bool)


def as_wide(answer: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both without what only fills up, at the end of their axes but the first, where one of them has more of it.

    What is said of the parts of an input is as wide as the batch needs: see `recipes.answers`.
    """
    if answer.ndim != expected.ndim or answer.ndim < 2:
        return answer, expected
    empty = b"" if expected.dtype == object else 0
    common = (slice(None), *(slice(min(pair)) for pair in zip(answer.shape[1:], expected.shape[1:], strict=True)))
    filled = all(
        np.count_nonzero(array != empty) == np.count_nonzero(array[common] != empty) for array in (answer, expected)
    )
    return (answer[common], expected[common]) if filled else (answer, expected)


def _agreement(expected: Arrays, answers: Arrays) -> float | None:
    for name, array in expected.items():
        if name == "scores" and detections.BOXES in expected:
            continue
        if name == "class_ids" and name in answers:
            answer, array = as_wide(np.asarray(answers[name]), array)
            return float(np.mean(answer == array)) if answer.shape == array.shape else None
        if name == "scores" and name in answers:
            return float(np.mean(np.argmax(answers[name], axis=-1) == np.argmax(array, axis=-1)))
        if name in TEXTS and name in answers:
            return float(np.mean(np.asarray(answers[name]) == array))
    return None


def differing(answer: np.ndarray, expected: np.ndarray, allowed: Tolerance) -> tuple[np.ndarray, float, float]:
    """Which examples differ by more than is allowed, bool `(n,)`; the largest difference, absolute and relative."""
    wrong, absolute, relative = np.zeros(len(expected), bool), 0.0, 0.0
    scale = scale_of(expected)
    for i, (one, wanted) in enumerate(zip(answer, expected, strict=True)):
        if expected.dtype == object:
            if pictures.sizes(one) != pictures.sizes(wanted):
                wrong[i], absolute = True, 255.0
                continue
            one, wanted = pictures.pixels(one), pictures.pixels(wanted)
        difference, size = np.abs(np.asarray(one, np.float64) - wanted), np.abs(wanted)
        outside = ~(difference <= allowed.absolute + allowed.relative * size)
        wrong[i] = np.mean(outside) > allowed.share if outside.size else False
        substantial = size > 1e-6 * scale
        absolute = max(absolute, float(difference.max(initial=0)))
        relative = max(relative, float((difference / np.where(substantial, size, 1))[substantial].max(initial=0)))
    return wrong, absolute, relative


def scale_of(expected: np.ndarray) -> float:
    """The largest number there is, of pictures the largest there can be."""
    return 255.0 if expected.dtype == object else float(np.abs(expected).max(initial=0))


def _worst(where: str, wrong: np.ndarray, answer: np.ndarray, expected: np.ndarray) -> list[str]:
    if not wrong.any():
        return []
    wrong = wrong.reshape(len(wrong), -1).any(axis=-1)
    example = int(np.argmax(wrong))
    return [
        f"{where}, example {example}: received {_shown(answer[example])}, expected {_shown(expected[example])} "
        f"({int(wrong.sum())} of {len(wrong)} examples differ)."
    ]


def _rows_of_nothing(signature: str, outputs: Arrays) -> Iterator[str]:
    for name, array in outputs.items():
        if len(array):
            yield f"Signature {signature!r}, output {name!r} has {len(array)} rows where nothing was asked."


def _answered_all_the_same(signature: str, outputs: Arrays) -> Iterator[str]:
    for number in np.flatnonzero(~outputs.get(replay.REFUSED, np.ones(0, bool))):
        yield f"Signature {signature!r} answers input {number} of those that are to be refused."


def _shown(value: np.ndarray | bytes) -> str:
    if isinstance(value, bytes):
        return repr(value.decode(errors="replace"))
    return np.array2string(np.asarray(value), precision=7, threshold=8, edgeitems=3).replace("\n", "")
