"""The Transformer: the paper's equations, its parameters, its stages, and an encoder that runs once."""

import math

import keras
import numpy as np
import pytest

import zoo
from zoo.complexity import multiply_adds, parameters

BUILDERS = ["transformer", "transformer_classifier"]


def build(name="transformer", **arguments):
    """A tiny network with weights large enough for every part of it to matter."""
    model = zoo.build(name, **{**zoo.spec(name).tiny, **arguments})
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.4, weight.shape))
    return model


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(1, 20, shape, np.int32)


def some_input(model, batch=2):
    texts = [tokens(batch, tensor.shape[1] or 8, seed=i) for i, tensor in enumerate(model.inputs)]
    return texts if len(texts) > 1 else texts[0]


def parameters_by_hand(vocabulary_size, dim, depth, mlp_dim):
    attention = 4 * (dim * dim + dim)
    mlp = 2 * dim * mlp_dim + mlp_dim + dim
    norm = 2 * dim
    encoder = attention + mlp + 2 * norm
    decoder = 2 * attention + mlp + 3 * norm
    return vocabulary_size * dim + depth * (encoder + decoder)


def test_parameters_are_those_of_the_layout():
    model = build(depth=2)
    assert parameters(model) == parameters_by_hand(20, 16, 2, 32)
    assert parameters(build(depth=2, pre_norm=True)) == parameters(model) + 2 * 2 * 16
    assert parameters_by_hand(37_000, 512, 6, 2048) == 63_082_496
    assert parameters_by_hand(37_000, 1024, 6, 4096) == 214_245_376
    for name, size in {"transformer_base": (512, 6, 2048), "transformer_big": (1024, 6, 4096)}.items():
        defaults = zoo.spec(name).arguments
        assert (defaults["dim"], defaults["depth"], defaults["mlp_dim"]) == size
        assert defaults["vocabulary_size"] == 37_000
    assert parameters(build("transformer_classifier")) == 20 * 16 + (4 * 272 + 1072 + 64) + 3 * 17


def test_multiply_adds_are_those_of_the_matrices():
    source, target, dim, mlp = 5, 7, 16, 32

    def attention(queries, keys):
        return 2 * queries * dim * dim + 2 * keys * dim * dim + 2 * queries * keys * dim

    encoder = attention(source, source) + source * 2 * dim * mlp
    decoder = attention(target, target) + attention(target, source) + target * 2 * dim * mlp
    assert multiply_adds(build(input_shape=(source, target))) == encoder + decoder + target * dim * 20


def paper(model, source, target, heads):
    """§3 for one pair of texts without padding, in NumPy, with the model's weights: one block on each side."""
    weights = {w.path: keras.ops.convert_to_numpy(w).astype(np.float64) for w in model.weights}

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * weights[f"{name}/gamma"] + weights[f"{name}/beta"]

    def dense(x, name):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    def attention(x, context, name, causal=False):
        query, key, value = (
            dense(given, f"{name}/{part}").reshape(len(given), heads, -1)
            for given, part in ((x, "query"), (context, "key"), (context, "value"))
        )
        mixed = []
        for head in range(heads):
            scores = query[:, head] @ key[:, head].T / math.sqrt(query.shape[-1])
            scores = np.exp(scores) * (np.tril(np.ones(scores.shape)) if causal else 1)
            mixed.append(scores / scores.sum(-1, keepdims=True) @ value[:, head])
        return dense(np.concatenate(mixed, -1), f"{name}/output")

    def mlp(x, name):
        return dense(np.maximum(dense(x, f"{name}_hidden"), 0), f"{name}_output")

    embeddings = weights["stem_embedding/embeddings"]
    dim = embeddings.shape[1]

    def embedded(text):
        waves = [
            [(math.cos if i % 2 else math.sin)(place / 10_000 ** (i // 2 * 2 / dim)) for i in range(dim)]
            for place in range(len(text))
        ]
        return embeddings[text] * math.sqrt(dim) + np.array(waves)

    x = embedded(source)
    x = norm(x + attention(x, x, "stage1_attention"), "stage1_attention_norm")
    encoded = norm(x + mlp(x, "stage1_mlp"), "stage1")
    x = embedded(target)
    x = norm(x + attention(x, x, "stage2_self_attention", causal=True), "stage2_self_attention_norm")
    x = norm(x + attention(x, encoded, "stage2_cross_attention"), "stage2_cross_attention_norm")
    return norm(x + mlp(x, "stage2_mlp"), "stage2") @ embeddings.T


def test_it_computes_the_papers_equations():
    model = build(input_shape=(None, None))
    source, target = tokens(1, 6), tokens(1, 5, seed=1)
    expected = paper(model, source[0], target[0], heads=2)
    np.testing.assert_allclose(np.asarray(model([source, target]))[0], expected, rtol=1e-3, atol=1e-3)


def test_the_encoder_can_be_cut_off_and_run_once():
    model = build(input_shape=(None, None), depth=2)
    source, target = (keras.ops.convert_to_tensor(text) for text in some_input(model))
    encoder = keras.Model(model.inputs[0], model.get_layer("encoder").output)
    decoder = keras.Model([model.inputs[0], encoder.output, model.inputs[1]], model.output)
    assert "stage1_attention" not in [layer.name for layer in decoder.layers]
    np.testing.assert_allclose(decoder([source, encoder(source), target]), model([source, target]), atol=1e-5)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("pre_norm", [False, True])
def test_every_block_is_a_stage_and_the_last_ends_normalised(name, pre_norm):
    model = build(name, depth=2, pre_norm=pre_norm)
    count = 4 if name == "transformer" else 2
    assert list(zoo.stages(model)) == [f"stage{i}" for i in range(1, count + 1)]
    for last in {2, count}:
        assert isinstance(model.get_layer(f"stage{last}"), keras.layers.LayerNormalization)
    assert set(zoo.stages(model).values()) == {(8, 16)}


def test_normalising_before_and_after_differ():
    post, pre = build(), build(pre_norm=True)
    x = some_input(post)
    assert np.abs(np.asarray(post(x)) - np.asarray(pre(x))).max() > 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_shape": (8,)}, r"must be \(source_length, target_length\). Received: \(8,\)"),
        ({"dim": 15}, r"dim a multiple of heads. Received: .*dim=15"),
        ({"depth": 0}, r"must be positive, .* Received: depth=0"),
        ({"max_length": 7}, r"at most 7 tokens. Received: 8"),
    ],
)
def test_a_network_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)


def test_a_classifier_reads_one_text():
    with pytest.raises(
        ValueError, match=r"input_shape of 'transformer_classifier' must be \(length,\). Received: \(8, 8"
    ):
        build("transformer_classifier", input_shape=(8, 8))
