"""Texts that go on: a bundle's prompts as strings, its answers as strings.

`write` is what the signatures `generate` and `beam_search` compute in a published version, with a cache. With
`cached=False` the whole text is read anew for every token: slow, and nothing but the network as Keras runs it, so that
the one can be proved by the other.
"""

import functools

import keras
import tensorflow as tf

from recipes import generation
from recipes.bundle import Bundle
from recipes.generation import Begin, Step
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


def write(bundle: Bundle, raw: dict[str, tf.Tensor], *, beams: int = 0, cached: bool = True) -> dict[str, tf.Tensor]:
    """Go on with texts.

    Args:
        bundle: of a language model.
        raw: `text` string `(batch,)` and `max_new_tokens` int64 `(batch,)`; without beams the other `SETTINGS`, too.
        beams: search with so many beams; 0 draws.
        cached: keep what was computed of the text before.

    Returns:
        `generated_text` string `(batch,)`, what was added; `generated_tokens` int64 `(batch,)`, how many tokens that
        is, the end included; `log_probability` float32 `(batch,)`, of these.

    Raises:
        tf.errors.InvalidArgumentError: a prompt leaves no room in the model's `max_length`, or `max_new_tokens` is not
            positive.
    """
    preprocessing = bundle.preprocessing
    prompts = _prompts(raw, preprocessing)
    begin, step = _with_cache(bundle.model) if cached else _without_cache(bundle.model)
    arguments = {"end": preprocessing.tokenizer.end, "longest": preprocessing.max_length}
    arguments["max_new_tokens"] = raw["max_new_tokens"]
    if beams:
        found = generation.beam_search(begin, step, prompts, num_beams=beams, **arguments)
    else:
        settings = {name: raw[name] for name in SETTINGS}
        found = generation.sample(begin, step, prompts, **{**settings, **arguments})
    return {
        "generated_text": preprocessing.tokenizer.decode(found["tokens"]),
        "generated_tokens": tf.cast(found["length"], tf.int64),
        "log_probability": found["log_probability"],
    }


def why_not(bundle: Bundle) -> str | None:
    """Why a model cannot go on with a text one token at a time; None where it can."""
    try:
        decoding.begin(bundle.model, tf.ones([1, 1], tf.int32), 2)
    except ValueError as error:
        return str(error)
    return None


def _prompts(raw, preprocessing) -> tf.Tensor:
    """Ids int32 `(batch, length)`; a text without tokens is the start token."""
    tokenizer = preprocessing.tokenizer
    ids = tokenizer.encode(raw["text"])
    start = tf.RaggedTensor.from_tensor(tf.fill([ids.nrows(), 1], tokenizer.start))
    ids = tf.concat([tf.ragged.boolean_mask(start, ids.row_lengths()[:, tf.newaxis] == 0), ids], axis=1)
    room = preprocessing.max_length - 1
    checks = [
        tf.debugging.assert_less_equal(
            ids.row_lengths(), tf.cast(room, tf.int64), f"A prompt has more than {room} tokens: no room for a new one."
        ),
        tf.debugging.assert_positive(raw["max_new_tokens"], "max_new_tokens must be positive."),
    ]
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.identity(ids.to_tensor(tokenizer.padding))


def _with_cache(model: keras.Model) -> tuple[Begin, Step]:
    return functools.partial(decoding.begin, model), functools.partial(decoding.step, model)


def _without_cache(model: keras.Model) -> tuple[Begin, Step]:
    """The same by reading the whole text for every token: what is kept of it is the text itself."""

    def answer(text, last):
        return tf.gather(model(text, training=False), last, batch_dims=1), text

    def begin(prompts, longest):
        text = tf.pad(prompts, [[0, 0], [0, longest - tf.shape(prompts)[1]]])
        return answer(text, decoding.lengths(prompts) - 1)

    def step(tokens, text, index):
        places = tf.stack([tf.range(tf.shape(text)[0]), index], axis=1)
        return answer(tf.tensor_scatter_nd_update(text, places, tokens), index)

    return begin, step
