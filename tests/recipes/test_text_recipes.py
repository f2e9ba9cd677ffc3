"""What the recipes of text promise beyond what every recipe does: tags, masks, samples, memory, first weights."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import recipes
import zoo
from recipes import tokenizers
from recipes.config import LanguageConfig
from recipes.draws import Draws
from recipes.preprocessing import TextPreprocessing
from recipes.tasks.masked_language_modeling import (
    answering_at_places,
    answers_token_by_token,
    at_places,
    hidden,
    marked_windows,
)
from recipes.tasks.token_classification import phrases
from recipes.tokens import NOTHING, TokenCrossentropy
from zoo.architectures.transformer_xl import in_segments

TEXTS = ["the cat sat on the mat.", "a dog barks", "Ärger!", "", "one two three four five six seven eight"]
SMALL = {"dim": 16, "depth": 1, "heads": 2}
QUICK = {"epochs": 1, "validation": 0, "test": 0, "verbose": False, "model_args": SMALL, "max_length": 16}
SAMPLED = {"epochs": 2, "samples": 2}


def wordpiece(size=300):
    return tokenizers.WordPiece.fit(TEXTS, size)


@pytest.fixture
def train(tmp_path):
    """Train quickly, into a folder of the test's own."""

    def trained(recipe, model, data, **options):
        return recipe(model, data, run_dir=str(tmp_path / "run"), **{**QUICK, **options})

    return trained


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """A Run that fills masks. Its network has places for 32 tokens, of which windows of 16 were read."""
    folder = tmp_path_factory.mktemp("masked")
    options = {**QUICK, **SAMPLED, "model_args": {**SMALL, "max_length": 32}}
    return recipes.masked_language_modeling("bert_tiny", TEXTS * 3, run_dir=str(folder / "run"), **options)


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """A Run that goes on with a text."""
    folder = tmp_path_factory.mktemp("language")
    return recipes.language_modeling("gpt", TEXTS * 3, run_dir=str(folder / "run"), **{**QUICK, **SAMPLED})


# Masked language modeling


def test_fifteen_of_a_hundred_tokens_are_asked_for_and_most_of_them_hidden():
    tokenizer = wordpiece()
    ids = tf.constant(np.random.default_rng(0).integers(0, len(tokenizer.vocabulary), (400, 100)), tf.int32)
    x, y = (tensor.numpy() for tensor in hidden(ids, tokenizer, 0.15, Draws(1, 2)))
    ordinary, asked = tokenizer.is_text(ids).numpy(), y != NOTHING
    assert not (asked & ~ordinary).any()
    assert (x == ids.numpy())[~asked].all()
    assert (y == ids.numpy())[asked].all()
    assert asked[ordinary].mean() == pytest.approx(0.15, abs=0.01)
    assert (x == tokenizer.mask)[asked].mean() == pytest.approx(0.8, abs=0.02)
    assert (x == y)[asked].mean() == pytest.approx(0.1, abs=0.02)
    assert tokenizer.is_text(x[asked & (x != tokenizer.mask)]).numpy().all()


def test_other_tokens_are_hidden_at_every_step_and_the_same_ones_again():
    tokenizer = wordpiece()
    ids = tf.fill([10, 50], 7)
    first, again, other = (hidden(ids, tokenizer, 0.15, Draws(0, step))[1].numpy() for step in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_windows_stand_between_start_and_end_and_lose_no_token():
    tokenizer = wordpiece()
    for count in (1, 5, 6, 7, 12, 13):
        ids = np.arange(10, 10 + count)
        windows = marked_windows(ids, 8, tokenizer)
        assert windows.shape == (-(-count // 6), 8)
        assert (windows[:, 0] == tokenizer.start).all()
        assert ((windows == tokenizer.end).sum(axis=1) == 1).all()
        np.testing.assert_array_equal(windows[tokenizer.is_text(windows).numpy()], ids)


def test_only_what_is_asked_for_goes_through_the_head_with_the_same_loss():
    model = zoo.build("bert_tiny", **zoo.spec("bert_tiny").tiny, task="masked-language-modeling")
    ids = tf.constant(np.random.default_rng(0).integers(1, 20, (5, 8)), tf.int32)
    asked = tf.where(np.random.default_rng(1).random((5, 8)) < 0.3, ids, NOTHING)
    asked = tf.concat([asked[:4], tf.fill([1, 8], NOTHING)], axis=0)  # of the last window nothing is asked
    x, y = at_places(ids, asked)
    assert y.shape[1] == tf.reduce_max(tf.math.count_nonzero(asked != NOTHING, axis=1)) < 8
    losses, gradients = [], []
    for network, inputs, targets in ((model, ids, asked), (answering_at_places(model), x, y)):
        with tf.GradientTape() as tape:
            losses.append(TokenCrossentropy()(targets, network(inputs)))
        gradients.append(tape.gradient(losses[-1], [weight.value for weight in model.trainable_weights]))
    np.testing.assert_allclose(*losses, rtol=1e-6)
    for expected, found in zip(*(map(tf.convert_to_tensor, each) for each in gradients), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_a_head_that_looks_at_other_tokens_sees_them_all():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    stage = keras.layers.Embedding(10, 4, name="stage1")(tokens)
    alone, beside = keras.layers.Dense(10), keras.layers.Conv1D(10, 3, padding="same")
    assert answers_token_by_token(keras.Model(tokens, alone(stage)))
    assert not answers_token_by_token(keras.Model(tokens, alone(keras.layers.Embedding(10, 4)(tokens))))
    assert not answers_token_by_token(keras.Model(tokens, beside(stage)))
    assert not answers_token_by_token(keras.Model(tokens, alone(keras.ops.cumsum(stage, axis=1))))


def test_masks_in_a_text_are_filled(masked):
    tokenizer = masked.bundle.preprocessing.tokenizer
    answer = masked.bundle.predict({"text": ["the [MASK] sat on the [MASK]", "no mask", ""]})
    assert answer["tokens"].shape == (3, 2, 5)
    filled = answer["filled_text"][0].decode()
    best = [piece.decode() for piece in answer["tokens"][0, :, 0]]
    assert "[MASK]" not in filled
    assert all(piece in tokenizer.vocabulary for piece in best)
    assert (answer["tokens"][1:] == b"").all()
    assert (answer["probabilities"][1:] == 0).all()
    assert (np.diff(answer["probabilities"][0]) <= 0).all()
    assert answer["filled_text"][2] == b""


def test_the_examples_of_a_masked_language_model_hide_a_word(masked):
    for text, word in zip(masked.examples.raw["text"], masked.examples.truth, strict=True):
        assert text.decode().replace("[MASK]", word) in TEXTS


@pytest.mark.slow
def test_a_vocabulary_without_a_mask_is_refused(train, tmp_path):
    train(recipes.text_classification, "bert_tiny", (TEXTS * 2, [0, 1] * 5), tokenizer="words")
    with pytest.raises(ValueError, match="has no mask"):
        train(recipes.masked_language_modeling, "bert_tiny", TEXTS, weights=str(tmp_path / "run"), overwrite=True)


# Tags


def test_a_word_is_tagged_by_its_first_token():
    preprocessing = TextPreprocessing(tokenizers.Characters.fit(TEXTS, 50), 12, by_word=True)
    words, places = preprocessing.words(tf.constant(["the  cat\nsat", "", "abcdefghijklmnop q"]))
    assert words.to_list() == [[b"the", b"cat", b"sat"], [], [b"abcdefghijklmnop", b"q"]]
    assert places.to_list() == [[1, 4, 7], [], [1, 12]]
    ids = preprocessing({"text": tf.constant(["the  cat\nsat"])})
    assert preprocessing.tokenizer.decode(ids).numpy() == [b"thecatsat"]


def test_tags_are_learned_from_lists_of_words(train):
    texts = [["Ada", "met", "Grace", "Hopper"], ["nobody", "came"], ["Grace", "slept"]] * 8
    tags = [["B-PER", "O", "B-PER", "I-PER"], ["O", "O"], ["B-PER", "O"]] * 8
    run = train(recipes.token_classification, "bert_tiny", (texts, tags), epochs=60, learning_rate=0.01)
    assert run.metrics == {"accuracy": 1.0, "f1": 1.0}
    answer = run.bundle.predict({"text": ["Grace Hopper came", "Ada", ""]})
    assert answer["words"].tolist() == [[b"Grace", b"Hopper", b"came"], [b"Ada", b"", b""], [b"", b"", b""]]
    assert answer["classes"].tolist() == [[b"B-PER", b"I-PER", b"O"], [b"B-PER", b"", b""], [b"", b"", b""]]
    assert answer["probabilities"].shape == (3, 3, 3)
    assert recipes.evaluate(run, (texts, tags)) == run.metrics


def test_the_answer_to_a_text_does_not_depend_on_its_batch(train):
    texts, tags = ["one two three", "four"] * 6, ["A B A", "B"] * 6
    run = train(recipes.token_classification, "bert_tiny", (texts, tags))
    together = run.bundle.predict({"text": texts[:2]})
    alone = run.bundle.predict({"text": texts[:2]}, batch_size=1)
    assert together["words"].tolist() == alone["words"].tolist()
    np.testing.assert_allclose(together["probabilities"], alone["probabilities"], atol=1e-5)


def test_phrases_are_counted_whole():
    tags = ["O", "B-PER", "I-PER", "I-LOC", "B-PER", "B-PER"]
    assert phrases(tags, [0] * 6) == {(1, 3, "PER"), (3, 4, "LOC"), (4, 5, "PER"), (5, 6, "PER")}
    assert (1, 2, "PER") in phrases(tags, [0, 0, 1, 1, 1, 1])


def test_other_numbers_of_words_and_tags_are_refused(train):
    with pytest.raises(ValueError, match=r"Row 1 .* has 2 words and 1 tags"):
        train(recipes.token_classification, "bert_tiny", (["a b", "c d"], ["X Y", "X"]))
    pairs = tf.data.Dataset.from_tensor_slices((["a b", "c d"] * 6, ["X Y", "X"] * 6))
    with pytest.raises(tf.errors.InvalidArgumentError, match="not as many words as tags"):
        train(recipes.token_classification, "bert_tiny", pairs)


# Samples


def test_samples_are_written_after_every_epoch(train, masked, language):
    arguments = {"dim": 8, "units": 8}
    pairs = train(recipes.sequence_to_sequence, "seq2seq_lstm", (TEXTS, TEXTS), **SAMPLED, model_args=arguments)
    for run in (pairs, masked, language):
        lines = (run.dir / "samples.txt").read_text().splitlines()
        assert [line for line in lines if not line.startswith("  ")] == ["epoch 1", "epoch 2"]
        assert len(lines) == 2 * (1 + 2)
        assert all(re.match("  .* → ", line) for line in lines if line.startswith("  "))


def test_without_samples_there_is_no_file(train):
    assert not (train(recipes.language_modeling, "gpt", TEXTS, samples=0).dir / "samples.txt").exists()


# Memory


def test_segments_are_trained_with_the_memory_of_those_before(train):
    arguments = {"dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "mlp_dim": 16, "memory_length": 8}
    run = train(recipes.language_modeling, "transformer_xl", TEXTS * 8, segments=4, samples=0, model_args=arguments)
    assert run.facts["options"]["segments"] == 4
    x = np.random.default_rng(0).integers(1, 10, (2, 16))
    remembering = in_segments(run.model, 4, 4, memory_length=16)
    np.testing.assert_allclose(remembering(x), run.model(x), atol=1e-5)


def test_segments_need_a_memory(train):
    with pytest.raises(ValueError, match="Only RelativeAttention has a memory"):
        train(recipes.language_modeling, "gpt", TEXTS, segments=4)
    with pytest.raises(ValueError, match="multiple of segments"):
        LanguageConfig(max_length=16, segments=3)


# Weights to begin with


def test_a_masked_language_model_is_fine_tuned(train, masked):
    labelled = (TEXTS * 2, [0, 1] * 5)
    options = {"weights": str(masked.dir), "max_length": 8, "freeze": "backbone"}
    run = train(recipes.text_classification, "bert_tiny", labelled, **options)
    assert run.bundle.preprocessing.tokenizer == masked.bundle.preprocessing.tokenizer
    assert run.bundle.preprocessing.max_length == 8
    for name in ("stem_tokens", "stage1"):
        for ours, theirs in zip(*(m.get_layer(name).get_weights() for m in (run.model, masked.model)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    positions = (model.get_layer("stem_positions").get_weights()[0] for model in (run.model, masked.model))
    np.testing.assert_array_equal(next(positions), next(positions)[:8])


def test_a_language_model_goes_on_learning_with_its_head(train, language):
    again = train(recipes.language_modeling, "gpt", TEXTS * 3, weights=str(language.dir), learning_rate=1e-9)
    assert again.metrics["perplexity"] == pytest.approx(language.metrics["perplexity"], rel=1e-4)


def test_more_places_than_the_weights_have_are_not_made_up(masked):
    size = len(masked.bundle.preprocessing.tokenizer.vocabulary)
    model = zoo.build("bert_tiny", input_shape=(None,), vocabulary_size=size, max_length=64, **SMALL)
    with pytest.raises(ValueError, match=r"'stem_positions' has the shapes \(32, 16\)"):
        zoo.load_weights(model, "bert_tiny", str(masked.dir))


@pytest.mark.slow
def test_longer_texts_than_the_weights_have_read_fill_their_places(train, masked):
    """As BERT is pre-trained: on short windows first, then on long ones."""
    options = {"weights": str(masked.dir), "max_length": 32, "samples": 0}
    run = train(recipes.masked_language_modeling, "bert_tiny", TEXTS * 3, **options)
    assert run.bundle.preprocessing.max_length == run.model.get_layer("stem_positions").max_length == 32


def test_facts_of_a_masked_language_model_are_those_of_fixed_masks(masked):
    assert recipes.evaluate(masked, TEXTS * 3) == masked.metrics
    assert json.loads((masked.dir / "metrics.json").read_text())["metrics"] == masked.metrics
