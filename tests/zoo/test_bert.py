"""What is special to BERT: the reference's computation, both sides seen, one body under several heads."""

import keras
import numpy as np
import pytest

import zoo

TINY = {**zoo.spec("bert_base").tiny, "depth": 2}


def build(**arguments):
    return zoo.build("bert_base", **{**TINY, **arguments})


def livened(model, seed=0):
    """The model with weights large enough for every part of it to matter."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def texts(*lengths, seed=1):
    """Token ids without 0, each text padded with 0 to the longest: int32 `(batch, length)`."""
    rows = np.zeros((len(lengths), max(lengths)), np.int32)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = np.random.default_rng([seed, length]).integers(1, TINY["vocabulary_size"], length)
    return rows


@pytest.fixture(scope="module")
def reference():
    """KerasHub's BERT with random weights. It approximates GELU, which the paper's code does not."""
    import keras_hub  # here, as it brings TensorFlow Text with it

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=TINY["vocabulary_size"],
        num_layers=TINY["depth"],
        num_heads=TINY["heads"],
        hidden_dim=TINY["dim"],
        intermediate_dim=4 * TINY["dim"],
        max_sequence_length=TINY["max_length"],
    )
    for layer in backbone.transformer_layers:
        layer._feedforward_intermediate_dense.activation = keras.activations.gelu
    return livened(backbone)


def copy(reference, model):
    """Give our model the weights of KerasHub's, and its head random ones."""
    livened(model)

    def give(name, *sources):
        values = [value for source in sources for value in source.get_weights()]
        layer = model.get_layer(name)
        layer.set_weights([value.reshape(mine.shape) for value, mine in zip(values, layer.weights, strict=True)])

    give("stem_tokens", reference.token_embedding)
    give("stem_segments", reference.segment_embedding)
    give("stem_positions", reference.position_embedding)
    give("stem_norm", reference.embeddings_layer_norm)
    for i, layer in enumerate(reference.transformer_layers, 1):
        attention = layer._self_attention_layer
        give(
            f"stage{i}_attention",
            *(getattr(attention, f"_{part}_dense") for part in ("query", "key", "value", "output")),
        )
        give(f"stage{i}_attention_norm", layer._self_attention_layer_norm)
        give(f"stage{i}_mlp_hidden", layer._feedforward_intermediate_dense)
        give(f"stage{i}_mlp_output", layer._feedforward_output_dense)
        give(f"stage{i}", layer._feedforward_layer_norm)
    if "head_pooler" in {layer.name for layer in model.layers}:
        give("head_pooler", reference.pooled_dense)
    return model


@pytest.mark.parametrize("length", [5, 16])
@pytest.mark.parametrize("segments", [False, True])
def test_it_computes_what_kerashub_computes(reference, length, segments):
    tokens = texts(length, length - 3, 1)
    kinds = np.random.default_rng(2).integers(0, 2, tokens.shape) if segments else np.zeros_like(tokens)
    expected = reference({"token_ids": tokens, "segment_ids": kinds, "padding_mask": tokens != 0})
    model = copy(reference, build(input_shape=(length,), segments=segments))
    answers = zoo.features(model, ["stage2", "head_pooler"])([tokens, kinds] if segments else tokens)
    real = tokens != 0
    np.testing.assert_allclose(
        np.asarray(answers[0])[real], np.asarray(expected["sequence_output"])[real], rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(answers[1], expected["pooled_output"], rtol=1e-5, atol=1e-5)


def test_every_token_sees_those_on_both_sides():
    model = livened(build(task="token-classification", input_shape=(None,)))
    tokens, other = texts(6), texts(6)
    other[0, 3] = tokens[0, 3] % 19 + 1
    changed = np.abs(np.asarray(model(tokens)) - np.asarray(model(other))).max((0, 2))
    assert (changed > 1e-4).all()


def test_a_second_input_tells_the_segments():
    model = livened(build(segments=True))
    assert [tensor.name for tensor in model.inputs] == ["tokens", "segments"]
    tokens = texts(8, 5)
    one, two = np.zeros_like(tokens), np.ones_like(tokens)
    plain = build()
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(model({"tokens": tokens, "segments": one}), plain(tokens), rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(model([tokens, one])) - np.asarray(model([tokens, two]))).max() > 1e-2


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        ("text-classification", (None, 3)),
        ("token-classification", (None, 8, 3)),
        ("masked-language-modeling", (None, 8, 20)),
    ],
)
def test_every_task_has_its_head_on_the_same_body(task, shape):
    model = build(task=task)
    assert model.output_shape == shape
    assert model.layers[-1].name == "logits"
    body = build(task=task, include_top=False)
    assert body.output_shape == (None, 8, 32)
    of_body = {weight.path for weight in body.weights}
    assert of_body == {w.path for w in model.weights if w.path.startswith(("stem", "stage"))}


def test_masked_tokens_are_told_by_the_embedding_and_a_bias():
    model = livened(build(task="masked-language-modeling"))
    tokens = texts(8)
    hidden = zoo.features(model, "head_norm")(tokens)
    embeddings, bias = model.get_layer("stem_tokens").embeddings, model.get_layer("head_bias").bias
    expected = np.asarray(hidden) @ np.asarray(embeddings).T + np.asarray(bias)
    np.testing.assert_allclose(model(tokens), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_shape": (8, 2)}, r"input_shape of 'bert_base' must be \(length,\). Received: \(8, 2\)"),
        ({"input_shape": (17,)}, "places for at most 16 tokens. Received: 17"),
        ({"dim": 15}, r"dim a multiple of heads. Received: .*dim=15"),
        ({"depth": 0}, r"must be positive, .* Received: depth=0"),
        ({"task": "language-modeling"}, "task of 'bert_base' 'language-modeling'. Did you mean 'masked-language"),
    ],
)
def test_a_network_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)
