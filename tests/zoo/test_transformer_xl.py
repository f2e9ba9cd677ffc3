"""Transformer-XL: the paper's scores, and a memory that is nothing but a longer context."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.architectures.transformer_xl import RelativeAttention, in_segments
from zoo.complexity import activation_bytes, multiply_adds, parameters


def fresh(**arguments):
    return zoo.build("transformer_xl", **{**zoo.spec("transformer_xl").tiny, **arguments})


def livened(model):
    """The same with weights large enough for every part of it to matter."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.4, weight.shape))
    return model


def build(**arguments):
    return livened(fresh(**arguments))


def tokens(*shape):
    return np.random.default_rng(0).integers(1, 20, shape, np.int32)


def test_parameters_are_those_of_the_layout():
    def by_hand(vocabulary_size, dim, depth, inner, mlp_dim):
        block = 5 * dim * inner + 2 * inner + (2 * dim * mlp_dim + mlp_dim + dim) + 2 * 2 * dim
        return vocabulary_size * dim + depth * block

    assert parameters(fresh(depth=2, head_dim=4)) == by_hand(20, 16, 2, 8, 32)
    defaults = zoo.spec("transformer_xl").arguments
    size = [defaults["depth"], defaults["heads"] * defaults["head_dim"], defaults["mlp_dim"]]
    assert by_hand(defaults["vocabulary_size"], defaults["dim"], *size) == 53_593_540
    assert by_hand(267_735, defaults["dim"], *size) == 150_850_870  # the paper: 151 million
    # The authors' code: a bias for every word, 3 clusters, one u and v for all blocks. It prints #params = 151107538.
    assert 150_850_870 + 267_735 + 3 * 411 - 15 * 2 * 410 == 151_107_538


def test_costs_are_those_of_the_matrices():
    x, memory = keras.Input((5, 16)), keras.Input((3, 16))
    attention = RelativeAttention(num_heads=2, head_dim=4, memory_length=3)
    alone, remembering = keras.Model(x, attention(x)), keras.Model([x, memory], attention(x, memory))
    assert multiply_adds(alone) == 5 * 5 * 16 * 8 + 3 * 5 * 5 * 8
    assert multiply_adds(remembering) == (2 * 5 + 3 * 8) * 16 * 8 + 3 * 5 * 8 * 8
    assert activation_bytes(alone) == 4 * (5 * 16 + 6 * 5 * 8 + 2 * 5 * 5 + 5 * 16)
    assert activation_bytes(remembering) == 4 * (8 * 16 + 3 * 5 * 8 + 3 * 8 * 8 + 2 * 5 * 8 + 5 * 16)


def paper(layer, x, memory):
    """§3.3 for one text, number by number."""
    weights = {w.path.partition("/")[2]: np.asarray(w, np.float64) for w in layer.weights}
    context = np.concatenate([memory, x])
    dim, width, past = x.shape[1], layer.head_dim, len(memory)
    mixed = np.zeros((len(x), layer.num_heads * width))
    for head in range(layer.num_heads):
        mine = slice(head * width, (head + 1) * width)
        query, key, value, distance = (
            weights[f"{name}/kernel"][:, mine] for name in ("query", "key", "value", "distance")
        )
        u, v = weights["u"][head, 0], weights["v"][head, 0]
        for i in range(len(x)):
            scores = []
            for j in range(past + i + 1):
                angles = (past + i - j) / 10_000 ** (np.arange(0, dim, 2) / dim)
                wave = np.concatenate([np.sin(angles), np.cos(angles)])
                q = x[i] @ query
                scores.append(((q + u) @ (context[j] @ key) + (q + v) @ (wave @ distance)) / np.sqrt(width))
            share = np.exp(scores) / np.exp(scores).sum()
            mixed[i, mine] = share @ (context[: past + i + 1] @ value)
    return mixed @ weights["output/kernel"]


@pytest.mark.parametrize("past", [0, 1, 4])
def test_attention_computes_the_papers_scores(past):
    layer = RelativeAttention(num_heads=2, head_dim=4, memory_length=4)
    rng = np.random.default_rng(2)
    x, memory = rng.normal(size=(2, 5, 6)).astype(np.float32), rng.normal(size=(2, past, 6)).astype(np.float32)
    layer.build(x.shape)
    livened(layer)
    answer = layer(x, memory) if past else layer(x)
    for row in range(2):
        np.testing.assert_allclose(answer[row], paper(layer, x[row], memory[row]), rtol=1e-4, atol=1e-4)


def test_a_step_with_a_cache_gives_what_all_at_once_gives():
    layer = build().get_layer("stage1_attention")
    x = np.random.default_rng(2).normal(size=(2, 7, 16)).astype(np.float32)
    expected = np.asarray(layer(x))
    # The second row lies two places behind the first: what lies in its cache ahead of it must not be seen.
    cache = tuple(np.full((2, 2, 9, 8), 7, np.float32) for _ in range(2))
    for i in range(9):
        index = np.array([min(i, 6), max(i - 2, 0)], np.int32)
        answer, cache = layer.step(np.stack([x[row, place] for row, place in enumerate(index)])[:, None], cache, index)
        for row, place in enumerate(index):
            np.testing.assert_allclose(answer[row, 0], expected[row, place], atol=1e-5)


def test_memory_is_a_longer_context():
    model = build(input_shape=(4,), depth=3, memory_length=12)
    whole = build(input_shape=(16,), depth=3)
    text = tokens(2, 16)
    remembering = in_segments(model, 4)
    assert remembering.output_shape == (None, 16, 20)
    np.testing.assert_allclose(remembering(text), whole(text), atol=1e-5)
    assert {id(w) for w in remembering.weights} == {id(w) for w in model.weights}


def test_a_memory_too_short_forgets_and_none_knows_only_its_segment():
    model = build(input_shape=(4,), depth=3, memory_length=3)
    text = tokens(2, 16)
    whole = np.asarray(build(input_shape=(16,), depth=3)(text))
    short, none = in_segments(model, 4)(text), in_segments(model, 4, memory_length=0)(text)
    np.testing.assert_allclose(short[:, :4], whole[:, :4], atol=1e-5)
    assert np.abs(short - whole)[:, 4:].max() > 1e-2
    np.testing.assert_allclose(in_segments(model, 4, memory_length=12)(text), whole, atol=1e-5)
    np.testing.assert_allclose(none, np.concatenate([model(text[:, i : i + 4]) for i in range(0, 16, 4)], 1), atol=1e-5)


def test_a_memory_reaches_further_back_with_every_block():
    """With 2 tokens in every memory, a segment of 2 sees one segment back for each block."""
    remembering = in_segments(build(input_shape=(2,), depth=2, memory_length=2), 4)
    text = tokens(1, 8)
    answer = np.asarray(remembering(text))[:, -2:]
    for place, seen in ((1, False), (2, True), (4, True)):
        other = text.copy()
        other[:, place] = other[:, place] % 19 + 1
        assert (np.abs(np.asarray(remembering(other))[:, -2:] - answer).max() > 1e-5) == seen


def test_with_a_memory_it_never_sees_ahead():
    model = in_segments(build(input_shape=(4,), depth=2), 2)
    text = tokens(2, 8)
    answer = np.asarray(model(text))
    for place in range(8):
        other = text.copy()
        other[:, place] = other[:, place] % 19 + 1
        changed = np.abs(np.asarray(model(other)) - answer).max((0, 2)) > 1e-5
        assert changed.tolist() == [later >= place for later in range(8)]


def test_no_gradient_goes_through_the_memory():
    model = build(input_shape=(4,))
    embedding = model.get_layer("stem_embedding")
    text = np.arange(1, 9)[None]  # no token twice: the gradient of an embedding is that of its place

    def gradient_of(network, last):
        with tf.GradientTape() as tape:
            # The features, not the logits: these reach every embedding by the tied softmax.
            total = tf.reduce_sum(zoo.features(network, "segments")(text)[:, last:, 0])
        return np.abs(tf.convert_to_tensor(tape.gradient(total, embedding.embeddings.value))).max(1)[1:9] > 0

    headless = keras.Model(model.input, model.get_layer("stage1").output)
    assert gradient_of(in_segments(headless, 2), 4).tolist() == [False] * 4 + [True] * 4


def test_every_block_is_a_stage():
    assert list(zoo.stages(fresh(depth=3))) == ["stage1", "stage2", "stage3"]


def test_with_a_memory_the_gradient_reaches_every_weight():
    model = in_segments(build(depth=2, input_shape=(4,)), 2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(tokens(4, 8), training=True) - 5) ** 2)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert np.any(tf.convert_to_tensor(gradient)), weight.path


def test_a_file_gives_the_memory_back(tmp_path):
    model, text = in_segments(build(input_shape=(4,), dropout=0.1), 2), tokens(2, 8)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras")(text), model(text), atol=1e-6)


def test_a_memory_in_half_precision_gives_finite_logits_in_full():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = in_segments(fresh(), 2)
    finally:
        keras.config.set_dtype_policy("float32")
    logits = model(tokens(2, 16))
    assert model.get_layer("stage1_attention").compute_dtype == "bfloat16"
    assert logits.dtype == "float32"
    assert np.isfinite(logits).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"must be \(length,\). Received: \(8, 8\)"):
        fresh(input_shape=(8, 8))
    with pytest.raises(ValueError, match=r"memory_length at least 0. Received: .*memory_length=-1"):
        fresh(memory_length=-1)
    with pytest.raises(ValueError, match=r"A segment needs a length. Received: 'transformer_xl'"):
        in_segments(fresh(input_shape=(None,)), 2)
    with pytest.raises(ValueError, match=r"Only RelativeAttention has a memory. Received: 'transformer_classifier'"):
        in_segments(zoo.build("transformer_classifier", **zoo.spec("transformer_classifier").tiny), 2)
