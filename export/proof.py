"""The proof: a version gives the answers that Keras gave, on real raw inputs.

Tolerance. Two correct programs differ in the order of their additions. How much that shows depends on the model, so it
is measured on Keras alone: the answers to a batch against the answers to the same examples one at a time. For every
float output, with `scale` the largest expected value and `eps` the rounding unit of the coarsest dtype the model
computes in,

    |answer - expected| <= scale * max(1e-5, 4 eps, 16 noise) + |expected| * max(1e-3, 8 eps)

The floors cover what one machine cannot see: a server built for other processors (ResNet50 in TensorFlow Serving
differed from Keras by 4.5e-4 of the value). Integers and strings must be equal; only where two classes are so close
that the tolerance could swap them may the class differ.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from export import golden, replay
from export.arrays import Arrays
from export.checks import layers_of
from export.golden import Golden
from export.signatures import Signature

FILE = "proof.json"
RULE = "|answer - expected| <= absolute + relative * |expected|; integers and strings are equal, or tied"

STORED_BYTES = 8 << 20  # of inputs, per signature
NOISE_EXAMPLES = 8
ABSOLUTE_FLOOR = 1e-5
RELATIVE_FLOOR = 1e-3
NOISE_LIMIT = 1e-2
ROUNDING_UNITS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}

PROBABILITIES = ("probabilities", "scores")
CLASSES = ("class_ids", "classes")


class ProofFailed(ValueError):  # noqa: N818 - it reads as what happened
    """A version does not give Keras' answers; nothing was published."""


@dataclass(frozen=True)
class Tolerance:
    """`absolute + relative * |expected|`."""

    absolute: float
    relative: float


@dataclass(frozen=True)
class Comparison:
    """What comparing one signature's answers found.

    Attributes:
        signature: its name.
        examples: how many were compared.
        absolute, relative: float output → largest difference seen; relative ones where the expected value is not tiny.
        class_agreement: fraction of examples with the expected class, None where there are no classes.
        problems: one sentence per output that differs too much, naming example and both values.
    """

    signature: str
    examples: int
    absolute: dict[str, float] = field(default_factory=dict)
    relative: dict[str, float] = field(default_factory=dict)
    class_agreement: float | None = None
    problems: tuple[str, ...] = ()


def collect(signature: Signature, raw: Arrays) -> Golden:
    """Golden examples of a signature: as many of the raw ones as can be stored, with Keras' answers.

    Raises:
        ValueError: Keras itself answers with NaN or infinity.
    """
    inputs = signature.inputs_of(raw)
    count = min(golden.affordable(inputs, STORED_BYTES), len(next(iter(inputs.values()))))
    examples = Golden(golden.rows(inputs, count), _keras_answers(signature, golden.rows(raw, count), batch_size=64))
    for name, array in examples.outputs.items():
        if array.dtype != object and not np.isfinite(array).all():
            raise ValueError(f"Keras answers with NaN or infinity: output {name!r} of signature {signature.name!r}.")
    return examples


def tolerances(signature: Signature, examples: Golden, raw: Arrays, model: keras.Model) -> dict[str, Tolerance]:
    """Float output → tolerance, by the rule above.

    Raises:
        ValueError: Keras gives other answers to the same examples one by one, by more than rounding.
    """
    count = min(NOISE_EXAMPLES, len(examples))
    alone = _keras_answers(signature, golden.rows(raw, count), batch_size=1)
    eps = _rounding_unit(model)
    allowed = {}
    for name, expected in examples.outputs.items():
        if expected.dtype.kind != "f":
            continue
        scale = float(np.abs(expected).max()) or 1.0
        noise = float(np.abs(alone[name] - expected[:count]).max()) / scale
        if noise > max(NOISE_LIMIT, 16 * eps):
            raise ValueError(
                f"Keras answers one example at a time otherwise than in a batch: output {name!r} of signature "
                f"{signature.name!r} differs by {noise:.1e} of its scale. Such a model cannot be proved."
            )
        absolute = scale * max(ABSOLUTE_FLOOR, 4 * eps, 16 * noise)
        allowed[name] = Tolerance(absolute, max(RELATIVE_FLOOR, 8 * eps))
    return allowed


def compare_replay(
    signature: str, examples: Golden, replies: Mapping[str, Arrays], allowed: Mapping[str, Tolerance]
) -> Comparison:
    """Compare what a fresh process answered: to all examples, again, to one alone, and to none."""
    for what, key in ((f"Signature {signature!r}", signature), ("A warm-up record", replay.WARMUP)):
        if failed := replies.get(f"{key}|{replay.ERROR}"):
            text = failed[replay.ERROR][0].decode(errors="replace")
            return Comparison(signature, 0, problems=(f"{what} failed: {text}",))

    def asked(question):
        return replies[f"{signature}|{question}"]

    found = compare(signature, examples, asked(replay.ALL), allowed)
    first = Golden(golden.rows(examples.inputs, 1), golden.rows(examples.outputs, 1))
    more = [
        *(f"Asked twice: {problem}" for problem in compare(signature, examples, asked(replay.AGAIN), allowed).problems),
        *(f"Asked alone: {problem}" for problem in compare(signature, first, asked(replay.ALONE), allowed).problems),
        *_rows_of_nothing(signature, replies.get(f"{signature}|{replay.NONE}", {})),
    ]
    return found if found.problems else Comparison(**{**vars(found), "problems": tuple(more)})


def compare(signature: str, examples: Golden, answers: Arrays, allowed: Mapping[str, Tolerance]) -> Comparison:
    """Compare answers, `(examples, ...)` by output name, with the expected ones."""
    absolute, relative, problems = {}, {}, []
    tied = _tied(examples, allowed)
    for name, expected in examples.outputs.items():
        where = f"Signature {signature!r}, output {name!r}"
        if name not in answers:
            problems.append(f"{where} is missing. Received: {', '.join(sorted(answers)) or 'no output'}.")
            continue
        answer = np.asarray(answers[name])
        if answer.shape != expected.shape:
            problems.append(f"{where} has shape {answer.shape}. Expected: {expected.shape}.")
        elif name in allowed:
            difference = np.abs(answer.astype(np.float64) - expected)
            absolute[name], relative[name] = _largest(difference, expected)
            within = difference <= allowed[name].absolute + allowed[name].relative * np.abs(expected)
            problems += _worst(where, ~within, answer, expected)
        else:
            wrong = answer != expected
            problems += _worst(where, wrong & ~tied if wrong.ndim == 1 and name in CLASSES else wrong, answer, expected)
    return Comparison(
        signature, len(examples), absolute, relative, _agreement(examples.outputs, answers), tuple(problems)
    )


def record(examples: Golden, allowed: Mapping[str, Tolerance], found: Comparison) -> dict[str, Any]:
    """What `proof.json` says of a signature."""

    def of_output(name, array):
        if name not in allowed:
            return _described(array)
        largest = {"absolute": found.absolute[name], "relative": found.relative[name]}
        return {**_described(array), "tolerance": asdict(allowed[name]), "largest_difference": largest}

    return {
        "examples": len(examples),
        "inputs": {name: _described(array) for name, array in examples.inputs.items()},
        "outputs": {name: of_output(name, array) for name, array in examples.outputs.items()},
        "class_agreement": found.class_agreement,
        "asked": ["all in one batch", "the same again", "the first alone", "no rows, where TensorFlow can"],
    }


def recorded_tolerances(record: Mapping[str, Any]) -> dict[str, Tolerance]:
    """The tolerances that `record` wrote."""
    return {name: Tolerance(**o["tolerance"]) for name, o in record["outputs"].items() if "tolerance" in o}


def _keras_answers(signature: Signature, raw: Arrays, batch_size: int) -> Arrays:
    # On a GPU a float32 product is by default rounded to 10 bits, which no CPU server repeats.
    tensor_float_32 = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        return signature.keras(raw, batch_size)
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)


def _rounding_unit(model: keras.Model) -> float:
    dtypes = {layer.compute_dtype for layer in layers_of(model)}
    return max([ROUNDING_UNITS["float32"], *(ROUNDING_UNITS.get(dtype, 0) for dtype in dtypes)])


def _tied(examples: Golden, allowed: Mapping[str, Tolerance]) -> np.ndarray:
    """Examples whose two most probable classes the tolerance could swap, bool `(examples,)`."""
    for name in PROBABILITIES:
        if name in allowed:
            second, first = np.sort(examples.outputs[name], axis=-1)[:, -2:].T
            return first - second <= 2 * (allowed[name].absolute + allowed[name].relative * first)
    return np.zeros(len(examples), bool)


def _agreement(expected: Arrays, answers: Arrays) -> float | None:
    for name, array in expected.items():
        if name == "class_ids" and np.shape(answers.get(name)) == array.shape:
            return float(np.mean(answers[name] == array))
        if name == "scores" and name in answers:
            return float(np.mean(np.argmax(answers[name], axis=-1) == np.argmax(array, axis=-1)))
    return None


def _largest(difference: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    size = np.abs(expected)
    substantial = size > 1e-6 * size.max(initial=0)
    return float(difference.max(initial=0)), float((difference[substantial] / size[substantial]).max(initial=0))


def _worst(where: str, wrong: np.ndarray, answer: np.ndarray, expected: np.ndarray) -> list[str]:
    if not wrong.any():
        return []
    wrong = wrong.reshape(len(wrong), -1).any(axis=-1)
    example = int(np.argmax(wrong))
    return [
        f"{where}, example {example}: received {_shown(answer[example])}, expected {_shown(expected[example])} "
        f"({int(wrong.sum())} of {len(wrong)} examples differ)."
    ]


def _rows_of_nothing(signature: str, outputs: Arrays) -> Iterable[str]:
    for name, array in outputs.items():
        if len(array):
            yield f"Signature {signature!r}, output {name!r} has {len(array)} rows where nothing was asked."


def _shown(value: np.ndarray | bytes) -> str:
    if isinstance(value, bytes):
        return repr(value.decode(errors="replace"))
    return np.array2string(np.asarray(value), precision=7, threshold=8, edgeitems=3).replace("\n", "")


def _described(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": "string" if array.dtype == object else array.dtype.name, "shape": list(array.shape)}
