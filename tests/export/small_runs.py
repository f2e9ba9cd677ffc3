"""Small Runs made by hand: real pixels and rows, untrained networks with random weights."""

import io
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from PIL import Image

import zoo
from recipes import tokenizers
from recipes.answers import (
    ClassAnswer,
    DetectionAnswer,
    GeneratedAnswer,
    MaskAnswer,
    NextTokenAnswer,
    PictureAnswer,
    ValueAnswer,
    WrittenAnswer,
    head_of,
)
from recipes.bundle import Bundle
from recipes.examples import Examples
from recipes.preprocessing import ImagePreprocessing, LatentPreprocessing, TablePreprocessing, TextPreprocessing
from recipes.run import Run
from tests import writers

LABELS = ("cat", "dog", "ünïcorn")


def picture(height, width, mode="L", file_format="PNG", seed=0):
    """A picture of noise as a person would send it: encoded bytes."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels).save(buffer, file_format)
    return buffer.getvalue()


def pictures(count):
    kinds = [(12, 12, "L", "PNG"), (30, 21, "RGB", "PNG"), (16, 40, "RGB", "JPEG"), (9, 9, "RGBA", "PNG")]
    return np.array([picture(*kinds[i % len(kinds)], seed=i) for i in range(count)], object)


def scrambled(model, seed=0):
    """Give a model weights that are neither zero nor the initial ones; BatchNorm's variances stay positive."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.dtype.startswith("float") or variable.dtype == "bfloat16":
            values = random.normal(0, 0.5, variable.shape)
            variable.assign(np.abs(values) + 0.1 if "variance" in variable.path else values)
    return model


def image_run(model=None, count=10, labels=LABELS):
    model = scrambled(model or zoo.build("lenet5", input_shape=(12, 12, 1), num_classes=len(LABELS)))
    preprocessing = ImagePreprocessing(*model.inputs[0].shape[1:], mean=(0.4,), std=(0.3,))
    answer = ClassAnswer(head_of(model), tuple(labels))
    return _run(model, "image-classification", preprocessing, answer, {"image_bytes": pictures(count)}, "label")


# Headers as people write them: the second is no legal name of a TensorFlow node.
COLUMNS = ("Age", "mean radius (µm)", "od280/od315")


def table_run(model="logistic_regression", count=10):
    network = scrambled(zoo.build(model, input_shape=(len(COLUMNS),)))
    raw = np.random.default_rng(1).normal(2, 3, (count, len(COLUMNS))).astype(np.float32)
    preprocessing = TablePreprocessing(COLUMNS, mean=(2.0, 1.0, 0.5), std=(3.0, 2.0, 1.0))
    if model == "linear_regression":
        task, answer = "regression", ValueAnswer(mean=120.0, std=30.0)
    else:
        task, answer = "binary-classification", ClassAnswer(head_of(network), ("benign", "malignant"))
    return _run(network, task, preprocessing, answer, dict(zip(COLUMNS, raw.T, strict=True)), "target")


TEXTS = ["The cat sat on the mat.", "", "Ärger! don't", "zzz 中文 \U0001f642", "one two three four five six seven"] * 4


def text_run(kind, size=300, too_long="truncate"):
    """A text classifier whose texts are cut by a tokenizer of that kind."""
    tokenizer = tokenizers.KINDS[kind].fit(TEXTS, size)
    model = scrambled(
        zoo.build("text_cnn", **zoo.spec("text_cnn").tiny | {"input_shape": (None,), "vocabulary_size": size})
    )
    most = 10 if too_long == "refuse" else None
    raw = {"text": np.array([text[:most].encode() for text in [*TEXTS, "last"]], object)}
    answer = ClassAnswer("logits", ("a", "b", "c"))
    return _run(model, "text-classification", TextPreprocessing(tokenizer, 12, too_long), answer, raw, "label")


def writing_run(network):
    """A network of `tests.writers` that writes texts of characters."""
    tokenizer = tokenizers.Characters.fit(TEXTS, 300)
    model = writers.livened(network(len(tokenizer.vocabulary)), seed=3)
    raw = {"text": np.array([text.encode()[:8] for text in TEXTS[:4]], object)}
    if len(model.inputs) == 1:
        task, answer, marks = "language-modeling", NextTokenAnswer(), "empty"
    else:
        task, answer, marks = "sequence-to-sequence", WrittenAnswer(), "both"
    return _run(model, task, TextPreprocessing(tokenizer, writers.MAX_LENGTH, marks=marks), answer, raw, "target")


def of_pictures(name):
    """A network that answers pictures with a mask, with boxes, or with a picture, or makes pictures out of numbers."""
    network = zoo.build(
        name, **{**zoo.spec(name).tiny, **({"input_shape": (None, None, 3)} if name in ANY_SIZE else {})}
    )
    raw = {"image_bytes": pictures(6)}
    size = network.input_shape[1:3]
    match zoo.spec(name).task:
        case "semantic-segmentation":
            preprocessing, answer = ImagePreprocessing(24, 32, 3), MaskAnswer(LABELS)
        case "object-detection":
            preprocessing, answer = ImagePreprocessing(*size, 3), DetectionAnswer(LABELS, score_threshold=0.01)
        case "style-transfer":
            preprocessing, answer = ImagePreprocessing(24, 32, 3, own_size=True), PictureAnswer()
        case "image-generation":
            preprocessing, answer = LatentPreprocessing(network.input_shape[1]), GeneratedAnswer()
            raw = {"seed": np.arange(6), "count": np.arange(6) % 3 + 1}
    return _run(scrambled(network), zoo.spec(name).task, preprocessing, answer, raw, "target")


ANY_SIZE = ("unet", "style_transfer")


def awkward_model():
    """Everything that goes wrong in a careless export: augmentation, Dropout, BatchNorm, mixed precision."""
    policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    image = keras.Input((12, 12, 1), name="image")
    x = keras.layers.RandomFlip(name="flip")(image)
    x = keras.layers.RandomRotation(0.3, name="rotate")(x)
    x = keras.layers.Conv2D(4, 3, dtype=policy, name="conv")(x)
    x = keras.layers.BatchNormalization(dtype=policy, name="norm")(x)
    x = keras.layers.Flatten(dtype=policy, name="flatten")(x)
    x = keras.layers.Dropout(0.5, dtype=policy, name="dropout")(x)
    return keras.Model(image, keras.layers.Dense(3, dtype=policy, name="logits")(x), name="awkward")


def _run(model, task, preprocessing, answer, raw, target):
    bundle = Bundle(model, task, preprocessing, answer, {"architecture": model.name})
    count = len(next(iter(raw.values())))
    examples = Examples(raw, np.arange(count, dtype=np.float32), target)
    history = pd.DataFrame({"loss": [0.5]})
    return Run(Path("runs") / model.name, bundle, history, {"accuracy": 0.5}, {"seed": 7}, examples)
