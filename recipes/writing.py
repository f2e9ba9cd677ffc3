"""Texts that are written: prompts or sources as strings, answers as strings.

`write` is what the signatures `generate` and `beam_search` compute in a published version, with a cache. With
`cached=False` the whole text is read anew for every token: slow, and nothing but the network as Keras runs it, so that
the one can be proved by the other.
"""

import dataclasses

import keras
import tensorflow as tf

from recipes import backend, generation
from recipes.preprocessing import TextPreprocessing, dense
from zoo import decoding

BEAMS = 4
SETTINGS = {
    "max_new_tokens": tf.int64,
    "temperature": tf.float32,
    "top_k": tf.int64,
    "top_p": tf.float32,
    "seed": tf.int64,
}
"""What a row of `generate` says besides its text, and of what type; see `recipes.generation.sample`."""


def specs(beams: int) -> dict[str, tf.TensorSpec]:
    """What `write` takes."""
    settings = {"max_new_tokens": tf.int64} if beams else SETTINGS
    return {name: tf.TensorSpec([None], dtype) for name, dtype in {"text": tf.string, **settings}.items()}


def write(
    model: keras.Model,
    preprocessing: TextPreprocessing,
    raw: dict[str, tf.Tensor],
    *,
    beams: int = 0,
    cached: bool = True,
) -> dict[str, tf.Tensor]:
    """Go on with texts; or, with a model of `source` and `target`, write a target for every source.

    Args:
        model: gives logits at every token of its last input.
        preprocessing: of the texts.
        raw: `text` string `(batch,)` and `max_new_tokens` int64 `(batch,)`; without beams the other `SETTINGS`, too:
            see `specs`.
        beams: search with so many beams; 0 draws.
        cached: keep what was computed of the text before.

    Returns:
        `generated_text` string `(batch,)`, what was added; `generated_tokens` int64 `(batch,)`, how many tokens that
        is, the end included; `log_probability` float32 `(batch,)`, of these.

    Raises:
        tf.errors.InvalidArgumentError: a prompt leaves no room in the model's `max_length`, or `max_new_tokens` is not
            positive.
    """
    tokenizer = preprocessing.tokenizer
    if len(model.inputs) == 1:
        given, prompts = [], _prompts(raw["text"], preprocessing)
    else:
        given = [preprocessing({"text": raw["text"]})]
        prompts = tf.RaggedTensor.from_tensor(tf.fill([tf.shape(raw["text"])[0], 1], tokenizer.start))
    prompts, lengths = dense(prompts), prompts.row_lengths()
    network = _Cached(model, given) if cached else _ReadAnew(model, given)
    check = tf.debugging.assert_positive(raw["max_new_tokens"], "max_new_tokens must be positive")
    with tf.control_dependencies([check] if check is not None else []):
        most = tf.identity(raw["max_new_tokens"])
    arguments = {"end": tokenizer.end, "longest": preprocessing.max_length, "max_new_tokens": most}
    if beams:
        found = generation.beam_search(network.begin, network.step, prompts, lengths, num_beams=beams, **arguments)
    else:
        settings = {name: raw[name] for name in SETTINGS}
        found = generation.sample(network.begin, network.step, prompts, lengths, **{**settings, **arguments})
    tokens = tf.RaggedTensor.from_tensor(found["tokens"], found["length"])
    return {
        "generated_text": tokenizer.decode(tokens),
        "generated_tokens": tf.cast(found["length"], tf.int64),
        "log_probability": found["log_probability"],
    }


def why_not(model: keras.Model) -> str | None:
    """Why a model cannot write a text one token at a time, in operations of TensorFlow; None where it can."""
    if backend.name() != backend.TENSORFLOW:
        return f"The model is computed by {backend.name()}."
    try:
        cache = decoding.begin(model, [tf.ones([1, 2], tf.int32)] * len(model.inputs), tf.constant([2]), 3)
        decoding.step(model, tf.ones([1], tf.int32), cache, tf.constant([1]))
    except ValueError as error:
        return str(error)
    return None


def _prompts(texts: tf.Tensor, preprocessing: TextPreprocessing) -> tf.RaggedTensor:
    """Ids int32 `(batch, None)`, with room for one more; a text without tokens is the start token."""
    room = preprocessing.max_length - 1
    return dataclasses.replace(preprocessing, max_length=room, too_long="refuse", marks="empty").tokens(texts)


class _Cached:
    """A network that keeps what it computed of the text. `given` is what it takes besides the text."""

    def __init__(self, model: keras.Model, given: list[tf.Tensor]):
        self.model, self.given = model, given

    def begin(self, prompts, lengths, longest):
        return decoding.begin(self.model, [*self.given, prompts], lengths, longest)

    def step(self, tokens, cache, index):
        return decoding.step(self.model, tokens, cache, index)


class _ReadAnew:
    """The same by reading the whole text for every token: what is kept of it is the text itself, and what is given."""

    def __init__(self, model: keras.Model, given: list[tf.Tensor]):
        self.model, self.given = model, given

    def begin(self, prompts, lengths, longest):
        return [*self.given, tf.pad(prompts, [[0, 0], [0, longest - tf.shape(prompts)[1]]])]

    def step(self, tokens, kept, index):
        *given, text = kept
        places = tf.stack([tf.range(tf.shape(text)[0]), index], axis=1)
        inputs = [*given, tf.tensor_scatter_nd_update(text, places, tokens)]
        logits = backend.called(self.model, inputs if given else inputs[0])
        return tf.gather(logits, index, batch_dims=1), inputs
