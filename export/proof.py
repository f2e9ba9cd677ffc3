"""The proof: a version gives the answers that Keras gave, on real raw inputs.

Tolerance. Two correct programs differ in the order of their additions. How much that shows depends on the model, so it
is measured on Keras alone: the answers to a batch against the answers to the same examples one at a time. For every
float output, with `scale` the largest expected value and `eps` the rounding unit of the coarsest dtype the model
computes in,

    |answer - expected| <= scale * max(1e-5, 4 eps, 16 noise) + |expected| * max(1e-3, 8 eps)

The floors cover what one machine cannot see: a server built for other processors (ResNet50 in TensorFlow Serving
differed from Keras by 4.5e-4 of the value). A heat map, which is scaled to 0..1 whatever it was made of, may differ by
what no eye can see. Integers and strings must be equal; only where two classes are so close
that the tolerance could swap them may the class differ, and with it the map of that class.

Pictures are compared by their pixels, by the same rule and one level of 255. Of a class for every pixel,
max(0.001, 16 noise) of a picture's pixels may have another one, where `noise` is the share that differs in Keras alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from export import comparison, detections, edges, golden, pictures
from export.comparison import Comparison, Tolerance
from export.golden import Golden
from export.signatures import Signature
from recipes.arrays import Arrays
from recipes.bundle import Bundle, leaves

RULE = (
    "|answer - expected| <= absolute + relative * |expected|, but for a share of an example's entries where one is "
    "given; other integers and strings are equal, or tied"
)

ASKED = (f"in batches of {golden.AT_ONCE}", "the same again", "one by one", "no rows, where TensorFlow can")
STORED_BYTES = 8 << 20  # per signature
NOISE_EXAMPLES = 8
ABSOLUTE_FLOOR = 1e-5
RELATIVE_FLOOR = 1e-3
SHARE_FLOOR = 1e-3  # of the pixels of a picture whose class may be another
LEVEL = 1.0  # of 0..255, in pictures
NOISE_LIMIT = 1e-2
ROUNDING_UNITS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


class ProofFailed(ValueError):
    """A version does not give Keras' answers; nothing was published."""


@dataclass(frozen=True)
class Claim:
    """What a version is held to.

    Attributes:
        examples: signature → golden examples.
        allowed: signature → float output → tolerance.
        real: the signature of raw input, and all raw examples that there are.
        edge_cases: what the last examples of every signature are.
        refused: what is to be refused.
    """

    examples: Mapping[str, Golden]
    allowed: Mapping[str, Mapping[str, Tolerance]]
    real: tuple[Signature, Arrays]
    edge_cases: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def in_precision(self, dtype: str) -> "Claim":
        """The same of a version that computes in that dtype, by the rule above."""
        eps = ROUNDING_UNITS[dtype]

        def wider(allowed, expected):
            if allowed.share:
                return replace(allowed, share=max(allowed.share, eps))
            absolute = max(allowed.absolute, 4 * eps * comparison.scale_of(expected))
            return Tolerance(absolute, max(allowed.relative, 8 * eps))

        return replace(
            self,
            allowed={
                name: {output: wider(one, self.examples[name].outputs[output]) for output, one in of_signature.items()}
                for name, of_signature in self.allowed.items()
            },
        )

    def of(self, name: str) -> "Claim":
        """The same of one signature."""
        return replace(self, examples={name: self.examples[name]}, allowed={name: self.allowed[name]})

    def proved(self, path: Path, replies: Mapping[str, Arrays], called: str = "the version") -> "Proved":
        """Compare what `export.replay` brought of a SavedModel, or of a companion.

        Raises:
            ProofFailed: something differs by more than it may.
        """
        found = {
            name: comparison.compare_replay(name, of_signature, replies, self.allowed[name])
            for name, of_signature in self.examples.items()
        }
        problems = [problem for of_signature in found.values() for problem in of_signature.problems]
        if problems:
            raise ProofFailed(f"{called} does not answer as Keras does.\n" + "\n".join(problems))
        return Proved(path, self, found)

    def kept(self) -> dict[str, Golden]:
        """Signature → the golden examples that stay in the version: what is large is proved and let go."""
        return {name: one.within(STORED_BYTES, len(self.edge_cases)) for name, one in self.examples.items()}


@dataclass(frozen=True)
class Proved:
    """What was held to a claim, and held.

    Attributes:
        path: folder of a SavedModel, or file of a companion.
        claim: the claim.
        found: signature → what was found.
    """

    path: Path
    claim: Claim
    found: Mapping[str, Comparison]

    def record(self, stored: Mapping[str, Golden]) -> dict[str, Any]:
        """What `proof.json` says of it, and of the golden examples that are kept in the version."""
        claim = self.claim
        signatures = {
            name: {**_record(of, claim.allowed[name], self.found[name]), "stored": len(stored[name])}
            for name, of in claim.examples.items()
        }
        return {
            "rule": RULE,
            "edge_cases": list(claim.edge_cases),
            "refused": list(claim.refused),
            "signatures": signatures,
        }


def claim(
    bundle: Bundle, signatures: Sequence[Signature], raw: Arrays, count: int, trained: Arrays | None = None
) -> Claim:
    """What the version of a bundle is held to: Keras' answers to `count` raw examples at most, and to edge cases.

    Args:
        bundle, signatures: of the version.
        raw: examples.
        count: most of them.
        trained: answers to them of the backend that the model was trained on, where that is another one: by these the
            signature of raw input is judged.

    Raises:
        ValueError: Keras' own answers prove nothing; see `collect` and `tolerances`.
    """
    odd, refused = edges.edge_cases(bundle, raw), edges.refused_cases(bundle, raw)
    examples, allowed = {}, {}
    for signature in signatures:
        most = count if signature.most is None else min(count, signature.most - len(odd))
        rows = edges.together([{name: array[:most] for name, array in raw.items()}, *odd.values()])
        is_raw = signature.name == bundle.preprocessing.signature
        examples[signature.name] = collect(signature, rows, edges.together(refused.values()) if is_raw else {})
        allowed[signature.name] = tolerances(signature, examples[signature.name], rows, bundle.model)
        if is_raw and trained is not None:
            examples[signature.name] = examples[signature.name].answered(trained, most)
    real = next(signature for signature in signatures if signature.name == bundle.preprocessing.signature), raw
    return Claim(examples, allowed, real, tuple(odd), tuple(refused))


def collect(signature: Signature, raw: Arrays, refused: Arrays = MappingProxyType({})) -> Golden:
    """Golden examples of a signature: raw ones, with Keras' answers, and those that are to be refused.

    Raises:
        ValueError: Keras itself answers with NaN or infinity, or not row by row, or refuses an example.
    """
    try:
        answers = _keras_answers(signature, raw)  # before there are inputs to be held in memory beside it
        examples = Golden(signature.inputs_of(raw), answers, dict(refused))
    except tf.errors.InvalidArgumentError as error:
        said = [line for line in error.message.splitlines() if line and not line.startswith("\t")][-1]
        raise ValueError(f"Keras refuses an example of signature {signature.name!r}: {said}") from error
    for name, array in examples.outputs.items():
        where = f"output {name!r} of signature {signature.name!r}"
        if array.dtype != object and not np.isfinite(array).all():
            raise ValueError(f"Keras answers with NaN or infinity: {where}.")
        if len(array) != len(examples):
            raise ValueError(
                f"Keras answers {len(examples)} examples with {len(array)} rows: {where}. Accepted: one for each."
            )
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
    if detections.BOXES in alone:
        exact = {name: Tolerance(ABSOLUTE_FLOOR, RELATIVE_FLOOR) for name in alone}
        alone = detections.in_order(alone, golden.rows(examples.outputs, count), exact)
    for name, expected in examples.outputs.items():
        answer, same = comparison.as_wide(alone[name], expected[:count])
        if name in signature.pixels:
            share = max((_share_of_others(*pair) for pair in zip(answer, same, strict=True)), default=0.0)
            _check_noise(name, signature, share, NOISE_LIMIT)
            allowed[name] = Tolerance(0.0, 0.0, max(SHARE_FLOOR, 16 * share))
            continue
        is_picture = pictures.are_pictures(expected)
        if expected.dtype.kind != "f" and not is_picture:
            continue
        scale = comparison.scale_of(expected) or 1.0
        if is_picture:
            difference = np.abs(pictures.pixels(answer) - pictures.pixels(same))
            difference = np.where(difference <= LEVEL, 0, difference)  # a level is what rounding to 8 bits makes of any
        else:
            difference = np.abs(np.subtract(answer, same))
        if name in comparison.OF_THE_CLASS:
            difference = difference[alone["class_ids"] == examples.outputs["class_ids"][:count]]
        noise = float(difference.max(initial=0)) / scale
        harmless = LEVEL if is_picture else signature.harmless.get(name, 0)
        _check_noise(name, signature, noise, max(NOISE_LIMIT, 16 * eps, harmless / scale))
        absolute = max(scale * max(ABSOLUTE_FLOOR, 4 * eps, 16 * noise), harmless)
        allowed[name] = Tolerance(absolute, max(RELATIVE_FLOOR, 8 * eps))
    return allowed


def _check_noise(name: str, signature: Signature, noise: float, limit: float) -> None:
    if noise > limit:
        raise ValueError(
            f"Keras answers one example at a time otherwise than in a batch: output {name!r} of signature "
            f"{signature.name!r} differs by {noise:.1e} of its scale. Such a model cannot be proved."
        )


def _share_of_others(answer, expected) -> float:
    """Share of the entries that differ; of PNGs, of their pixels."""
    if isinstance(expected, bytes):
        if pictures.sizes(answer) != pictures.sizes(expected):
            return 1.0
        answer, expected = pictures.pixels(answer), pictures.pixels(expected)
    return float(np.mean(answer != expected)) if np.size(expected) else 0.0


def _record(examples: Golden, allowed: Mapping[str, Tolerance], found: Comparison) -> dict[str, Any]:
    def of_output(name, array):
        if name not in allowed:
            return _described(array)
        largest = {"absolute": found.absolute.get(name, 0.0), "relative": found.relative.get(name, 0.0)}
        return {**_described(array), "tolerance": asdict(allowed[name]), "largest_difference": largest}

    return {
        "examples": len(examples),
        "inputs": {name: _described(array) for name, array in examples.inputs.items()},
        "outputs": {name: of_output(name, array) for name, array in examples.outputs.items()},
        "class_agreement": found.class_agreement,
        "asked": [*ASKED],
    }


def _keras_answers(signature: Signature, raw: Arrays, batch_size: int | None = None) -> Arrays:
    # On a GPU a float32 product is by default rounded to 10 bits, which no CPU server repeats.
    tensor_float_32 = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        return signature.keras(raw, batch_size)
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)


def _rounding_unit(model: keras.Model) -> float:
    dtypes = {layer.compute_dtype for layer in leaves(model.layers)}
    return max([ROUNDING_UNITS["float32"], *(ROUNDING_UNITS.get(dtype, 0) for dtype in dtypes)])


def _described(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": "string" if array.dtype == object else array.dtype.name, "shape": list(array.shape)}
