"""The rows of RESULTS.md are experiments that can be repeated, and its tables say what was measured."""

import errno
import json
import re
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import recipes
from recipes import callbacks, records
from recipes.experiment_commands import reproduce as command
from recipes.experiments import document, few_scans, measured, reproduction
from recipes.experiments.experiment import Experiment, FewScans, RunOf
from recipes.experiments.measured import Interval, Measured, OneRun
from recipes.experiments.rows import EXPERIMENTS, TABLES, select

RESULTS = Path(__file__).parents[2] / "RESULTS.md"
GATE = EXPERIMENTS["perceptron-and"]


def invoked(*words):
    return CliRunner().invoke(command, [str(word) for word in words])


def known(accuracy=(0.9, 1.0), seeds=(0, 1, 2)):
    """Measured of `perceptron-and`, with such an interval."""
    runs = tuple(OneRun(seed, 30, 3.0, {"accuracy": 1.0, "auc": 1.0}) for seed in seeds)
    return Measured(reproduction.command_of(GATE), 3, runs, {"accuracy": Interval(*accuracy)})


def test_results_say_what_was_measured():
    assert document.filled(RESULTS.read_text(), measured.read()) == RESULTS.read_text()


def test_every_table_of_trainings_is_one_of_experiments():
    text = RESULTS.read_text()
    assert [name for name, _ in document.BLOCK.findall(text)] == list(TABLES)
    lines = document.BLOCK.sub("", text).splitlines()
    headers = [line for line, below in pairwise(lines) if re.fullmatch(r"\|[-:| ]+\|", below)]
    columns = {cell.strip() for header in headers for cell in header.split("|")}
    assert {"model", "requests/s"} <= columns
    assert not columns & {"epochs", "seed", "seeds", "figures of the test part"}


def test_what_was_measured_is_what_the_experiments_say():
    stored = measured.read()
    assert list(stored) == [name for name in EXPERIMENTS if name in stored]
    for name, one in stored.items():
        assert one.command == reproduction.command_of(EXPERIMENTS[name])
        assert all(figure in run.metrics for run in one.runs for figure in EXPERIMENTS[name].judged_by)
        assert tuple(one.expected) == (EXPERIMENTS[name].judged_by if len(one.runs) >= measured.ENOUGH else ())


def test_experiments_have_one_name_and_take_what_comes_before():
    rows = [row for table in TABLES.values() for row in table]
    assert len({row.name for row in rows} | set(TABLES)) == len(rows) + len(TABLES)
    before = set()
    for row in rows:
        assert {run.experiment for run in row.takes} <= before
        before.add(row.name)


@pytest.mark.parametrize(
    ("patterns", "count"), [(["mlp-*"], 3), (["mixup"], 2), (["mixup", "cifar10*", "lenet5-d*"], 3)]
)
def test_names_patterns_and_tables_select(patterns, count):
    assert len(select(patterns)) == count


def test_the_interval_is_that_of_one_more_run():
    found = measured.interval("accuracy", [0.90, 0.91, 0.92])
    assert found.low == pytest.approx(0.91 - 4.3027 * 0.01 * np.sqrt(4 / 3) - measured.RESOLUTION, abs=1e-5)
    draws = np.random.default_rng(0).normal(10, 3, (2000, 4))
    inside = [last in measured.interval("rmse", list(first)) for *first, last in draws]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_the_interval_ends_where_figures_do():
    assert measured.interval("accuracy", [0.98, 1.0, 1.0]).high == 1
    assert measured.interval("rmse", [0.01, 0.5, 0.6]).low == 0
    assert measured.interval("accuracy", [0.3, 0.6, 0.7]).low == 0
    assert measured.interval("r2", [0.01, 0.5, 0.6]).low < 0
    assert 1.0 in measured.interval("accuracy", [1.0, 1.0, 1.0])
    assert 0.75 not in measured.interval("accuracy", [1.0, 1.0, 1.0])


def test_later_runs_do_not_move_the_interval():
    one = Measured("zoo train", 3, (OneRun(0, 1, 1.0, {"rmse": 1.0}),))
    assert one.with_runs([OneRun(1, 1, 1.0, {"rmse": 2.0})], ["rmse"]).expected == {}
    three = one.with_runs([OneRun(seed, 1, 1.0, {"rmse": 1.0 + seed / 10}) for seed in (2, 1)], ["rmse"])
    assert [run.seed for run in three.runs] == [0, 1, 2]
    later = three.with_runs([OneRun(2, 1, 1.0, {"rmse": 9.0})], ["rmse"])
    assert later.expected == three.expected
    assert later.outside() == [2]
    assert len(later.runs) == 3


def test_what_was_measured_comes_back(tmp_path):
    measured.write(
        {"perceptron-and": known(), "mlp-xor": Measured("zoo", None, (OneRun(0, 1, None, {"auc": 0.1}),))},
        tmp_path / "m",
    )
    found = measured.read(tmp_path / "m")
    assert found["perceptron-and"] == known()
    assert found["mlp-xor"].seconds is None
    assert measured.read(tmp_path / "none") == {}
    (tmp_path / "m").write_text('{"mlp-xor": {}}')
    with pytest.raises(ValueError, match="cannot be read as what experiments gave"):
        measured.read(tmp_path / "m")


def test_a_table_says_mean_deviation_seeds_and_what_is_outside():
    runs = tuple(OneRun(seed, 2 + seed, 10.0, {"accuracy": value}) for seed, value in enumerate((0.98, 0.99, 0.97)))
    one = Measured("zoo train lenet5", 61706, runs, {"accuracy": Interval(0.975, 1.0)})
    text = document.table("mnist", {"lenet5-mnist": one})
    assert (
        "| lenet5-mnist | 61,706 | 2 to 4 | accuracy 0.9800 ± 0.0100 | 0.9750 to 1.0000, **outside**: seed 2 | "
        "0.9905 (LeCun et al. 1998, III.B) | 0, 1, 2 | 10 |\n"
    ) in text
    assert "| mlp-mnist | – | – | – | – | – | – | – |\n" in text
    assert "$ zoo train lenet5\n" in document.console("mnist", {"lenet5-mnist": one})


def test_a_document_keeps_all_but_its_tables():
    filled = document.filled("a\n<!-- table bert -->\nold\n<!-- end of table -->\nb\n", {})
    assert filled.startswith("a\n<!-- table bert -->\n| experiment |")
    assert filled.endswith("```\n<!-- end of table -->\nb\n")
    assert "old" not in filled
    assert document.filled(filled, {}) == filled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- table brt -->\n<!-- end of table -->", "Did you mean 'bert'?"),
        (
            "<!-- table bert -->\n<!-- table gpt -->\n<!-- end of table -->",
            "has no end. Accepted: <!-- end of table -->",
        ),
        ("<!-- table bert -->\nrows", "has no end. Accepted: <!-- end of table -->"),
    ],
    ids=["unknown", "another-begins", "none-ends"],
)
def test_a_broken_document_is_refused(text, said, tmp_path):
    with pytest.raises(ValueError, match=re.escape(said)):
        document.filled(text, {})
    (tmp_path / "R.md").write_text(text)
    done = invoked("perceptron-and", "--write", tmp_path / "R.md", "--runs-dir", tmp_path / "runs")
    assert isinstance(done.exception, ValueError)
    assert [path.name for path in tmp_path.iterdir()] == ["R.md"]  # nothing was trained
    assert (tmp_path / "R.md").read_text() == text


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "m").write_text("before")
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        measured.write({GATE.name: known()}, tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert (tmp_path / "m").read_text() == "before"


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """A row trained by the command with two seeds, recorded and written, with JSON."""
    folder = tmp_path_factory.mktemp("reproduced")
    measured.write({GATE.name: known(seeds=(4, 5, 6))}, folder / "measured.json")
    (folder / "R.md").write_text("<!-- table small -->\n<!-- end of table -->\n")
    words = [GATE.name, "--seeds", "0,1", "--runs-dir", folder / "runs", "--measured", folder / "measured.json"]
    return folder, words, invoked(*words, "--record", "--write", folder / "R.md", "--json")


def test_a_row_is_trained_recorded_and_written(reproduced):
    folder, _, done = reproduced
    assert done.exit_code == 0, done.output
    first, second = json.loads(done.stdout)
    assert (first["seed"], first["metrics"]["accuracy"], first["outside"]) == (0, 1.0, [])
    assert first["expected"] == {"accuracy": [0.9, 1.0]}
    run = records.read(second["run"])
    assert run.dir == folder / "runs" / "perceptron-and" / "seed-1"
    assert run.facts["options"]["batch_size"] == 1
    assert [run.seed for run in measured.read(folder / "measured.json")[GATE.name].runs] == [0, 1, 4, 5, 6]
    assert "| perceptron-and | 3 | 30 | accuracy 1.0000 ± 0.0000, " in (folder / "R.md").read_text()


def test_outside_of_the_interval_is_exit_status_1_and_trains_nothing_again(reproduced, tmp_path):
    folder, words, _ = reproduced
    before = (folder / "runs/perceptron-and/seed-0/metrics.json").stat().st_mtime_ns
    measured.write({GATE.name: known(accuracy=(0.2, 0.8))}, tmp_path / "measured.json")
    done = invoked(*words[:-1], tmp_path / "measured.json")
    assert done.exit_code == 1
    assert "perceptron-and, seed 1: accuracy 1.0000, outside of 0.2000 to 0.8000" in done.stdout
    assert (folder / "runs/perceptron-and/seed-0/metrics.json").stat().st_mtime_ns == before


def test_what_was_measured_too_rarely_is_told_and_not_judged(reproduced, tmp_path):
    done = invoked(*reproduced[1][:-1], tmp_path / "nothing.json", "--record")
    assert done.exit_code == 0
    assert "seed 0: accuracy 1.0000, not judged: too few Runs are known" in done.stdout
    assert measured.read(tmp_path / "nothing.json")[GATE.name].expected == {}


def test_runs_of_another_command_are_forgotten(reproduced, tmp_path):
    run = records.read(reproduced[0] / "runs/perceptron-and/seed-0")
    measured.write({GATE.name: Measured("zoo train otherwise", 3, known().runs)}, tmp_path / "m")
    reproduction.record(GATE, [run], tmp_path / "m")
    assert [one.seed for one in measured.read(tmp_path / "m")[GATE.name].runs] == [0]


def test_a_run_that_was_made_otherwise_is_refused_and_stays(reproduced, tmp_path):
    run = tmp_path / "perceptron-and" / "seed-0"
    run.mkdir(parents=True)
    for name in ("bundle.json", "history.csv", "metrics.json"):
        (run / name).write_text((reproduced[0] / "runs/perceptron-and/seed-0" / name).read_text())
    facts = json.loads((run / "metrics.json").read_text())
    facts["options"]["learning_rate"] = 7.0
    (run / "metrics.json").write_text(json.dumps(facts))
    with pytest.raises(
        ValueError, match=r"made otherwise than perceptron-and is\. Its learning_rate was 7\.0, not 0\.5"
    ):
        reproduction.run_of(GATE, 0, tmp_path)
    assert json.loads((run / "metrics.json").read_text()) == facts


def test_a_stopped_training_goes_on(tmp_path, monkeypatch):
    short = Experiment("short", "logistic_regression", "gates/or", {"epochs": 3, "checkpoint_every": "1steps"})
    begin = callbacks.History.on_epoch_begin
    epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        epochs.append(epoch)
        if len(epochs) == 3:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    monkeypatch.setattr(callbacks.History, "on_epoch_begin", on_epoch_begin)
    with pytest.raises(KeyboardInterrupt):
        reproduction.run_of(short, 0, tmp_path, verbose=False)
    assert len(reproduction.run_of(short, 0, tmp_path, verbose=False).history) == 3
    assert epochs == [0, 1, 2, 2]


def test_what_an_experiment_takes_is_made_first(tmp_path, monkeypatch):
    options = {"epochs": 1, "train_split": "train[:10%]", "model_args": {"hidden_sizes": (4,)}}
    monkeypatch.setitem(EXPERIMENTS, "first", Experiment("first", "mlp", "digits", options))
    tuned = Experiment("tuned", "mlp", "digits", {**options, "weights": RunOf("first", fresh=True)})
    run = reproduction.run_of(tuned, 1, tmp_path, verbose=False)
    first, fresh = recipes.load_run(tmp_path / "first" / "seed-0"), tmp_path / "first" / "fresh-1"
    assert run.facts["options"]["weights"] == str(fresh)
    assert not (fresh / "metrics.json").exists()
    weights = keras.saving.load_model(fresh / "model.keras").get_weights()
    assert [one.shape for one in weights] == [one.shape for one in first.model.get_weights()]
    assert np.abs(weights[0] - first.model.get_weights()[0]).min() > 0


def test_few_scans_are_drawn_by_the_seed():
    first, again, other = (few_scans.draw(FewScans(3), seed) for seed in (0, 0, 1))
    assert first["train"][0].shape == (30, 8, 8, 1)
    assert len(first["test"][0]) == 360
    np.testing.assert_array_equal(first["train"][0], again["train"][0])
    assert (first["train"][0] != other["train"][0]).any()
    labels, counts = np.unique(first["train"][1], return_counts=True)
    assert (labels[0], set(counts)) == ("digit 0", {3})


def test_the_list_says_what_is_expected():
    listed = {entry["experiment"]: entry for entry in json.loads(invoked("--list", "--json").stdout)}
    assert list(listed) == list(EXPERIMENTS)
    assert listed["gan-fashion_mnist"]["takes"] == ["lenet5_judge-fashion_mnist"]
    assert listed["lenet5-mnist"]["published"]["value"] == 0.9905
    low, high = listed["perceptron-and"]["expected"]["accuracy"]
    assert low < 1 <= high
    assert "perceptron-and" in invoked("--list", "perceptron-*").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lenet5-digit"], "Did you mean 'lenet5-digits'?"),
        (["lenet9*"], "Unknown experiment 'lenet9*'"),
        ([], "Nothing to do. Accepted: names of experiments, --list, or --write."),
        (["--list", "--record"], "--list trains and writes nothing"),
        (["--record", "--write", str(RESULTS)], "nothing is trained"),
        (["perceptron-and", "--measured", "nowhere.json"], "--measured nowhere.json is not there"),
        (["perceptron-and", "--seeds", "0,0"], "each once"),
        (["perceptron-and", "--seeds", "-1"], "at least 0"),
        (["perceptron-and", "--seeds", ","], "each once"),
        (["perceptron-and", "--seeds", "one"], "not a list of int"),
    ],
    ids=[
        "name",
        "pattern",
        "nothing",
        "list-records",
        "record-nothing",
        "no-file",
        "twice",
        "negative",
        "no-seed",
        "no-number",
    ],
)
def test_wrong_usage_says_what_is_accepted(words, said):
    done = invoked(*words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_seed_too_large_is_refused_before_anything_is_trained(tmp_path):
    done = invoked("perceptron-and", "--seeds", f"0,{2**33}", "--runs-dir", tmp_path)
    assert "seed must be a whole number" in str(done.exception)
    assert not list(tmp_path.iterdir())
