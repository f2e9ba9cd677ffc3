"""Writes the small SavedModels that the tests serve: ``python tiny_models.py FOLDER``. The only place with TensorFlow.

``tiny/1`` has a signature for each thing that a client must get right; ``moving/1`` and ``moving/2`` differ in every
name; ``labels.txt`` is where published versions have it.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

sys.modules |= {"keras": None, "jax": None}  # TensorFlow imports them where it finds them

import tensorflow as tf  # noqa: E402

LABELS = "cat", "dog", "fox"


def signature(**inputs):
    return tf.function(input_signature=[tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in inputs.items()])


class Tiny(tf.Module):
    @signature(x=([None, 3], tf.float32))
    def affine(self, x):
        return {"y": tf.nn.bias_add(tf.matmul(x, [[1.0, 0.5], [2.0, -1.0], [3.0, 0.25]]), [0.1, -0.2])}

    @signature(a=([None, 2], tf.float32), b=([None, 1], tf.int32))
    def two(self, a, b):
        b = tf.cast(b, tf.float32)
        return {"sum": tf.reduce_sum(a, -1, keepdims=True) + b, "prod": a * b}

    @signature(text=([None], tf.string))
    def text(self, text):
        return {
            "upper": tf.strings.upper(text),
            "length": tf.strings.length(text),
            "raw_bytes": tf.strings.join([text, b"\xff\x00"]),
            "binary": tf.strings.join([text, b"\xfe"]),
        }

    @signature(
        text=([None], tf.string),
        max_new_tokens=([None], tf.int64),
        temperature=([None], tf.float32),
        seed=([None], tf.int64),
    )
    def generate(self, text, max_new_tokens, temperature, seed):
        told = [text, tf.as_string(max_new_tokens), tf.as_string(temperature, 1), tf.as_string(seed)]
        return {"generated_text": tf.strings.join(told, " "), "generated_tokens": max_new_tokens}

    @signature(text=([None], tf.string), mood=([None], tf.string))
    def translate(self, text, mood):
        return {"generated_text": tf.strings.join([text, mood], " ")}

    @signature(flag=([None], tf.bool), big=([None], tf.int64), pixels=([None, None], tf.uint8))
    def kinds(self, flag, big, pixels):
        return {
            "negated": tf.logical_not(flag),
            "big": big,
            "pixels": pixels,
            "double": tf.cast(big, tf.float64) / 3.0,
        }

    @signature(x=([None], tf.float32))
    def odd(self, x):
        return {"y": x / 0.0}

    @signature(x=([None], tf.float32))
    def total(self, x):
        return {"y": tf.reduce_sum(x)}

    @signature(n=([], tf.int32))
    def zeros(self, n):
        return {"y": tf.zeros([n, 4], tf.float32)}

    @signature(x=([None, None], tf.bfloat16))
    def half(self, x):
        return {"y": x + x}

    @signature(bytes=([None], tf.string))
    def classify_pictures(self, bytes):
        """The class is the length of what follows the PNG mark, modulo the number of classes."""
        png = tf.strings.substr(bytes, 1, 3) == "PNG"
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(png), ["no picture"])]):
            ids = tf.cast(tf.strings.length(bytes) % len(LABELS), tf.int64)
        probabilities = tf.one_hot(ids, len(LABELS), on_value=0.75, off_value=0.125)
        return {"probabilities": probabilities, "class_ids": ids, "classes": tf.gather(tf.constant(LABELS), ids)}

    @signature(bmi=([None], tf.float32), age=([None], tf.float32))
    def row(self, bmi, age):
        return {"value": (2 * bmi + age)[:, None]}


class First(tf.Module):
    @signature(x=([None], tf.float32))
    def f(self, x):
        return {"once": x}


class Second(tf.Module):
    @signature(z=([None], tf.int32))
    def f(self, z):
        return {"doubled": z * 2}


def write(folder: Path) -> None:
    tiny, first, second = Tiny(), First(), Second()
    signatures = {
        "serving_default": tiny.affine,
        "two": tiny.two,
        "text": tiny.text,
        "generate": tiny.generate,
        "translate": tiny.translate,
        "kinds": tiny.kinds,
        "odd": tiny.odd,
        "total": tiny.total,
        "zeros": tiny.zeros,
        "half": tiny.half,
        "bytes": tiny.classify_pictures,
        "row": tiny.row,
    }
    tf.saved_model.save(tiny, str(folder / "tiny/1"), signatures)
    (folder / "tiny/1/labels.txt").write_text("\n".join(LABELS) + "\n")
    tf.saved_model.save(first, str(folder / "moving/1"), {"serving_default": first.f})
    tf.saved_model.save(second, str(folder / "moving/2"), {"serving_default": second.f})


if __name__ == "__main__":
    write(Path(sys.argv[1]))
