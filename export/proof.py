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
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from export import comparison, golden
from export.arrays import Arrays
from export.comparison import Comparison, Tolerance
from export.golden import Golden
from export.signatures import Signature
from recipes.bundle import leaves

RULE = "|answer - expected| <= absolute + relative * |expected|; integers and strings are equal, or tied"

STORED_BYTES = 8 << 20  # of inputs, per signature
NOISE_EXAMPLES = 8
ABSOLUTE_FLOOR = 1e-5
RELATIVE_FLOOR = 1e-3
NOISE_LIMIT = 1e-2
ROUNDING_UNITS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


class ProofFailed(ValueError):
    """A version does not give Keras' answers; nothing was published."""


def collect(signature: Signature, raw: Arrays) -> Golden:
    """Golden examples of a signature: as many of the raw ones as can be stored, with Keras' answers.

    Raises:
        ValueError: Keras itself answers with NaN or infinity.
    """
    inputs = signature.inputs_of(raw)
    count = min(golden.affordable(inputs, STORED_BYTES), len(next(iter(inputs.values()))))
    examples = Golden(golden.rows(inputs, count), _keras_answers(signature, golden.rows(raw, count)))
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
        difference = np.abs(np.subtract(*comparison.as_wide(alone[name], expected[:count])))
        if name in comparison.OF_THE_CLASS:
            difference = difference[alone["class_ids"] == examples.outputs["class_ids"][:count]]
        noise = float(difference.max(initial=0)) / scale
        harmless = signature.harmless.get(name, 0)
        if noise > max(NOISE_LIMIT, 16 * eps, harmless / scale):
            raise ValueError(
                f"Keras answers one example at a time otherwise than in a batch: output {name!r} of signature "
                f"{signature.name!r} differs by {noise:.1e} of its scale. Such a model cannot be proved."
            )
        absolute = max(scale * max(ABSOLUTE_FLOOR, 4 * eps, 16 * noise), harmless)
        allowed[name] = Tolerance(absolute, max(RELATIVE_FLOOR, 8 * eps))
    return allowed


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
