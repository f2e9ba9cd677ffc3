"""Generation: from the logits of the next token to whole texts, in one graph.

- `sample`: greedily, or at random with a temperature, from the k most probable tokens, or from the nucleus of Holtzman
  et al., "The Curious Case of Neural Text Degeneration", ICLR (2020), §3.1.
- `beam_search`: Sutskever et al., "Sequence to Sequence Learning with Neural Networks", NeurIPS (2014), §3.2, with the
  length normalisation of Wu et al., "Google's Neural Machine Translation System" (2016), §7, equation 14.

Both take a network as two functions, such as those of `zoo.decoding` with the model filled in:

    begin(prompts, lengths, longest) → a cache of `longest` places, with the prompts up to their last tokens
    step(tokens, cache, index) → logits of what is next, (batch, vocabulary_size), and the cache with these tokens, int
        (batch,), which stand at places `index`, int (batch,); the prompts' last tokens are the first step's

The cache is a nest of tensors `(batch, ...)`. What tells how a row is to be gone on with is one number for all rows, or
`(batch,)`. A row's answer does not depend on the other rows of its batch.
"""

import functools
from collections.abc import Callable
from numbers import Integral

import tensorflow as tf

Begin = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], object]
Step = Callable[[tf.Tensor, object, tf.Tensor], tuple[tf.Tensor, object]]


@tf.autograph.experimental.do_not_convert
def sample(
    begin: Begin,
    step: Step,
    prompts: tf.Tensor,
    lengths: tf.Tensor,
    *,
    end: int,
    longest: int,
    max_new_tokens: tf.Tensor | int,
    temperature: tf.Tensor | float = 0.0,
    top_k: tf.Tensor | int = 0,
    top_p: tf.Tensor | float = 1.0,
    seed: tf.Tensor | int = 0,
) -> dict[str, tf.Tensor]:
    """Go on with texts by drawing token after token.

    Args:
        begin, step: the network.
        prompts: int `(batch, length)`, from the left.
        lengths: int `(batch,)`, tokens of each prompt, at least 1. What lies behind is not read.
        end: the token behind which a text ends.
        longest: most tokens of a text with its prompt. A text that reaches it stops; a prompt that is as long or longer
            gets no new token.
        max_new_tokens: most tokens to add.
        temperature: what the logits are divided by. At 0 or below, the most probable token is taken.
        top_k: draw from the k most probable tokens only; at 0 or below, from all.
        top_p: draw from the nucleus only: of what `top_k` leaves, the fewest most probable tokens whose probabilities
            sum to at least this. It holds one token at least; at 1 or above, all.
        seed: int64. A row with the same seed gets the same random numbers, whatever else is in the batch.

    Returns:
        `tokens` int32 `(batch, longest of the answers)`, the new tokens, `end` included, and 0 behind them;
        `length` int32 `(batch,)`, how many they are; `log_probability` float32 `(batch,)`, their sum as the network
        gives it, before temperature and cuts.

    Raises:
        ValueError: `longest` is not positive.
    """
    prompts, lengths, limit = _within(prompts, lengths, longest, max_new_tokens)
    rows = tf.shape(prompts)[0]
    temperature, top_p = _per_row(temperature, rows, tf.float32), _per_row(top_p, rows, tf.float32)
    top_k = _per_row(top_k, rows, tf.int32)
    numbers = _random_numbers(_per_row(seed, rows, tf.int64), longest)

    def choose(n, logits):
        likeliest = tf.argmax(logits, axis=-1, output_type=tf.int32)

        def drawn():
            token = _draw(numbers[:, n], *_choices(logits, temperature, top_k, top_p))
            return tf.where(temperature > 0, token, likeliest)

        return tf.cond(tf.reduce_any(temperature > 0), drawn, lambda: likeliest)

    def write(n, logits, text):
        token = tf.where(text["going"], choose(n, logits), 0)
        gained = tf.gather(tf.nn.log_softmax(logits), token, batch_dims=1)
        written = {
            "tokens": _put(token, n, text["tokens"]),
            "length": text["length"] + tf.cast(text["going"], tf.int32),
            "log_probability": text["log_probability"] + tf.where(text["going"], gained, 0.0),
            "going": text["going"] & (token != end) & (n + 1 < limit),
        }
        return token, None, written

    text = {
        "tokens": tf.zeros([rows, _most(limit)], tf.int32),
        "length": tf.zeros([rows], tf.int32),
        "log_probability": tf.zeros([rows]),
        "going": limit > 0,
    }
    return _answer(_write_all(begin, step, prompts, lengths, limit, write, text))


@tf.autograph.experimental.do_not_convert
def beam_search(
    begin: Begin,
    step: Step,
    prompts: tf.Tensor,
    lengths: tf.Tensor,
    *,
    end: int,
    longest: int,
    max_new_tokens: tf.Tensor | int,
    num_beams: int = 4,
    length_penalty: float = 0.6,
) -> dict[str, tf.Tensor]:
    """Go on with texts by the most probable tokens, looking at several texts at once.

    Of all ways to go on with a row's beams by one token, the `num_beams` most probable are kept. Those among them that
    end are finished, the others are the beams of the next step. The answer is the best finished text; the search stops
    where no beam can become better. With one beam it is greedy.

    Args:
        begin, step, prompts, lengths, end, longest, max_new_tokens: as for `sample`. A text that is stopped by one of
            the last two is finished, too.
        num_beams: texts looked at for every row.
        length_penalty: α of the score `log_probability / ((5 + length) / 6)^α`: at 0 the most probable text is the
            best one, above that longer ones are favoured.

    Returns:
        As `sample`.

    Raises:
        ValueError: `longest` or `num_beams` is not positive, or `length_penalty` is negative.
    """
    if not isinstance(num_beams, Integral) or num_beams < 1 or not length_penalty >= 0:
        raise ValueError(
            "Beam search needs at least one beam and a length_penalty that is not negative. "
            f"Received: {num_beams=}, {length_penalty=}."
        )
    prompts, lengths, limit = _within(prompts, lengths, longest, max_new_tokens)
    rows, width = tf.shape(prompts)[0], _most(limit)
    never = -float("inf")

    def divisor(length):
        return ((5 + tf.cast(length, tf.float32)) / 6) ** length_penalty

    def write(n, logits, text):
        vocabulary_size = logits.shape[-1]
        ways = tf.reshape(tf.nn.log_softmax(logits), [rows, num_beams, vocabulary_size]) + text["beams"][..., None]
        beams, way = tf.math.top_k(tf.reshape(ways, [rows, num_beams * vocabulary_size]), num_beams)
        parent, token = way // vocabulary_size, way % vocabulary_size
        beam_tokens = _put(token, n, tf.gather(text["beam_tokens"], parent, batch_dims=1))

        ended = (token == end) | (n + 1 >= limit)[:, None]
        scores = tf.where(ended, beams, never) / divisor(n + 1)
        winner = tf.argmax(scores, axis=1, output_type=tf.int32)
        score = tf.gather(scores, winner, batch_dims=1)
        better = score > text["score"]
        best = tf.maximum(score, text["score"])

        beams = tf.where(ended, never, beams)
        # A beam's probability only falls, and nothing is divided by more than at the longest length.
        going = tf.reduce_max(beams, axis=1) / divisor(limit) > best
        written = {
            "beams": tf.where(going[:, None], beams, never),
            "beam_tokens": beam_tokens,
            "score": best,
            "tokens": tf.where(better[:, None], tf.gather(beam_tokens, winner, batch_dims=1), text["tokens"]),
            "length": tf.where(better, n + 1, text["length"]),
            "log_probability": tf.where(better, score * divisor(n + 1), text["log_probability"]),
            "going": going,
        }
        parents = tf.range(rows)[:, None] * num_beams + parent
        return tf.reshape(token, [-1]), tf.reshape(parents, [-1]), written

    text = {
        # At first all beams are the prompt: one of them goes on.
        "beams": tf.where((tf.range(num_beams) == 0) & (limit > 0)[:, None], 0.0, never),
        "beam_tokens": tf.zeros([rows, num_beams, width], tf.int32),
        "score": tf.fill([rows], never),
        "tokens": tf.zeros([rows, width], tf.int32),
        "length": tf.zeros([rows], tf.int32),
        "log_probability": tf.zeros([rows]),
        "going": limit > 0,
    }
    return _answer(_write_all(begin, step, prompts, lengths, limit, write, text, num_beams))


def _within(prompts, lengths, longest, max_new_tokens):
    """Prompts no wider than need be, their lengths, and how many tokens each may get: the last two int32 `(batch,)`."""
    if not isinstance(longest, Integral) or longest < 1:
        raise ValueError(f"longest must be a positive integer. Received: {longest!r}.")
    lengths = tf.minimum(tf.cast(lengths, tf.int32), longest)
    prompts = tf.cast(prompts, tf.int32)[:, : _most(lengths, least=1)]
    max_new_tokens = _per_row(max_new_tokens, tf.shape(prompts)[0], tf.int32)
    return prompts, lengths, tf.clip_by_value(max_new_tokens, 0, longest - lengths)


def _write_all(begin, step, prompts, lengths, limit, write, text, copies=1):
    """The text when every row has stopped.

    `write(n, logits, text)` puts the n-th new token there. It gives this token, which the next step reads; the row of
    the cache that it comes from, None if its own; and the text, whose `going` says which rows go on.
    """
    places = _most(lengths + limit, least=1)
    cache, last = begin(prompts, lengths, places), lengths - 1
    token = tf.gather(prompts, last, batch_dims=1)
    if copies > 1:
        originals = tf.repeat(tf.range(tf.shape(last)[0]), copies)
        cache, last, token = tf.nest.map_structure(lambda rows: tf.gather(rows, originals), (cache, last, token))

    def further(n, token, text, cache):
        # Rows that have stopped read on in place.
        logits, stepped = step(token, cache, tf.minimum(last + n, places - 1))
        chosen, parents, written = write(n, tf.cast(logits, tf.float32), text)
        token, text = tf.nest.map_structure(_shaped_as, (token, text), (chosen, written))
        return n + 1, token, text, tf.nest.map_structure(functools.partial(_carried, parents), cache, stepped)

    def going(n, token, text, cache):
        return tf.reduce_any(text["going"])

    # Each step needs the one before: none begins early.
    return tf.while_loop(going, further, (0, token, text, cache), parallel_iterations=1)[2]


def _carried(parents, before, after):
    """A tensor of the cache, put in order: what a step left as it was is the same for all beams of a row."""
    if after is before:
        return after
    return _shaped_as(before, after if parents is None else tf.gather(after, parents))


def _shaped_as(before, after):
    """What a loop makes of a tensor: its shape is known where it was known before."""
    return tf.ensure_shape(after, before.shape)


def _answer(text):
    tokens = text["tokens"][:, : _most(text["length"])]
    return {"tokens": tokens, "length": text["length"], "log_probability": text["log_probability"]}


def _choices(logits, temperature, top_k, top_p):
    """Tokens a row may draw, the most probable first: their probabilities and ids, each `(batch, vocabulary_size)`.

    Behind the last one probabilities are 0.
    """
    logits, tokens = tf.math.top_k(logits, tf.shape(logits)[1])
    heat = tf.where(temperature > 0, temperature, 1.0)[:, None]
    # Less the highest: however low the temperature, nothing becomes infinite but what is impossible.
    probabilities = tf.nn.softmax((logits - logits[:, :1]) / heat)

    rank = tf.range(tf.shape(logits)[1])
    allowed = (rank < top_k[:, None]) | (top_k <= 0)[:, None]
    probabilities = tf.where(allowed, probabilities, 0.0)
    probabilities /= tf.reduce_sum(probabilities, axis=1, keepdims=True)

    before = tf.cumsum(probabilities, axis=1, exclusive=True)
    nucleus = (before < top_p[:, None]) | (rank == 0) | (top_p >= 1)[:, None]
    return tf.where(nucleus, probabilities, 0.0), tokens


def _draw(number, probabilities, tokens):
    """The token whose share of the sum of all holds a number of 0..1, int32 `(batch,)`."""
    up_to = tf.cumsum(probabilities, axis=1)
    passed = tf.reduce_sum(tf.cast(up_to <= number[:, None] * up_to[:, -1:], tf.int32), axis=1)
    last = tf.reduce_sum(tf.cast(probabilities > 0, tf.int32), axis=1) - 1
    return tf.gather(tokens, tf.minimum(passed, last), batch_dims=1)


def _random_numbers(seed, count):
    """Of every row's own seed, float32 in 0..1, `(batch, count)`."""
    return tf.map_fn(
        lambda one: tf.random.stateless_uniform([count], tf.stack([one, 0])), seed, fn_output_signature=tf.float32
    )


def _put(token, n, tokens):
    """`(batch, ...)` at place n of `(batch, ..., width)`."""
    return tf.where(tf.range(tf.shape(tokens)[-1]) == n, token[..., None], tokens)


def _per_row(value, rows, dtype):
    if dtype == tf.int32:  # of 64 bits: as near as it can be
        value = tf.clip_by_value(tf.cast(value, tf.int64), dtype.min, dtype.max)
    return tf.broadcast_to(tf.cast(value, dtype), [rows])


def _most(numbers, least=0):
    """The largest of some int32, where there is one that is not below the least."""
    return tf.reduce_max(tf.concat([numbers, [least]], 0))
