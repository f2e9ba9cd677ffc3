"""What lies at Hugging Face beside the weights: vocabularies, settings, labels; read from folders like those there."""

import json

import numpy as np
import pytest

import export
import recipes
import zoo
from recipes import tokenizers
from recipes.published_input import labels, read
from tests.zoo.test_huggingface import bert_tensors, gpt2_tensors, livened, vit_tensors, write

TEXTS = ["the cat sat on the mat", "a dog barks at the cat", "Ärger!", "one two three"] * 4
LABELS = {"0": "calm", "1": "loud", "2": "calm"}
SMALL = {"dim": 32, "depth": 2, "heads": 2, "max_length": 16}


@pytest.fixture
def bert(tmp_path):
    """A BERT of two blocks, with the heads that tensors of the name say."""

    def folder(task="text-classification", **config):
        tokenizer = tokenizers.WordPiece.fit(TEXTS, 60)
        vocabulary_size = len(tokenizer.vocabulary)
        network = zoo.build(
            "bert_base", input_shape=(None,), num_classes=3, task=task, vocabulary_size=vocabulary_size, **SMALL
        )
        path = tmp_path / task
        config = {"vocab_size": vocabulary_size, "id2label": LABELS, **config}
        weights = write(path, "bert_base", bert_tensors(livened(network)), **config)
        (path / "vocab.txt").write_text("\n".join(tokenizer.vocabulary) + "\n")
        (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
        return weights, network

    return folder


@pytest.fixture
def gpt2(tmp_path):
    """A GPT-2 of two blocks."""
    tokenizer = tokenizers.BytePairs.fit(TEXTS, 280)
    vocabulary = ["!", *(token for token in tokenizer.vocabulary[3:] if token != "!"), "<|endoftext|>"]
    network = zoo.build(
        "gpt2_small", input_shape=(None,), vocabulary_size=len(vocabulary), dim=16, depth=2, heads=2, max_length=16
    )
    weights = write(tmp_path / "gpt2", "gpt2_small", gpt2_tensors(livened(network)), vocab_size=len(vocabulary))
    (tmp_path / "gpt2" / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    merges = "".join(f"{left} {right}\n" for left, right in tokenizer.merges)
    (tmp_path / "gpt2" / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    return weights, network


def lines(folder):
    path = folder / "lines.txt"
    path.write_text("\n".join(TEXTS))
    return path


@pytest.mark.parametrize(
    "task",
    [
        "token-classification",
        pytest.param("text-classification", marks=pytest.mark.slow),
        pytest.param("masked-language-modeling", marks=pytest.mark.slow),
    ],
)
def test_every_head_of_a_published_bert_becomes_a_run(bert, task, tmp_path):
    weights, network = bert(task)
    run = recipes.pretrained(
        "bert_base", weights, task=task, run_dir=tmp_path / "run", examples=lines(tmp_path),
        model_args={"dim": 32, "depth": 2, "heads": 2},
    )  # fmt: skip
    ids = run.bundle.preprocess({"text": TEXTS[:3]})
    np.testing.assert_allclose(run.model(ids), network(ids), atol=1e-5)
    again = recipes.load_run(run.dir)
    assert again.bundle.labels == ((), ("calm (0)", "loud", "calm (2)"))[task.endswith("classification")]
    if task == "masked-language-modeling":
        assert all(text.count(b"[MASK]") == 1 for text in again.examples.raw["text"])
    assert export.publish(again, tmp_path / "served").number == 1


@pytest.mark.slow
def test_a_published_gpt2_becomes_a_run_that_writes(gpt2, tmp_path):
    weights, network = gpt2
    arguments = {"dim": 16, "depth": 2, "heads": 2}
    run = recipes.pretrained(
        "gpt2_small", weights, run_dir=tmp_path / "run", examples=lines(tmp_path), model_args=arguments
    )
    ids = run.bundle.preprocess({"text": TEXTS[:3]})
    np.testing.assert_allclose(run.model(ids), network(ids), atol=1e-5)
    assert run.bundle.preprocess({"text": ["!!"]}).tolist() == [[0, 0]]
    version = export.publish(run, tmp_path / "served")
    assert "generate" in export.verify(version.path).signatures


def test_a_head_that_the_weights_do_not_have_is_not_made_up(bert, tmp_path):
    weights, _ = bert("masked-language-modeling")
    with pytest.raises(ValueError, match=r"cannot answer text-classification.*Other tasks: .*masked"):
        recipes.pretrained(
            "bert_base", weights, run_dir=tmp_path / "run", examples=lines(tmp_path),
            model_args={"dim": 32, "depth": 2, "heads": 2},
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_published_bert_is_fine_tuned_with_its_own_vocabulary(bert, tmp_path):
    weights, network = bert("masked-language-modeling")
    run = recipes.text_classification(
        "bert_base", (TEXTS, [0, 1] * 8), weights=weights, run_dir=str(tmp_path / "run"), freeze="backbone",
        model_args={"dim": 32, "depth": 2, "heads": 2}, epochs=1, validation=0, test=0, max_length=8, verbose=False,
    )  # fmt: skip
    assert run.bundle.preprocessing.tokenizer == read(weights).tokenizer
    for ours, theirs in zip(*(m.get_layer("stage2").get_weights() for m in (run.model, network)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_without_a_vocabulary_are_refused(bert, tmp_path):
    weights, _ = bert()
    (tmp_path / "text-classification" / "vocab.txt").unlink()
    with pytest.raises(ValueError, match=r"holds no vocab\.txt"):
        recipes.text_classification("bert_base", (TEXTS, [0, 1] * 8), weights=weights, run_dir=str(tmp_path / "run"))


def test_pictures_are_prepared_as_their_record_says(tmp_path):
    network = livened(zoo.build("vit_base16", **{**zoo.spec("vit_base16").tiny, "depth": 2}))
    weights = write(tmp_path / "vit", "vit_base16", vit_tensors(network), id2label=LABELS)
    said = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(said))
    found = read(weights)
    assert (found.height, found.width, found.resize) == (16, 16, "bicubic")
    black_and_white = found.of_unit(np.array([0.0, 1.0])[:, None, None, None])
    np.testing.assert_allclose(black_and_white[:, 0, 0, 0], [-1, 1])
    assert labels(weights) == ("calm (0)", "loud", "calm (2)")
