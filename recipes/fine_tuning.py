"""Fine-tuning: which layers stay as they are, until when, and how fast each stage learns.

Batch normalisation of frozen layers keeps its statistics, in both phases: with the small batches and data sets of
fine-tuning, new statistics would undo what was learned before (Keras guide "Transfer learning & fine-tuning").
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import keras

import zoo
from recipes.bundle import leaves
from recipes.config import Config
from zoo.nearest import unknown

BACKBONE = "backbone"


@dataclass(frozen=True)
class Phase:
    """Epochs that are trained alike.

    Attributes:
        first, last: number of the first epoch, from 0, and of the one after the last.
        frozen: layers that stay as they are.
        rate_factor: of the learning rate.
    """

    first: int
    last: int
    frozen: tuple[keras.Layer, ...] = ()
    rate_factor: float = 1.0


def phases(model: keras.Model, config: Config) -> list[Phase]:
    """The whole training as one phase; or with frozen layers first, then with all, at a lower rate.

    Raises:
        ValueError: what is to be frozen is neither the backbone nor a layer, or nothing would be left to train.
    """
    if config.freeze is None:
        return [Phase(0, config.epochs)]
    frozen = frozen_layers(model, config.freeze)
    if config.unfreeze_at is None:
        return [Phase(0, config.epochs, frozen)]
    normalising = tuple(layer for layer in frozen if isinstance(layer, keras.layers.BatchNormalization))
    return [
        Phase(0, config.unfreeze_at, frozen),
        Phase(config.unfreeze_at, config.epochs, normalising, config.unfreeze_rate),
    ]


def frozen_layers(model: keras.Model, freeze: str) -> tuple[keras.Layer, ...]:
    """The layers with weights up to and including a stage (or other layer), or of the whole backbone.

    A model without stages has as its backbone all but the last layer that has weights. Models inside of the model count
    as the layers they are made of.
    """
    while len(inner := [layer for layer in model.layers if layer.weights]) == 1 and isinstance(inner[0], keras.Model):
        model = inner[0]  # all there is lies in one model within, behind an input of another name
    stages = zoo.stages(model)
    if freeze == BACKBONE:
        found = zoo.features(model, list(stages)[-1]).layers if stages else inner[:-1]
    elif freeze in {layer.name for layer in model.layers}:
        found = zoo.features(model, freeze).layers
    else:
        raise unknown("layer to freeze up to", freeze, [BACKBONE, *stages])
    frozen = tuple(layer for layer in leaves(found) if layer.weights)
    if len(frozen) in (0, len([layer for layer in leaves(model.layers) if layer.weights])):
        which = "no layer" if not frozen else "every layer"
        raise ValueError(f"freeze={freeze!r} freezes {which} of {model.name!r} that has weights.")
    return frozen


@contextlib.contextmanager
def keeping(frozen: tuple[keras.Layer, ...]) -> Iterator[None]:
    """Within it, these layers do not learn; afterwards all is as it was."""
    before = [layer.trainable for layer in frozen]
    for layer in frozen:
        layer.trainable = False
    try:
        yield
    finally:
        for layer, trainable in zip(frozen, before, strict=True):
            layer.trainable = trainable


def rate_factors(model: keras.Model, decay: float) -> dict[str, float]:
    """Path of a weight → factor of its learning rate: 1 in the head, `decay` in the last stage, its square before it.

    Discriminative rates, after Howard & Ruder, "Universal Language Model Fine-tuning for Text Classification" (2018),
    §3.2, who divide by 2.6 per layer. Decoupled weight decay keeps the whole rate.

    Raises:
        ValueError: the model has no stages.
    """
    if decay == 1:
        return {}
    stages = zoo.stages(model)
    if not stages:
        raise ValueError(f"rate_decay goes from stage to stage, and {model.name!r} has none. Received: {decay}.")
    factors: dict[str, float] = {}
    for i, stage in enumerate(stages):
        for weight in zoo.features(model, stage).weights:
            factors.setdefault(weight.path, decay ** (len(stages) - i))
    return factors
