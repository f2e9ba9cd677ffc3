"""The command line: what a person reads, what a program reads, and the exit status."""

import json
import shutil

import pytest
from click.testing import CliRunner

from export import commands


@pytest.fixture
def base(image_version, tmp_path):
    for number in (1, 2):
        shutil.copytree(image_version.path, tmp_path / "lenet5" / str(number))
    return tmp_path / "lenet5"


def run(command, *arguments, status=0, **kwargs):
    result = CliRunner().invoke(getattr(commands, command), [str(a) for a in arguments], **kwargs)
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize("command", ["publish", "versions", "verify", "diff", "rollback", "prune", "sign"])
def test_help_has_an_example(command):
    assert f"Example: zoo {command} " in run(command, "--help")


def test_publish_says_what_it_does(here, tmp_path, monkeypatch, image_run):
    monkeypatch.setattr("recipes.load_run", lambda path: image_run, raising=False)
    said = run("publish", "runs/lenet5", tmp_path / "served")
    for words in ("serving_default", "bytes: 15 examples, largest difference", "same class 100.0%", "Version 1 in"):
        assert words in said
    record = json.loads(run("publish", "runs/lenet5", tmp_path / "served", "--golden", 3, "--json"))
    assert record["number"] == 2
    assert record["proof"]["signatures"]["bytes"]["examples"] == 3 + len(record["proof"]["edge_cases"])


def test_versions_as_table_and_json(base):
    assert "accuracy 0.5" in run("versions", base)
    assert [record["number"] for record in json.loads(run("versions", base, "--json"))] == [1, 2]


def test_verify_tells_by_its_exit_status(base, here):
    assert "Verified" in run("verify", base)
    assert json.loads(run("verify", base, "--json"))["ok"] is True
    (base / "2" / "labels.txt").write_text("")
    assert "labels.txt: changed" in run("verify", base, status=1)
    assert json.loads(run("verify", base, "--json", status=1))["problems"] == ["labels.txt: changed"]
    run("verify", base / "1")


def test_verify_at_two_servers_is_wrong_usage(base):
    run("verify", base, "--rest", "http://localhost:1", "--grpc", "localhost:2", status=2)


def test_rollback_and_prune(base):
    assert "Version 3 is a copy of version 1" in run("rollback", base)
    run("prune", base, "--keep", 2, status=1, input="n\n")
    assert "Deleted: 1" in run("prune", base, "--keep", 2, input="y\n")
    assert json.loads(run("prune", base, "--keep", 1, "--yes", "--json")) == {"deleted": [2]}
    assert "Nothing to delete" in run("prune", base)
    run("prune", base, "--keep", 0, status=2)
