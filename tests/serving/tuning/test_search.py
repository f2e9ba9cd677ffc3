"""Which setting is found, when a gain counts, and what is written of it. The servers are computed."""

import json
import re

import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from PIL import Image

from serving.protos import serving_pb2 as pb
from serving.tuning import commands
from serving.tuning.plot import front
from serving.tuning.search import tune
from serving.tuning.settings import Batching, Setting
from tests.serving.tuning.servers import Servers

LIMIT = 50.0  # milliseconds; the servers hold it up to 0.8 of their capacity


def batching_helps(setting):
    if setting.batching is None:
        return 100
    return 800 if setting.batching == Batching(32, 1000, 4) else 300


def searched(servers):
    return tune(servers.start, LIMIT, 4, lambda found: None)


def test_the_rate_that_a_setting_holds_is_found_to_a_tenth():
    for capacity in (3, 100, 12345):
        outcome = searched(Servers(lambda setting, capacity=capacity: capacity))
        assert 0.8 * capacity / 1.1 <= outcome.found[0].rate <= 0.8 * capacity


def test_the_best_batching_is_found_and_tried_again():
    servers = Servers(batching_helps)
    outcome = searched(servers)
    assert outcome.best.setting == Setting(batching=Batching(32, 1000, 4))
    ours, plain = outcome.confirmation
    assert ours.latency_ms["p99"] <= LIMIT < plain.latency_ms["p99"]
    assert servers.starts[str(outcome.best.setting)] == servers.starts["as it comes"] == 2
    assert len({str(found.setting) for found in outcome.found}) == len(outcome.found) == 1 + 2 + 6


def test_batches_are_tried_with_the_best_threads():
    outcome = searched(Servers(lambda setting: 400 if setting.op_threads == 1 else 100))
    assert outcome.best.setting == Setting(op_threads=1)
    assert all(found.setting.op_threads == 1 for found in outcome.found if found.setting.batching)


def test_no_gain_where_nothing_is_better():
    outcome = searched(Servers(lambda setting: 100))
    assert outcome.best is outcome.candidate is None
    assert outcome.confirmation == ()


def test_no_gain_where_it_is_not_seen_again():
    """A machine that was busy while the server was measured as it comes."""
    servers = Servers(lambda setting: 100 if servers.starts.total() == 1 else 400)
    outcome = searched(servers)
    assert outcome.found[1].rate > 3 * outcome.found[0].rate
    assert outcome.candidate is outcome.found[1]
    assert outcome.best is None
    assert len(outcome.confirmation) == 2


def test_a_hiccup_does_not_count_against_a_setting():
    servers = Servers(lambda setting: 100)
    servers.hiccups = {3, 5}
    assert searched(servers).found[0].rate > 80 / 1.1


def test_a_setting_that_the_server_refuses_is_passed_over():
    outcome = searched(Servers(lambda setting: 0 if setting.op_threads == 1 else batching_helps(setting)))
    assert "exit code 255" in outcome.found[1].refused
    assert outcome.best.setting.batching


def test_the_front_is_what_nothing_beats():
    points = [(10, 5), (20, 4), (30, 9), (25, 9), (40, 8), (40, 7)]
    assert front(points) == [(20, 4), (40, 7)]


# --- zoo tune ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`zoo tune` with computed servers, which pass for an engine's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    (tmp_path / "served" / "m" / "1").mkdir(parents=True)
    (tmp_path / "served" / "m" / "1" / "saved_model.pb").touch()

    def runs(capacity, *arguments):
        servers = Servers(capacity)
        monkeypatch.setattr(commands.Trial, "start", lambda trial, setting: servers.start(setting))
        monkeypatch.setattr("serving.engines.choose_engine", lambda name: type("", (), {"name": "embedded"}))
        result = CliRunner().invoke(commands.tune, ["served/m", "--p99", "50ms", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return runs


def test_a_gain_is_written_as_flags_and_files(run, tmp_path):
    result = run(batching_helps)
    assert result.exit_code == 0
    assert "Best: batches of 32, waiting 1 ms" in result.stdout
    flags = ["enable_batching=true", "batching_parameters_file=tuned/m/batching_params.pbtxt"]
    assert f"zoo serve served/m --flag {flags[0]} --flag {flags[1]}" in result.stdout
    out = tmp_path / "tuned" / "m"
    assert (out / "flags.txt").read_text().splitlines() == [f"--{flag}" for flag in flags]
    batching = text_format.Parse((out / "batching_params.pbtxt").read_text(), pb.BatchingParameters())
    assert (batching.max_batch_size.value, batching.batch_timeout_micros.value) == (32, 1000)
    report = json.loads((out / "tuning.json").read_text())
    assert report["best"] == "batches of 32, waiting 1 ms"
    assert len(report["settings"]) == 9
    with Image.open(out / "pareto.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(
    ("capacity", "said"),
    [
        (lambda setting: 100, "No gain: nothing is better than the server as it comes"),
        (lambda setting: 1e-3, "Give it longer"),
    ],
)
def test_no_gain_writes_no_flags(run, tmp_path, capacity, said):
    result = run(capacity)
    assert said in " ".join(result.output.split())
    assert not (tmp_path / "tuned" / "m" / "flags.txt").exists()


def test_what_a_gain_came_to_when_it_was_not_seen_again_is_told(run):
    capacities = iter([100])
    said = " ".join(run(lambda setting: next(capacities, 400)).stdout.split())
    assert "No gain. 1 thread an op seemed to be one. Again, at " in said
    assert re.search(r"/s: p99 \S+ ms; as it comes: p99 \S+ ms\.", said)


def test_a_latency_that_nothing_keeps_is_said(run):
    assert "Nothing keeps p99 within 5 ms" in run(lambda setting: 100, "--p99", "5ms").stdout


@pytest.mark.parametrize("time", ["50", "0ms", "-1s", "fast"])
def test_a_time_has_a_unit(run, time):
    result = run(batching_helps, "--p99", time)
    assert result.exit_code == 2
    assert f"'{time}' is no time. One is written 50ms or 0.5s" in " ".join(result.stderr.replace("│", "").split())


def test_a_folder_with_files_is_not_written_into(run, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    result = run(batching_helps, "--out", "full")
    assert result.exit_code == 2
    assert "full is not empty" in result.stderr
    assert run(batching_helps, "--out", "full", "--force").exit_code == 0
    assert (tmp_path / "full" / "flags.txt").exists()
    assert run(lambda setting: 100, "--out", "full", "--force").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["mine.txt", "pareto.png", "tuning.json"]


def test_a_base_path_that_is_none_is_refused(tmp_path):
    arguments = [str(tmp_path / "nothing"), "--p99", "50ms", "--engine", "embedded", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(commands.tune, arguments)
    assert result.exit_code == 2
    assert "No such folder" in result.stderr
    assert not (tmp_path / "out").exists()
