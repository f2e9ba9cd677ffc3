"""What differs between two versions, and what is refused because those who ask the older one would be hurt."""

import copy
import json

import pytest
from click.testing import CliRunner

import export
from export import commands
from export.differences import changes, worse
from tests.export import small_runs

TENSOR = {"dtype": "float32", "shape": [None, 3]}
CARD = {
    "labels": ["cat", "dog"],
    "companions": {"litert": "model.tflite"},
    "signatures": {"row": {"inputs": {"x": TENSOR}, "outputs": {"y": TENSOR, "z": TENSOR}}},
}


def changed(path, value):
    """The card with a value at a path of keys; None takes it away."""
    card = copy.deepcopy(CARD)
    *way, last = path
    place = card
    for key in way:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return card


ROW = ("signatures", "row")
BREAKING = {
    "Signature 'row' is gone.": (ROW, None),
    "Signature 'row': input 'x' is gone.": ((*ROW, "inputs", "x"), None),
    "Signature 'row': input 'more' is new.": ((*ROW, "inputs", "more"), TENSOR),
    "Signature 'row': output 'z' is gone.": ((*ROW, "outputs", "z"), None),
    "Signature 'row': output 'y' was float32 [any, 3], is float32 [any, 4].": (
        (*ROW, "outputs", "y"),
        {"dtype": "float32", "shape": [None, 4]},
    ),
    "Signature 'row': input 'x' was float32 [any, 3], is int64 [any, 3].": (
        (*ROW, "inputs", "x"),
        {"dtype": "int64", "shape": [None, 3]},
    ),
    "Class ids mean other labels (moved: cat, dog).": (("labels",), ["dog", "cat"]),
    "Class ids mean other labels (gone: dog).": (("labels",), ["cat", "bird"]),
}
COMPATIBLE = {
    "Signature 'more' is new.": (("signatures", "more"), CARD["signatures"]["row"]),
    "Signature 'row': output 'w' is new.": ((*ROW, "outputs", "w"), TENSOR),
    "Signature 'row': input 'x' was float32 [any, 3], is float32 [any, any].": (
        (*ROW, "inputs", "x"),
        {"dtype": "float32", "shape": [None, None]},
    ),
    "There are more labels behind those there were.": (("labels",), ["cat", "dog", "bird"]),
    "Companion 'litert' is gone.": (("companions",), {}),
    "Companion 'onnx' is new.": (("companions",), {"litert": "model.tflite", "onnx": "model.onnx"}),
}


@pytest.mark.parametrize("sentence", BREAKING)
def test_what_breaks_a_request_is_named(sentence):
    assert changes(CARD, changed(*BREAKING[sentence])) == ([sentence], [])


@pytest.mark.parametrize("sentence", COMPATIBLE)
def test_what_breaks_none_is_told(sentence):
    assert changes(CARD, changed(*COMPATIBLE[sentence])) == ([], [sentence])


def test_a_version_of_somebody_else_has_nothing_to_break():
    assert changes({}, CARD)[0] == []
    assert changes(CARD, CARD) == ([], [])


def judged(figures, data="d", part="test"):
    return {"metrics": figures, "lineage": {"data": {"fingerprint": data}, "evaluated_on": part}}


@pytest.mark.parametrize(
    ("newer", "said"),
    [
        (judged({"accuracy": 0.7, "auc": 0.9}), "accuracy was 0.8, is 0.7."),
        (judged({"accuracy": 0.8, "auc": 0.1}), None),
        (judged({"accuracy": 0.7}, data="other"), None),
        (judged({"accuracy": 0.7}, part="validation"), None),
        (judged({"mae": 0.7}), None),
        (judged({}), None),
    ],
)
def test_the_first_figure_tells_what_is_worse_on_the_same_data(newer, said):
    assert worse(judged({"accuracy": 0.8, "auc": 0.5}), newer) == said


def test_of_some_figures_less_is_better():
    assert worse(judged({"mae": 2.0}), judged({"mae": 3.0})) == "mae was 2, is 3."
    assert worse(judged({"mae": 2.0}), judged({"mae": 1.0})) is None


def test_a_breaking_version_is_refused_and_nothing_is_left(here, tmp_path):
    base = tmp_path / "served"
    export.publish(small_runs.table_run(), base)
    other = small_runs.table_run("linear_regression")
    with pytest.raises(ValueError, match=r"version 1 would break\. Class ids mean .* Signature 'classify' is gone\."):
        export.publish(other, base)
    assert [version.number for version in export.versions(base)] == [1]
    assert not list(base.glob(".staging*"))
    assert export.publish(other, base, allow_breaking=True).number == 2


def test_a_worse_version_is_refused_and_nothing_is_left(here, tmp_path):
    base, run = tmp_path / "served", small_runs.table_run()
    run.facts |= {"data": {"fingerprint": "d"}, "evaluated_on": "test"}
    export.publish(run, base)
    run.metrics["accuracy"] = 0.4
    with pytest.raises(ValueError, match=r"version 1 is better\. On the same test data accuracy was 0.5, is 0.4\."):
        export.publish(run, base)
    assert [version.number for version in export.versions(base)] == [1]
    assert export.publish(run, base, allow_worse=True).number == 2


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A version, the same again, and one of other weights."""
    from tests.export.conftest import started_here

    base = tmp_path_factory.mktemp("served") / "lenet5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.fresh_process.started", started_here)
        patch.setattr("export.choosing.GAIN", 100.0)
        patch.setattr("export.timing.SECONDS", 0.0)
        export.publish(small_runs.image_run(), base)
        export.publish(small_runs.image_run(), base, optimize=["frozen"])
        run = small_runs.image_run()
        small_runs.scrambled(run.model, seed=1)
        run.metrics["accuracy"] = 0.75
        export.publish(run, base)
    return base


def test_the_same_weights_answer_the_same(base, here):
    found = export.diff(base, 1, 2)
    assert found.same == {"graph": False, "signatures": True, "weights": True}, "the newer one may be frozen"
    assert found.metrics == {"accuracy": (0.5, 0.5)}
    assert (found.breaking, found.compatible) == ((), ())
    assert set(found.answers) == {"bytes", "serving_default"}
    assert all(not one.problems and one.class_agreement == 1 for one in found.answers.values())
    assert found.variants[0] == "plain"
    assert all(before is None and after > 0 for before, after in found.milliseconds.values())


def test_other_weights_answer_otherwise(base, here):
    found = export.diff(base, 1, 3)
    assert found.same == {"graph": True, "signatures": True, "weights": False}
    assert found.metrics == {"accuracy": (0.5, 0.75)}
    assert all(one.problems and one.examples == 15 for one in found.answers.values())


def test_it_is_told_to_people_and_programs(base, here):
    said = CliRunner().invoke(commands.diff, [str(base), "1", "3"])
    assert said.exit_code == 0, said.output
    for words in ("Signatures: the same.", "Weights: others than before.", "accuracy", "0.75", "others than before"):
        assert words in said.output
    record = json.loads(CliRunner().invoke(commands.diff, [str(base), "1", "2", "--json"]).output)
    assert record["same"]["weights"] is True
    assert record["answers"]["bytes"]["class_agreement"] == 1


def test_a_version_that_is_not_there_is_an_error(base):
    with pytest.raises(ValueError, match="Unknown version 9"):
        export.diff(base, 1, 9)
