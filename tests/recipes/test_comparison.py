"""Runs side by side: what differs is shown, the best is marked, and what cannot be compared is said so."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import recipes
from recipes import comparison, curves
from recipes.report_commands import compare as command


def write_run(folder, *, task="image-classification", metrics=None, fingerprint="f", history=(0.9, 0.5), **options):
    """The files of a Run that tell of it, without its network."""
    folder.mkdir(parents=True)
    card = {"architecture": "lenet5", "parameters": 61706, "data": "digits"}
    (folder / "bundle.json").write_text(json.dumps({"task": task, "card": card}))
    facts = {
        "metrics": metrics or {"accuracy": 0.9},
        "command": f"zoo train {folder.name}",
        "seconds": {"total": 12.3},
        "options": {"epochs": len(history), "seed": 0, "learning_rate": None, **options},
        "data": {"name": "digits", "fingerprint": fingerprint, "examples": {"train": 80, "test": 20}},
        "evaluated_on": "test",
    }
    (folder / "metrics.json").write_text(json.dumps(facts))
    lines = [f"{i + 1},{loss},{loss + 0.1},0.001,1.0" for i, loss in enumerate(history)]
    (folder / "history.csv").write_text("\n".join(["epoch,loss,val_loss,learning_rate,seconds", *lines]))
    return folder


def change(folder, **facts):
    path = folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


@pytest.fixture
def three(tmp_path):
    figures = [{"accuracy": 0.9, "rmse": 2.0}, {"accuracy": 0.95, "rmse": 3.0}, {"accuracy": 0.95}]
    return [
        write_run(tmp_path / name, metrics=metrics, learning_rate=rate, seed=3)
        for name, metrics, rate in zip("abc", figures, (None, 0.1, 0.1), strict=True)
    ]


def test_the_best_is_marked_and_what_differs_is_shown(three):
    found = recipes.compare(three)
    assert found.not_comparable == ()
    assert found.best == {"accuracy": (1, 2), "rmse": (0,)}
    assert found.options == {"learning_rate": (None, 0.1, 0.1)}
    rows = found.rows()
    assert rows["accuracy"] == ["0.9000", "0.9500 *", "0.9500 *"]
    assert rows["rmse"] == ["2.0000 *", "3.0000", "–"]
    assert rows["--learning-rate"] == ["–", "0.1", "0.1"]
    assert rows["parameters"] == ["61,706"] * 3
    assert "--seed" not in rows


def test_markdown_has_a_run_per_row(three):
    lines = recipes.compare(three).markdown().splitlines()
    assert (
        lines[0] == "| run | model | data | parameters | epochs | figures of the test part | learning_rate | seconds |"
    )
    assert lines[3] == "| b | lenet5 | digits | 61,706 | 2 | accuracy **0.9500**, rmse 3.0000 | 0.1 | 12 |"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"task": "regression"}, "Different tasks: image-classification, regression."),
        ({"fingerprint": "g"}, "Different data: digits has changed in between."),
    ],
)
def test_other_tasks_and_data_are_not_compared(other, said, tmp_path):
    found = recipes.compare([write_run(tmp_path / "a"), write_run(tmp_path / "b", metrics={"accuracy": 0.95}, **other)])
    assert found.not_comparable == (said,)
    assert found.best == {}
    assert found.rows()["accuracy"] == ["0.9000", "0.9500"]


def test_other_examples_are_not_compared(tmp_path):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1)
    assert recipes.compare([a, b]).not_comparable == ()
    data = json.loads((b / "metrics.json").read_text())["data"]
    change(b, data={**data, "drawn": ["validation", "test"]})
    assert "another seed" in recipes.compare([a, b]).not_comparable[0]
    change(b, data={**data, "examples": {"train": 70, "test": 30}})
    assert "30 examples of the test part" in recipes.compare([a, b]).not_comparable[0]
    change(b, evaluated_on=None, data={**data, "fingerprint": None, "examples": {}})
    assert recipes.compare([a, b]).not_comparable == ("Not evaluated on any data: b.",)


def test_folders_of_one_name_are_told_apart(tmp_path):
    folders = [write_run(tmp_path / parent / "run") for parent in "ab"]
    assert recipes.compare(folders).names == tuple(map(str, folders))


def test_what_holds_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no run.*metrics.json not found"):
        recipes.compare([tmp_path])
    with pytest.raises(ValueError, match="Nothing to compare"):
        recipes.compare([])
    (write_run(tmp_path / "a") / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"metrics.json cannot be read"):
        recipes.compare([tmp_path / "a"])


def test_the_command_prints_a_table_json_and_curves(three, tmp_path):
    words = [str(folder) for folder in three]
    told = CliRunner().invoke(command, [*words, "--plot", str(tmp_path / "curves.png")])
    assert told.exit_code == 0
    assert "0.9500 *" in told.stdout
    with Image.open(tmp_path / "curves.png") as picture:
        assert np.unique(np.asarray(picture.convert("L"))).size > 10
    record = json.loads(CliRunner().invoke(command, [*words, "--json"]).stdout)
    assert record["best"] == {"accuracy": ["b", "c"], "rmse": ["a"]}
    assert [run["options"] for run in record["runs"]] == [{"learning_rate": rate} for rate in (None, 0.1, 0.1)]
    assert CliRunner().invoke(command, [*words, "--json", "--markdown"]).exit_code == 2


def test_every_run_has_its_colour_and_its_name(tmp_path):
    runs = recipes.compare([write_run(tmp_path / f"run{i}") for i in range(12)])
    figure = curves.curves_of_several(dict(zip(runs.names, (run.history for run in runs.runs), strict=True)))
    (panel,) = figure.axes
    lines = [line for line in panel.lines if line.get_linestyle() == "-" and len(line.get_xdata())]
    assert len({line.get_color() for line in lines}) == 12
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(runs.names)


def test_no_curves_of_runs_without_training(tmp_path):
    folder = write_run(tmp_path / "a", history=())
    with pytest.raises(ValueError, match="No curves to draw: a"):
        recipes.compare([folder]).plot(tmp_path / "curves.png")


def test_less_is_better_where_figures_are_of_errors():
    assert comparison._best("mae", [1.0, 0.5, None, float("nan")]) == (1,)
    assert comparison._best("mean_iou", [1.0, 0.5]) == (0,)
    assert comparison._best("accuracy", [0.5, 0.5]) == ()
