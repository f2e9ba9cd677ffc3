"""Networks that look for a bright spot, with weights set by hand: what decides the class, and where, is known."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers

from recipes.answers import ClassAnswer, head_of
from recipes.bundle import Bundle
from recipes.examples import Examples, to_png
from recipes.preprocessing import ImagePreprocessing
from recipes.run import Run

SIDE = 12
LABELS = ("plain", "spot")
SPOT = (slice(7, 10), slice(1, 4))


def picture(spot=SPOT, side=SIDE):
    """Pixels `(side, side, 1)`, dark grey with a bright spot, or with none."""
    pixels = np.full((side, side, 1), 40, np.uint8)
    if spot is not None:
        pixels[spot] = 250
    return pixels


def model(head="logits", hidden=None, confidence=1.0):
    """A convolution that answers to bright pixels, and a head.

    Args:
        head: "logits", "softmax" or "sigmoid", which has one output; "softmax layer" has it as a layer of its own.
        hidden: `None` for global average pooling, "flatten" for a Dense layer on all places.
        confidence: factor of the logits.
    """
    image = keras.Input((SIDE, SIDE, 1), name="image")
    x = layers.Conv2D(2, 3, padding="same", activation="relu", name="stage1")(image)
    if hidden is None:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dropout(0.5, name="dropout")(x)
    else:
        x = layers.Flatten(name="flatten")(x)
    activation = head if head in ("softmax", "sigmoid") else None
    x = layers.Dense(1 if head == "sigmoid" else 2, activation, name="logits")(x)
    if head == "softmax layer":
        x = layers.Softmax(name="probabilities")(x)
    network = keras.Model(image, x, name="bright_spot")
    bright, dark = np.full((3, 3, 1), 1 / 9), np.full((3, 3, 1), -1 / 9)
    network.get_layer("stage1").set_weights([np.stack([bright, dark], -1), np.array([-0.3, 0.3])])
    kernel, bias = network.get_layer("logits").get_weights()
    places = kernel.shape[0] // 2  # the pooled maps have one, with the mean of all
    spot = np.tile([1.0, -0.05], places) * SIDE * SIDE / places
    kernel[:], bias[:] = -spot[:, None], 1
    kernel[:, -1], bias[-1] = spot, -1
    network.get_layer("logits").set_weights([kernel * confidence, bias * confidence])
    return network


def bundle(network=None):
    network = network or model()
    preprocessing = ImagePreprocessing(*network.inputs[0].shape[1:])
    return Bundle(network, "image-classification", preprocessing, ClassAnswer(head_of(network), LABELS))


def run(network=None, count=8):
    """A Run of pictures with a spot at other places, and of some without."""
    spots = [None, *((slice(i, i + 3), slice(9 - i, 12 - i)) for i in range(1, count))]
    raw = {"image_bytes": np.array([*(to_png(picture(spot)) for spot in spots), None], object)[:-1]}
    truth = np.array([LABELS[spot is not None] for spot in spots], object)
    examples = Examples(raw, truth, "label")
    of_network = bundle(network)
    of_network.card.update(architecture="bright_spot")
    return Run(Path("runs") / "bright_spot", of_network, pd.DataFrame({"epoch": []}), {"accuracy": 1.0}, {}, examples)
