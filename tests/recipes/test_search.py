"""A search: every trial is a Run, the best one is named, and one that was stopped goes on as if it had not been."""

import json
import re
import shlex
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import recipes
import zoo
from recipes import callbacks
from recipes.config import Config
from recipes.evaluation import TASKS
from recipes.searching import space, spaces
from recipes.searching.commands import search as command
from recipes.searching.space import Numbers, Values

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(int)
SPACE = {"learning_rate": "log(1e-3,1e-1)", "optimizer": "adam,momentum"}
OPTIONS = {"trials": 3, "epochs": 2, "batch_size": 16, "validation": 0.4, "space": SPACE, "verbose": False}


def search(folder, **options):
    return recipes.search("logistic_regression", (X, Y), run_dir=str(folder), **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return search(tmp_path_factory.mktemp("whole") / "search")


def told(found):
    return [(trial.dir.name, trial.values, trial.epochs, trial.score) for trial in found.trials]


def test_every_trial_is_a_run_judged_on_validation(whole):
    assert [trial.dir.name for trial in whole.trials] == ["trial-0000", "trial-0001", "trial-0002"]
    for trial in whole.trials:
        run = recipes.load_run(trial.dir)
        assert run.history["val_accuracy"].iloc[-1] == pytest.approx(trial.score)
        assert {name: run.facts["options"][name] for name in SPACE} == trial.values
        assert run.facts["options"]["batch_size"] == 16
    assert len({trial.values["learning_rate"] for trial in whole.trials}) == 3


def test_the_best_trial_has_the_best_score_and_its_command(whole):
    assert whole.best.score == max(trial.score for trial in whole.trials)
    assert whole.ranked[0] == whole.best
    assert f"learning_rate={whole.best.values['learning_rate']}" in whole.command


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path, whole, monkeypatch):
    begun = []
    begin = callbacks.History.on_epoch_begin

    def stopped_in_the_fourth_epoch(self, epoch, logs=None):
        begun.append(epoch)
        if len(begun) == 4:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.History, "on_epoch_begin", stopped_in_the_fourth_epoch)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "search", checkpoint_every="1step")
    with pytest.raises(ValueError, match="holds trials already"):
        search(tmp_path / "search")
    begun.clear()
    with monkeypatch.context() as patch:
        patch.setattr(
            callbacks.History, "on_epoch_begin", lambda self, *args: begun.append(args[0]) or begin(self, *args)
        )
        found = search(tmp_path / "search", resume=True, checkpoint_every="1step")
    assert begun == [1, 0, 1]  # the rest of the second trial, and the third
    assert told(found) == told(whole)
    with pytest.raises(ValueError, match=r"is no trial of this search: l2=0\.0 where 0\.5 is proposed"):
        search(tmp_path / "search", resume=True, l2=0.5)


@pytest.mark.slow  # five trainings
def test_hyperband_makes_the_best_longer_and_comes_to_what_a_long_training_gives(tmp_path):
    found = search(tmp_path / "search", oracle="hyperband", epochs=3, trials=4)
    *short, longer = found.trials
    assert [trial.epochs for trial in found.trials] == [1, 1, 1, 3]
    best = max(short, key=lambda trial: trial.score)
    assert longer.values == best.values
    # The first epoch took as long to the millisecond: it was not gone through again.
    assert recipes.load_run(longer.dir).history.iloc[0].equals(recipes.load_run(best.dir).history.iloc[0])
    alone = recipes.binary_classification(
        "logistic_regression", (X, Y), run_dir=str(tmp_path / "run"), **longer.options
    )
    for a, b in zip(recipes.load_run(longer.dir).model.get_weights(), alone.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow  # six trainings
def test_the_oracle_that_learns_proposes_the_same_where_it_goes_on(tmp_path):
    whole = search(tmp_path / "whole", oracle="bayesian", trials=8, epochs=1)
    search(tmp_path / "search", oracle="bayesian", trials=7, epochs=1)
    assert told(search(tmp_path / "search", oracle="bayesian", trials=8, epochs=1, resume=True)) == told(whole)


@pytest.mark.slow  # three trainings
def test_a_trial_whose_loss_becomes_nan_is_no_end(tmp_path):
    rates = {"learning_rate": "1e-3,1e30"}
    options = {"epochs": 3, "optimizer": "sgd", "space": rates, "trials": 5, "validation": 0.4, "verbose": False}
    found = recipes.search("linear_regression", (X, X.sum(1)), run_dir=str(tmp_path / "search"), **options)
    assert {trial.values["learning_rate"]: trial.score is None for trial in found.trials} == {1e-3: False, 1e30: True}
    assert found.best.values == {"learning_rate": 1e-3}
    again = recipes.search("linear_regression", (X, X.sum(1)), run_dir=str(tmp_path / "search"), **options, resume=True)
    assert told(again) == told(found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"space": {"learnin_rate": "1,2"}}, "Did you mean 'learning_rate'?", id="unknown-option"),
        pytest.param({"space": {"model_args.width": "1,2"}}, "Unknown argument of the builder 'width'", id="argument"),
        pytest.param({"space": {"validation": "0.1,0.2"}}, "Unknown option of the space 'validation'", id="of-data"),
        pytest.param({"space": {"learning_rate": "log(0,1)"}}, "is no space. Accepted:", id="log-of-zero"),
        pytest.param({"space": {"learning_rate": "uniform(1,0.1)"}}, "the lower number first", id="order"),
        pytest.param({"space": {"learning_rate": ","}}, "is no space", id="empty"),
        pytest.param({"space": {"l2": "uniform(-1,1)"}}, "l2 must be a number of at least 0", id="refused-value"),
        pytest.param({"space": {"optimizer": "adam,adm"}}, "Did you mean 'adam'?", id="refused-word"),
        pytest.param({"learning_rate": 0.1}, "learning_rate is in the space and given as 0.1, too", id="fixed"),
        pytest.param({"validation": 0}, "has no validation part", id="no-validation"),
        pytest.param({"oracle": "grid"}, "Unknown oracle 'grid'", id="oracle"),
        pytest.param({"trials": 0}, "trials must be a whole number of at least 1", id="trials"),
        pytest.param({"oracle": "hyperband", "patience": 2}, "Received: patience", id="hyperband-patience"),
        pytest.param({"resume": True}, "There is no search to go on with", id="nothing-to-resume"),
        pytest.param({"epoch": 3}, "Did you mean 'epochs'?", id="recipe-option"),
    ],
)
def test_bad_searches_are_refused_before_anything_is_trained(tmp_path, options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        search(tmp_path / "search", **options)
    assert not (tmp_path / "search").exists()


def test_without_the_package_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_tuner", None)
    monkeypatch.delitem(sys.modules, "recipes.searching.tuner", raising=False)
    with pytest.raises(ImportError, match=re.escape("pip install servable-zoo[search]")):
        search(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "parsed"),
    [
        ("learning_rate", "log(1e-4, 1e-1)", Numbers(1e-4, 1e-1, log=True)),
        ("dropout", "uniform(0,0.5)", Numbers(0, 0.5)),
        ("batch_size", "log(8,128)", Numbers(8, 128, log=True, whole=True)),
        ("model_args.width", "uniform(8,64)", Numbers(8, 64, whole=True)),
        ("optimizer", "adam, momentum", Values(("adam", "momentum"))),
        ("shuffle", "true,false", Values((True, False))),
        ("clip_norm", "null,1", Values((None, 1))),
    ],
)
def test_spaces_are_read(name, text, parsed):
    assert space.parse({name: text}, Config) == {name: parsed}


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_a_space_that_its_recipe_accepts(task):
    config, model = TASKS[task][1], zoo.spec(zoo.list_models(task=task)[0])
    found = spaces.usual(task, {}, model.arguments)
    space.check(found, config, {}, model.arguments)
    assert "learning_rate" in found
    assert "learning_rate" not in spaces.usual(task, {"learning_rate": 0.1}, model.arguments)
    assert spaces.objective(task, config()).removeprefix("val_") in (
        "accuracy", "mean_iou", "mae", "perplexity", "frechet", "loss"
    )  # fmt: skip


def test_a_builder_that_takes_no_dropout_is_not_given_any():
    usual = spaces.usual("image-classification", {}, zoo.spec("lenet5").arguments)
    assert "dropout" not in usual
    assert "dropout" in spaces.usual("image-classification", {}, zoo.spec("mlp").arguments)


def test_of_accuracy_and_iou_more_is_better_of_all_else_less():
    assert callbacks.more_is_better("val_accuracy")
    assert callbacks.more_is_better("val_mean_iou")
    assert not callbacks.more_is_better("val_loss")
    assert not callbacks.more_is_better("frechet")


def test_the_command_prints_trials_and_what_repeats_the_best(tmp_path):
    file = tmp_path / "data.csv"
    rows = "\n".join(f"{a},{b},{c},{'yes' if y else 'no'}" for (a, b, c), y in zip(X, Y, strict=True))
    file.write_text(f"a,b,c,label\n{rows}\n")
    folder = tmp_path / "search"
    words = ["logistic_regression", "--data", str(file), "--trials", "1", "--epochs", "1", "--run-dir", str(folder)]
    words += ["--space", "learning-rate=log(1e-3,1e-1)", "--no-verbose"]
    printed = CliRunner().invoke(command, words, catch_exceptions=False).output
    assert f"Best Run: {folder}/trial-0000." in printed
    repeated = shlex.split(printed.splitlines()[-1])
    assert repeated[:5] == ["zoo", "train", "logistic_regression", "--data", str(file)]
    assert repeated[repeated.index("--run-dir") + 1] == f"{folder}-best"
    record = json.loads(CliRunner().invoke(command, [*words, "--resume", "--json"], catch_exceptions=False).output)
    assert record["best"] == f"{folder}/trial-0000"
    assert record["trials"][0]["values"].keys() == {"learning_rate"}
    assert shlex.split(record["command"]) == repeated


def test_the_command_says_what_is_no_space():
    result = CliRunner().invoke(command, ["mlp", "--data", "digits", "--space", "learning_rate"])
    assert result.exit_code == 2
    assert "is not an option's name, = and what may be tried for it" in result.output
    twice = ["--space", "l2=0,1", "--space", "l2=0,2"]
    assert "names an option twice" in CliRunner().invoke(command, ["mlp", "--data", "digits", *twice]).output
