"""What all networks of text have in common: nothing sees padding or the future, in half precision and in a file too.

Those that are registered are proved further by the tests of every model; these prove their variants, too.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import catalog

VARIANTS = [
    ("bert_tiny", {"segments": True}),
    ("gpt", {"banded_window": 2}),
    ("gru", {"num_layers": 2}),
    ("seq2seq_lstm", {"attention": True, "num_layers": 2, "dropout": 0.1}),
    ("seq2seq_lstm", {"attention": True, "share_embeddings": True}),
    ("transformer", {"pre_norm": True, "depth": 2}),
    ("transformer_classifier", {"pre_norm": True, "depth": 2}),
]


def registered():
    """Every tiny network of text that is registered, once: the members of a family are the same one."""
    networks = {}
    for name, entry in catalog.read().items():
        spec = zoo.spec(name)
        for task in entry["tasks"] if "vocabulary_size" in spec.arguments else ():
            networks.setdefault(entry["tiny"]["networks"][task]["fingerprint"], (name, spec.task_argument(task)))
    return list(networks.values())


def of(cases):
    ids = ["-".join([name, *(f"{key}={value}" for key, value in arguments.items())]) for name, arguments in cases]
    return pytest.mark.parametrize(("name", "arguments"), cases, ids=ids)


EVERY = [*registered(), *VARIANTS]
DECODERS = [case for case in EVERY if {*zoo.spec(case[0]).tasks} & {"language-modeling", "sequence-to-sequence"}]


def build(name, arguments, **more):
    """A tiny network with weights large enough for every part of it to matter."""
    model = zoo.build(name, **{**zoo.spec(name).tiny, **arguments, **more})
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.4, weight.shape))
    return model


def texts(model, *lengths, width=8):
    """Random token ids, and segments, for every input: of rows of these lengths, with padding behind."""
    rng, real = np.random.default_rng(0), np.arange(width) < np.array(lengths)[:, None]
    return [real * rng.integers(1, 2 if x.name == "segments" else 20, real.shape, np.int32) for x in model.inputs]


def answer(model, inputs):
    return np.asarray(model(inputs if len(inputs) > 1 else inputs[0]))


@of(EVERY)
def test_more_padding_changes_no_answer(name, arguments):
    model = build(name, arguments, input_shape=(None,) * len(zoo.spec(name).tiny["input_shape"]))
    inputs = texts(model, 6, 2, 0, width=6)
    before = answer(model, inputs)
    assert np.isfinite(before).all()
    more = answer(model, [np.pad(text, ((0, 0), (0, 3))) for text in inputs])
    alone = answer(model, [text[1:2, :2] for text in inputs])
    if before.ndim == 2:
        np.testing.assert_allclose(more, before, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(alone, before[1:2], rtol=1e-4, atol=1e-5)
    else:
        for row, length in enumerate((6, 2, 1)):  # of an empty text the first place is read
            np.testing.assert_allclose(more[row, :length], before[row, :length], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(alone, before[1:2, :2], rtol=1e-4, atol=1e-5)


def changes(model, inputs, which):
    """Whether the answer at a place changes with each token of an input, bool `(token's place, answer's place)`."""
    inputs = [np.repeat(text, 8, axis=0) for text in inputs]
    before = answer(model, inputs)
    inputs[which] = np.where(np.eye(8, dtype=bool), inputs[which] % 19 + 1, inputs[which])
    return (np.abs(answer(model, inputs) - before) > 1e-6).any(-1)


@of(DECODERS)
def test_a_decoder_sees_all_that_came_before_and_nothing_ahead(name, arguments):
    model = build(name, arguments)
    inputs = texts(model, 8)
    np.testing.assert_array_equal(changes(model, inputs, -1), np.triu(np.ones((8, 8), bool)))
    if len(inputs) == 2:
        assert changes(model, inputs, 0).any(1).all()


@pytest.fixture
def half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@of(EVERY)
def test_half_precision_gives_finite_logits_in_full(name, arguments, half_precision):
    model = zoo.build(name, **{**zoo.spec(name).tiny, **arguments})
    assert {layer.compute_dtype for layer in model.layers if "stage1" in layer.name} == {"bfloat16"}
    inputs = texts(model, 8, 5, 0)
    logits = model(inputs if len(inputs) > 1 else inputs[0])
    assert logits.dtype == "float32"
    assert np.isfinite(logits).all()


@of(VARIANTS)
def test_the_gradient_reaches_every_weight_of_a_variant(name, arguments):
    model = zoo.build(name, **{**zoo.spec(name).tiny, **arguments})
    inputs = texts(model, 8, 5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(inputs if len(inputs) > 1 else inputs[0], training=True) - 5) ** 2)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None, f"{weight.path} has no gradient"
        assert np.any(tf.convert_to_tensor(gradient)), f"the gradient of {weight.path} is 0"


@of(VARIANTS)
def test_a_file_gives_a_variant_back(name, arguments, tmp_path):
    model = build(name, arguments)
    model.save(tmp_path / "model.keras")
    inputs = texts(model, 8, 5)
    np.testing.assert_array_equal(
        answer(keras.saving.load_model(tmp_path / "model.keras"), inputs), answer(model, inputs)
    )


@of(VARIANTS)
def test_without_its_top_a_variant_gives_the_last_stage(name, arguments):
    model, headless = build(name, arguments), build(name, arguments, include_top=False)
    inputs = texts(model, 8, 5)
    last = zoo.features(model, list(zoo.stages(model))[-1])
    np.testing.assert_allclose(answer(headless, inputs), answer(last, inputs), atol=1e-5)
