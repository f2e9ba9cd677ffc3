"""Fine-tuning: which layers stay as they are, until when, and how fast each stage learns.

Batch normalisation of frozen layers keeps its statistics, in both phases: with the small batches and data sets of
fine-tuning, new statistics would undo what was learned before (Keras guide "Transfer learning & fine-tuning").
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import keras

import zoo
from recipes.config import Config
from zoo.nearest import unknown

BACKBONE = "backbone"


@dataclass(frozen=True)
class Phase:
    """Epochs that are trained alike.

    Attributes:
        first, last: number of the first epoch, from 0, and of the one after the last.
        frozen: names of layers that stay as they are.
        rate_factor: of the learning rate.
    """

    first: int
    last: int
    frozen: frozenset[str] = frozenset()
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
    normalising = {layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)}
    return [
        Phase(0, config.unfreeze_at, frozen),
        Phase(config.unfreeze_at, config.epochs, frozen & normalising, config.unfreeze_rate),
    ]


def frozen_layers(model: keras.Model, freeze: str) -> frozenset[str]:
    """Names of the layers with weights up to and including a stage (or other layer), or of the whole backbone.

    A model without stages has as its backbone all but the last layer that has weights.
    """
    names, stages = [layer.name for layer in model.layers if layer.weights], zoo.stages(model)
    if freeze == BACKBONE:
        found = zoo.features(model, list(stages)[-1]) if stages else None
    elif freeze in {layer.name for layer in model.layers}:
        found = zoo.features(model, freeze)
    else:
        raise unknown("layer to freeze up to", freeze, [BACKBONE, *stages])
    frozen = frozenset(names[:-1] if not found else {layer.name for layer in found.layers} & set(names))
    if frozen == set(names):
        raise ValueError(f"freeze={freeze!r} freezes every layer of {model.name!r} that has weights: none would learn.")
    return frozen


@contextlib.contextmanager
def keeping(model: keras.Model, frozen: Collection[str]) -> Iterator[None]:
    """Within it, the layers of these names do not learn; afterwards all is as it was."""
    layers = [layer for layer in model.layers if layer.name in frozen]
    before = [layer.trainable for layer in layers]
    for layer in layers:
        layer.trainable = False
    try:
        yield
    finally:
        for layer, trainable in zip(layers, before, strict=True):
            layer.trainable = trainable


def rate_factors(model: keras.Model, decay: float) -> dict[str, float]:
    """Path of a weight → factor of its learning rate: 1 in the head, `decay` in the last stage, its square before it.

    Discriminative rates, after Howard & Ruder, "Universal Language Model Fine-tuning for Text Classification" (2018),
    §3.2, who divide by 2.6 per layer.

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
