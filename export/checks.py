"""What a Run must be before anything of it is published."""

import math
from collections.abc import Sequence

import keras
import numpy as np

from recipes.answers import NextTokenAnswer
from recipes.bundle import Bundle, check_inputs_and_output, input_is_named
from recipes.preprocessing import TextPreprocessing
from recipes.run import Run

UNLIKELY, ENOUGH = 1e-6, 16
"""A chance that is none; examples of which somebody who knows nothing would name one."""


def check(run: Run) -> None:
    """Raise ValueError unless the Run can be published; the message says what stands against it."""
    _check_tensors(run.bundle.model)
    _check_labels(run.bundle)
    _check_vocabulary(run.bundle)
    _check_weights(run.bundle.model)
    if not len(run.examples):
        raise ValueError(f"Run {run.dir.name!r} has no examples. A version is proved on at least one real input.")


def check_answers(run: Run, classes: Sequence[bytes]) -> None:
    """Raise ValueError if a classifier is not the one that the Run's figure was measured on.

    That is, if it is right about none of its examples, or about so few that this would happen to the same classifier
    once in a million times: labels in another order, another preprocessing, other weights.

    Args:
        run: the Run.
        classes: Keras' answers to the first of its examples.
    """
    labels, expected = run.bundle.labels, run.metrics.get("accuracy", 0.0)
    pairs = [(said.decode(), true) for said, true in zip(classes, run.examples.truth, strict=False) if true in labels]
    right, count = sum(said == true for said, true in pairs), len(pairs)
    # A figure of 1 says no more than that none was wrong so far.
    is_likely = _chance_of_at_most(right, count, min(expected, 1 - 1 / max(count, 2))) >= UNLIKELY
    if is_likely and (right or count < ENOUGH):
        return
    said, true = next((said, true) for said, true in pairs if said != true)
    raise ValueError(
        f"Nothing was published: model {run.bundle.model.name!r} is right about {right} of its {count} examples, "
        f"where the Run's accuracy is {expected:.4g}. One of {true!r} is taken for {said!r}: labels, preprocessing or "
        "weights are not those that were judged. Accepted: allow_worse=True (--allow-worse)."
    )


def _chance_of_at_most(right: int, count: int, probability: float) -> float:
    return sum(math.comb(count, i) * probability**i * (1 - probability) ** (count - i) for i in range(right + 1))


def _check_tensors(model: keras.Model) -> None:
    check_inputs_and_output(model)
    if not input_is_named(model):
        raise ValueError(
            f"The input of model {model.name!r} has no name of its own. Received: {model.inputs[0].name!r}, which "
            "Keras made up. Clients send inputs by name: build it with keras.Input(..., name='image')."
        )


def _check_labels(bundle: Bundle) -> None:
    if bundle.answer.kind != "class":
        return
    width = bundle.model.outputs[0].shape[-1]
    classes = max(2, width)  # one output decides between two classes
    if len(bundle.labels) != classes:
        raise ValueError(
            f"The labels do not match the head of model {bundle.model.name!r}. "
            f"Received: {len(bundle.labels)} labels for {width} outputs. Accepted: {classes} labels."
        )


def _check_vocabulary(bundle: Bundle) -> None:
    """Every id of a text has a place in what embeds it, and every id that is answered a name."""
    if bundle.preprocessing.kind != TextPreprocessing.kind:
        return
    size = len(bundle.preprocessing.tokenizer.vocabulary)
    for layer in _embeddings_of_inputs(bundle.model):
        if size > layer.input_dim:
            raise ValueError(
                f"The vocabulary does not match layer {layer.name!r} of model {bundle.model.name!r}. "
                f"Received: {size:,} tokens. Accepted: at most {layer.input_dim:,}."
            )
    if isinstance(bundle.answer, NextTokenAnswer) and size != bundle.model.outputs[0].shape[-1]:
        raise ValueError(
            f"The vocabulary does not match the logits of model {bundle.model.name!r}. "
            f"Received: {size:,} tokens. Accepted: {bundle.model.outputs[0].shape[-1]:,}."
        )


def _embeddings_of_inputs(model: keras.Model) -> list[keras.layers.Embedding]:
    """The layers that look up the ids which the model is given."""
    inputs = {id(each) for each in model.inputs}
    return [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Embedding)
        and any(id(tensor) in inputs for node in layer._inbound_nodes for tensor in node.input_tensors)
    ]


def _check_weights(model: keras.Model) -> None:
    for variable in model.variables:
        values = np.asarray(variable)
        if np.issubdtype(values.dtype, np.number) or values.dtype.name == "bfloat16":
            wrong = values.size - np.count_nonzero(np.isfinite(values))
            if wrong:
                raise ValueError(
                    f"Weight {variable.path!r} of model {model.name!r} holds NaN or infinity in {wrong} of "
                    f"{values.size} places. Nothing was published."
                )
