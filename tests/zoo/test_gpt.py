"""What is special to GPT: the reference's computation, banded attention, a cache, and how weights begin."""

import math

import keras
import numpy as np
import pytest
from keras import ops

import zoo
from zoo import graphs

TINY = zoo.spec("gpt2_small").tiny


def build(**arguments):
    return zoo.build("gpt2_small", **{**TINY, **arguments})


def livened(model, seed=0):
    """The model with weights large enough for every part of it to matter."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def texts(length, count=2, seed=1):
    return np.random.default_rng(seed).integers(0, TINY["vocabulary_size"], (count, length)).astype(np.int32)


@pytest.fixture(scope="module")
def reference():
    """KerasHub's GPT-2 with random weights."""
    import keras_hub  # here, as it brings TensorFlow Text with it

    return livened(
        keras_hub.models.GPT2Backbone(
            vocabulary_size=TINY["vocabulary_size"],
            num_layers=TINY["depth"],
            num_heads=TINY["heads"],
            hidden_dim=TINY["dim"],
            intermediate_dim=4 * TINY["dim"],
            max_sequence_length=TINY["max_length"],
        )
    )


def copy(reference, model):
    """Give our model the weights of KerasHub's."""

    def give(name, *sources):
        values = [value for source in sources for value in source.get_weights()]
        layer = model.get_layer(name)
        layer.set_weights([value.reshape(mine.shape) for value, mine in zip(values, layer.weights, strict=True)])

    give("stem_tokens", reference.token_embedding)
    give("stem_positions", reference.position_embedding)
    for i, layer in enumerate(reference.transformer_layers, 1):
        attention = layer._self_attention_layer
        give(f"stage{i}_attention_norm", layer._self_attention_layer_norm)
        give(
            f"stage{i}_attention",
            *(getattr(attention, f"_{part}_dense") for part in ("query", "key", "value", "output")),
        )
        give(f"stage{i}_mlp_norm", layer._feedforward_layer_norm)
        give(f"stage{i}_mlp_hidden", layer._feedforward_intermediate_dense)
        give(f"stage{i}_mlp_output", layer._feedforward_output_dense)
    give(f"stage{TINY['depth']}", reference.layer_norm)
    return model


@pytest.mark.parametrize("length", [5, 16])
def test_it_computes_what_kerashub_computes(reference, length):
    tokens, real = texts(length), np.ones((2, length), np.int32)
    real[1, length - 2 :] = 0
    tokens *= real
    hidden = reference({"token_ids": tokens, "padding_mask": real})
    logits = reference.token_embedding(hidden, reverse=True)
    model = copy(reference, build(input_shape=(length,)))
    mine = zoo.features(model, "stage2")(tokens)
    np.testing.assert_allclose(np.asarray(mine)[real > 0], np.asarray(hidden)[real > 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.asarray(model(tokens))[real > 0], np.asarray(logits)[real > 0], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("window", [1, 3])
def test_every_second_block_sees_exactly_its_window(window):
    model = livened(build(depth=4, banded_window=window))
    windows = [model.get_layer(f"stage{i}_attention").window for i in range(1, 5)]
    assert windows == [None, window, None, window]
    block = keras.Model(model.get_layer("stage1").output, model.get_layer("stage2").output)
    x = np.random.default_rng(0).normal(size=(1, 8, 16)).astype(np.float32)
    before = np.asarray(block(x))
    for place in range(8):
        other = x.copy()
        other[:, place] += np.random.default_rng(1).normal(size=16)
        changed = (np.asarray(block(other)) != before).any((0, 2))
        assert changed.tolist() == [place <= query < place + window for query in range(8)]


@pytest.mark.parametrize("window", [None, 2])
def test_one_token_at_a_time_is_the_whole(window):
    model = livened(build(banded_window=window, input_shape=(None,)))
    tokens = texts(9)
    caches = {
        layer.name: [np.full((2, layer.num_heads, 12, layer.head_dim), 9, np.float32)] * 2
        for layer in model.layers
        if hasattr(layer, "keys_and_values")
    }

    def step_at(place):
        index = ops.full((2,), place, "int32")

        def replace(layer):
            def attend(x, **_):
                answer, caches[layer.name] = layer.step(x, caches[layer.name], index)
                return answer

            if layer.name in caches:
                return attend
            return (lambda x: layer.step(x, index)) if hasattr(layer, "step") else layer

        return replace

    answers = [graphs.run(model, tokens[:, i : i + 1], step_at(i)) for i in range(tokens.shape[1])]
    np.testing.assert_allclose(np.concatenate(answers, axis=1), model(tokens), rtol=1e-4, atol=1e-4)


def test_weights_begin_as_in_the_paper():
    keras.utils.set_random_seed(0)
    model = build(dim=64, depth=8, vocabulary_size=500, max_length=100)
    ends = 0.02 / math.sqrt(2 * 8)
    for weight in model.weights:
        value = np.asarray(weight)
        if weight.name in ("bias", "beta", "gamma"):
            assert (value == (weight.name == "gamma")).all()
        else:
            ends_branch = "attention/output" in weight.path or "mlp_output" in weight.path
            assert value.std() == pytest.approx(ends if ends_branch else 0.02, rel=0.1), weight.path
    kernels = [np.asarray(w) for w in model.weights if w.path.startswith("stage1_attention/") and w.name == "kernel"]
    assert not np.allclose(kernels[0], kernels[1])


def test_logits_come_from_the_embedding():
    model = livened(build())
    tokens = texts(8)
    expected = (
        np.asarray(zoo.features(model, "stage2")(tokens)) @ np.asarray(model.get_layer("stem_tokens").embeddings).T
    )
    np.testing.assert_allclose(model(tokens), expected, rtol=1e-4, atol=1e-4)
    assert model.layers[-1].name == "logits"
    assert len([w for w in model.weights if "stem_tokens" in w.path]) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_shape": (8, 2)}, r"input_shape of 'gpt2_small' must be \(length,\). Received: \(8, 2\)"),
        ({"input_shape": (17,)}, "places for at most 16 tokens. Received: 17"),
        ({"heads": 3}, r"dim a multiple of heads. Received: .*heads=3"),
        ({"banded_window": 0}, "A window needs .* at least one key. Received: window=0"),
    ],
)
def test_a_network_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)
