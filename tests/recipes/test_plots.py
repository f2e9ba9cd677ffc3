"""Every Run gets the pictures that its data allow, and none of them costs a training."""

import numpy as np
import pytest
from PIL import Image

import recipes

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
        pytest.param(recipes.language_modeling, "gpt", SMALL_GPT, list(TEXTS), set(), marks=pytest.mark.slow),
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
