"""The signatures of a version: what is computed in the graph, and how Keras alone computes the same.

A signature is a record of three functions. `graph` is traced into the SavedModel. `inputs_of` and `keras` never meet
it: they make the golden inputs and the answers that the graph is measured by.

Contract of the outputs (TF Serving): named, float32, int64 or string, one row per row of input.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from export.version import DEFAULT
from recipes import explanation, writing
from recipes.answers import NextTokenAnswer
from recipes.batches import all_joined
from recipes.bundle import Bundle

Tensors = dict[str, tf.Tensor]
Arrays = dict[str, np.ndarray]

CLASSIFY = "classify"
REGRESS = "regress"
EXPLAIN = "explain"
GENERATE = "generate"
BEAM_SEARCH = "beam_search"
HEATMAP = "heatmap"
EXAMPLES_INPUT = "inputs"  # the name under which TF Serving feeds serialized examples

WRITTEN_TOKENS = 16  # in the proof: Keras reads the whole text anew for every token
LEAST_WRITTEN, WRITTEN_COST = 8, 320e6
"""Examples of the proof that are written: so many at least, of smaller models as many as cost so many parameters."""
EXPLAINED_AT_ONCE = 8  # by Keras, whose tape keeps what every layer gave
INVISIBLE = 0.01  # of a map's scale: less than a step of its colours that an eye can see


@dataclass(frozen=True)
class Signature:
    """One way to ask a version.

    Attributes:
        name: its key in the SavedModel.
        inputs: name → dtype and shape, `(None, ...)`.
        graph: inputs by name → outputs by name, as TensorFlow operations.
        inputs_of: raw examples → the same examples as this signature takes them.
        keras: raw examples and a batch size (None: as many as fit) → the outputs that Keras gives for them.
        harmless: output → a difference that is no fault, however exact the model is.
        pixels: outputs that hold a class for every pixel.
        most: rows that it is proved on; None: all.
    """

    name: str
    inputs: dict[str, tf.TensorSpec]
    graph: Callable[[Tensors], Tensors]
    inputs_of: Callable[[Arrays], Arrays]
    keras: Callable[[Arrays, int | None], Arrays]
    harmless: Mapping[str, float] = field(default_factory=dict)
    pixels: tuple[str, ...] = ()
    most: int | None = None


def signatures_of(bundle: Bundle, explain: str | None = None) -> list[Signature]:
    """Every signature a bundle is published with: the model's own tensor, raw input and, for tables, `tf.Example`.

    With `explain`, "cam" or "grad_cam", pictures are answered with a heat map, too. Models that write texts do so in
    other ways, too, where it is known how to do that with a cache.
    """
    signatures = [_default(bundle), _raw(bundle)]
    if explain is not None:
        signatures.append(_explain(bundle, explain))
    if isinstance(bundle.answer, NextTokenAnswer) and writing.why_not(bundle.model) is None:
        signatures += [_writing(bundle, GENERATE, beams=0), _writing(bundle, BEAM_SEARCH, beams=writing.BEAMS)]
    if bundle.preprocessing.kind == "table":
        signatures += [_classify(bundle)] if bundle.answer.kind == "class" else _regress(bundle)
    return signatures


def _default(bundle: Bundle) -> Signature:
    tensors = {each.name: each for each in bundle.model.inputs}
    dtypes = {name: served_dtype(each.dtype) for name, each in tensors.items()}

    def inputs_of(raw):
        found = bundle.preprocess(raw)
        found = found if isinstance(found, dict) else dict.fromkeys(tensors, found)
        return {name: array.astype(dtypes[name].as_numpy_dtype, copy=False) for name, array in found.items()}

    def keras_answers(raw, batch_size):
        some = bundle.in_parts(raw, batch_size)
        return all_joined([bundle.predict_tensors(inputs_of(part), batch_size) for part in some])

    return Signature(
        name=DEFAULT,
        inputs={name: tf.TensorSpec([None, *each.shape[1:]], dtypes[name]) for name, each in tensors.items()},
        graph=lambda inputs: bundle.graph(*(inputs[name] for name in tensors)),
        inputs_of=inputs_of,
        keras=keras_answers,
        pixels=pixels_of(bundle),
    )


def pixels_of(bundle: Bundle) -> tuple[str, ...]:
    """The outputs that hold a class for every pixel."""
    return getattr(bundle.answer, "pixels", ())


def _raw(bundle: Bundle) -> Signature:
    specs = bundle.preprocessing.raw_specs()

    def inputs_of(raw):
        return {name: np.asarray(raw[name], spec.dtype.as_numpy_dtype) for name, spec in specs.items()}

    return Signature(
        name=bundle.preprocessing.signature,
        inputs=specs,
        graph=bundle.graph_of_raw,
        inputs_of=inputs_of,
        keras=bundle.predict,
        pixels=pixels_of(bundle),
        most=_most_written(bundle) if bundle.writes else None,
    )


def _most_written(bundle: Bundle) -> int:
    return max(LEAST_WRITTEN, int(WRITTEN_COST / bundle.model.count_params()))


def _explain(bundle: Bundle, method: str) -> Signature:
    """The raw signature's answer with `heatmap`, float32 `(batch, height, width)` in 0..1, for the class answered."""
    raw_signature, answer_with_map = _raw(bundle), explanation.heat_maps(bundle, method)

    def keras(raw, batch_size):
        tensors = bundle.preprocess(raw)
        step = min(batch_size or EXPLAINED_AT_ONCE, EXPLAINED_AT_ONCE)
        parts = [answer_with_map(tf.constant(tensors[i : i + step])) for i in range(0, len(tensors), step)]
        return all_joined([{name: tensor.numpy() for name, tensor in part.items()} for part in parts])

    return Signature(
        name=EXPLAIN,
        inputs=raw_signature.inputs,
        graph=lambda raw: answer_with_map(bundle.preprocessing(raw)),
        inputs_of=raw_signature.inputs_of,
        keras=keras,
        harmless={HEATMAP: INVISIBLE},
    )


def _writing(bundle: Bundle, name: str, beams: int) -> Signature:
    """Texts that are written: see `recipes.writing.write`. The golden rows ask for every way of drawing in turn."""
    specs = writing.specs(beams)

    def inputs_of(raw):
        text = np.asarray(raw["text"], object)
        row = np.arange(len(text))
        asked = {
            "max_new_tokens": np.full(len(text), WRITTEN_TOKENS),
            "temperature": np.where(row % 2, 0.8, 0.0),
            "top_k": np.where(row % 4 == 1, 5, 0),
            "top_p": np.where(row % 4 == 3, 0.9, 1.0),
            "seed": row,
        }
        room = bundle.preprocessing.max_length // 2
        prompts = bundle.preprocessing.tokenizer.encode(tf.constant(text))[:, :room]
        asked["text"] = bundle.preprocessing.tokenizer.decode(prompts).numpy()
        return {name: asked[name].astype(spec.dtype.as_numpy_dtype) for name, spec in specs.items()}

    return Signature(
        name=name,
        inputs=specs,
        graph=bundle.writer(beams),
        inputs_of=inputs_of,
        keras=lambda raw, batch_size: bundle.write(inputs_of(raw), beams, batch_size),
        most=_most_written(bundle),
    )


def _classify(bundle: Bundle) -> Signature:
    """As TF Serving's Classify takes it: `classes` string and `scores` float32, both `(batch, classes)`."""

    def classification(answer, xp):
        rows = xp.shape(answer["probabilities"])[0]
        return {"classes": xp.tile(_labels_row(bundle), [rows, 1]), "scores": answer["probabilities"]}

    return _of_examples(bundle, CLASSIFY, classification)


def _regress(bundle: Bundle) -> list[Signature]:
    """As TF Serving's Regress takes it: `outputs` float32 `(batch,)`; so only where one value is predicted."""
    if bundle.model.outputs[0].shape[-1] != 1:
        return []
    return [_of_examples(bundle, REGRESS, lambda answer, xp: {"outputs": answer["value"][:, 0]})]


def _of_examples(bundle: Bundle, name: str, shaped: Callable[[dict, Any], dict]) -> Signature:
    """A signature on serialized `tf.Example`, a float feature per column; `shaped` works on tensors and on arrays."""
    features = {column: tf.io.FixedLenFeature([], tf.float32) for column in bundle.preprocessing.columns}
    return Signature(
        name=name,
        inputs={EXAMPLES_INPUT: tf.TensorSpec([None], tf.string)},
        graph=lambda inputs: shaped(bundle.graph_of_raw(tf.io.parse_example(inputs[EXAMPLES_INPUT], features)), tf),
        inputs_of=lambda raw: {EXAMPLES_INPUT: serialized_examples({column: raw[column] for column in features})},
        keras=lambda raw, batch_size: shaped(bundle.predict(raw, batch_size), np),
    )


def serialized_examples(columns: Arrays) -> np.ndarray:
    """Columns of n numbers → n serialized `tf.Example`, an object array of bytes."""

    def one(row):
        features = {
            name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
            for name, value in zip(columns, row, strict=True)
        }
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)

    return np.array([one(row) for row in zip(*columns.values(), strict=True)], object)


def served_dtype(dtype: str) -> tf.DType:
    """What TF Serving's REST API can carry of a Keras dtype: any float as float32, any integer as int64."""
    dtype = tf.as_dtype(dtype)
    if dtype.is_floating:
        return tf.float32
    return tf.int64 if dtype.is_integer else dtype


def _labels_row(bundle: Bundle) -> np.ndarray:
    return np.array([[label.encode() for label in bundle.labels]], object)
