"""Writes the models of the contract suite: ``write_models.py FOLDER``. Each is small enough to work out by hand."""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
sys.modules |= {"keras": None, "jax": None}  # TensorFlow imports them where it finds them

import tensorflow as tf  # noqa: E402

ANY = None
IDENTITY_TYPES = (
    "float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool",
    "string", "complex64",
)  # fmt: skip


def signature(**inputs: tuple[list | None, tf.DType]):
    """A ``tf.function`` with one named argument for each input."""
    return tf.function(input_signature=[tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in inputs.items()])


class Affine(tf.Module):
    """y = x @ w + b, the weights multiplied by the version."""

    def __init__(self, version: int):
        super().__init__()
        self.w = tf.Variable(tf.constant([[1.0, 0.5], [2.0, -1.0], [3.0, 0.25]]) * version)
        self.b = tf.Variable([0.1, -0.2])

        @signature(x=([ANY, 3], tf.float32))
        def affine(x):
            return {"y": tf.matmul(x, self.w) + self.b}

        self.endpoints = {"serving_default": affine}


class Lookup(tf.Module):
    """The sum of a table's rows: an op that complains about its input."""

    def __init__(self):
        super().__init__()

        @signature(ids=([ANY, ANY], tf.int64))
        def lookup(ids):
            return {"total": tf.reduce_sum(tf.gather(tf.constant([1.0, 2.0, 4.0]), ids), 1)}

        self.endpoints = {"serving_default": lookup}


class Strings(tf.Module):
    """Texts and bytes, in and out; pictures."""

    def __init__(self):
        super().__init__()

        @signature(text=([ANY], tf.string))
        def upper(text):
            return {
                "upper": tf.strings.upper(text),
                "length": tf.strings.length(text),
                "raw_bytes": tf.strings.join([text, b"\xff"]),
            }

        @signature(text=([ANY], tf.string))
        def lower(text):
            return {"lower": tf.strings.lower(text)}

        @signature(image_bytes=([ANY], tf.string))
        def height(image_bytes):
            return {"height": tf.map_fn(lambda png: tf.shape(tf.io.decode_png(png))[0], image_bytes, tf.int32)}

        self.endpoints = {"serving_default": upper, "lower": lower, "height": height}


class Pair(tf.Module):
    """Two inputs, two outputs."""

    def __init__(self):
        super().__init__()

        @signature(a=([ANY, 2], tf.float32), b=([ANY, 1], tf.int32))
        def pair(a, b):
            return {"prod": a * tf.cast(b, tf.float32), "sum": tf.reduce_sum(a, -1, keepdims=True)}

        self.endpoints = {"serving_default": pair}


class Identity(tf.Module):
    """Every dtype, out as it came in."""

    def __init__(self):
        super().__init__()
        self.endpoints = {name: self.of(tf.dtypes.as_dtype(name)) for name in IDENTITY_TYPES}

    @staticmethod
    def of(dtype: tf.DType):
        @signature(x=(ANY, dtype))
        def identity(x):
            return {"y": tf.identity(x)}

        return identity


class Shapes(tf.Module):
    """Outputs whose first dimension is not the batch's, no inputs, an assertion."""

    def __init__(self):
        super().__init__()

        @signature(x=([ANY, 2], tf.float32))
        def total(x):
            return {"y": tf.reduce_sum(x)}

        @signature(x=([ANY, 2], tf.float32))
        def uneven(x):
            return {"cols": tf.reduce_sum(x, 0), "rows": tf.reduce_sum(x, 1)}

        @signature(x=([2, 2], tf.float32))
        def fixed(x):
            return {"y": x + 1}

        @signature(x=([ANY], tf.float32))
        def special(x):
            return {"y": x / 0.0}

        @signature()
        def constant():
            return {"y": tf.constant([1, 2, 3])}

        self.endpoints = {
            "serving_default": total, "uneven": uneven, "fixed": fixed, "special": special, "constant": constant,
        }  # fmt: skip


class Examples(tf.Module):
    """Classification and regression on ``tf.Example``."""

    def __init__(self):
        super().__init__()
        features = {"x": tf.io.FixedLenFeature([2], tf.float32)}

        @signature(inputs=([ANY], tf.string))
        def classify(inputs):
            x = tf.io.parse_example(inputs, features)["x"]
            return {"classes": tf.tile(tf.constant([["first", "second"]]), [tf.shape(x)[0], 1]), "scores": x}

        @signature(inputs=([ANY], tf.string))
        def regress(inputs):
            return {"outputs": tf.reduce_sum(tf.io.parse_example(inputs, features)["x"], 1, keepdims=True)}

        @signature(inputs=([ANY], tf.string))
        def scores_only(inputs):
            return {"scores": tf.io.parse_example(inputs, features)["x"]}

        self.endpoints = {"serving_default": classify, "regress": regress, "scores_only": scores_only}


def write(folder: Path) -> None:
    """All of them, one base path each."""
    modules = {
        "affine/1": Affine(1),
        "affine/2": Affine(2),
        "lookup/1": Lookup(),
        "strings/1": Strings(),
        "pair/1": Pair(),
        "identity/1": Identity(),
        "shapes/1": Shapes(),
        "examples/1": Examples(),
    }
    for path, module in modules.items():
        tf.saved_model.save(module, str(folder / path), signatures=dict(module.endpoints))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
