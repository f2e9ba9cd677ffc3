"""Every Run gets the pictures that its data allow, and none of them costs a training."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import recipes
from recipes import plots
from recipes.examples import UNKNOWN
from tests import writers
from tests.export import small_runs

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(40, 3)).astype(np.float32)
SIDE = np.array(["$a^$", "b"], object)[(ROWS[:, 0] > 0).astype(int)]
TEXTS = np.array([f"{'yes' if i % 2 else 'no'} costs $5, {i}_" for i in range(40)], object)
SMALL_GPT = {"dim": 16, "depth": 1, "heads": 2}


@pytest.mark.parametrize(
    ("recipe", "model", "arguments", "data", "drawn"),
    [
        (recipes.regression, "linear_regression", {}, (ROWS[:, :1], ROWS[:, 1]), {"predictions"}),
        (recipes.regression, "linear_regression", {}, (ROWS, ROWS[:, :2]), {"predictions"}),
        (recipes.binary_classification, "logistic_regression", {}, (ROWS[:, :2], SIDE), {"predictions", "confusion"}),
        (recipes.binary_classification, "logistic_regression", {}, (ROWS, SIDE), {"predictions", "confusion"}),
        (recipes.text_classification, "text_cnn", {}, (TEXTS, np.arange(40) % 2), {"predictions", "confusion"}),
        pytest.param(recipes.language_modeling, "gpt", SMALL_GPT, list(TEXTS), {"predictions"}, marks=pytest.mark.slow),
    ],
    ids=["line", "values", "plane", "scores", "texts", "language"],
)
def test_a_run_has_its_pictures(recipe, model, arguments, data, drawn, tmp_path, drawing, caplog):
    with drawing():
        run = recipe(model, data, run_dir=str(tmp_path / "run"), epochs=2, verbose=False, model_args=arguments)
    assert "could not be drawn" not in caplog.text
    assert {path.stem for path in run.dir.glob("*.png")} == {"curves", *drawn}
    for path in run.dir.glob("*.png"):
        with Image.open(path) as picture:
            shades = np.asarray(picture.convert("L"))
        assert np.unique(shades).size > 10


def test_a_picture_that_cannot_be_drawn_costs_no_training(tmp_path, monkeypatch, drawing, caplog):
    def broken(run):
        raise RuntimeError("no font")

    monkeypatch.setattr("recipes.plots.curves", broken)
    with drawing():
        run = recipes.binary_classification(
            "logistic_regression", (ROWS, SIDE), run_dir=str(tmp_path / "run"), epochs=2, verbose=False
        )
    assert recipes.load_run(run.dir).metrics == run.metrics
    assert "curves.png could not be drawn" in caplog.text


def test_every_answer_to_a_text_can_be_told():
    """What is drawn beside a text: a class, tags, what comes next, what a mask hides, what is written."""
    share = np.array([[0.25, 0.75]])
    assert list(plots._SAID["class"]({"classes": [b"yes"], "probabilities": share})) == [("yes", 0.75)]
    tags = {"classes": np.array([[b"O", b"B-PER", b""]], object)}
    assert plots._SAID["tags"](tags) == [("O B-PER", None)]
    tokens = np.array([[b"the", b"a"]], object)
    following = {"next_tokens": tokens, "next_probabilities": share[:, ::-1]}
    assert plots._SAID["next-token"](following) == [("the", 0.75)]
    hidden = {"tokens": tokens[:, None], "probabilities": share[:, None, ::-1]}
    assert plots._SAID["masked"](hidden) == [("the", 0.75)]
    assert plots._SAID["written"]({"generated_text": np.array(["Ärger".encode()], object)}) == [("Ärger", None)]


@pytest.mark.parametrize(
    ("run", "truth"),
    [(lambda: small_runs.writing_run(writers.transformer), "cba"), (lambda: small_runs.writing_run(writers.gpt), "")],
    ids=["written", "next"],
)
def test_texts_are_drawn_with_what_is_answered(run, truth):
    run = run()
    run.examples = dataclasses.replace(run.examples, truth=np.full(len(run.examples), truth, object))
    drawn = [text.get_text() for text in plots.texts(run, {}, None).axes[0].texts]
    assert len(drawn) == 2 * len(run.examples)
    assert all(("true: cba" in said) == bool(truth) for said in drawn[::2])


def test_what_nobody_knows_is_judged_by_nobody():
    assert plots._judged("cat", UNKNOWN) == plots._judged("cat", "") == ("", "black")
    assert plots._judged("cat", "cat") == ("", "green")
    assert plots._judged("cat", "dog") == ("true: dog", "red")
