"""Which versions under which names are deployed, and what is refused before anything is written."""

import re
from pathlib import Path

import pytest

from serving.deployment.plan import kubernetes_name, kubernetes_names, plan

LENET5, STYLE = Path("served/lenet5"), Path("served/style_transfer")


def test_the_newest_version_is_the_stable_one(workplace):
    made = plan([LENET5], [])
    assert made.name == "lenet5"
    assert made.models[0].labels == {"stable": 2}
    assert made.models[0].base_path == workplace / "served/lenet5"


def test_labels_choose_versions(workplace):
    made = plan([LENET5, STYLE], ["lenet5:stable=1", "lenet5:canary=2"])
    assert made.name == "models"
    assert [model.labels for model in made.models] == [{"stable": 1, "canary": 2}, {"stable": 3}]
    assert list(made.models[0].folders) == [1, 2]


def test_memory_grows_with_the_versions_that_are_served(workplace):
    assert plan([LENET5], []).memory == 1024
    with (workplace / "served/lenet5/2/saved_model.pb").open("wb") as file:
        file.truncate(100 * 2**20)
    assert plan([LENET5], []).memory == 1536  # 1024 + 3 * 100, in steps of 256
    assert plan([LENET5], ["stable=1"]).memory == 1024
    assert plan([LENET5], [], memory=700).memory == 700


@pytest.mark.parametrize(
    ("base_paths", "labels", "words"),
    [
        ([Path("served")], [], "No version in served"),
        ([Path("served/nowhere")], [], "No such folder: served/nowhere"),
        ([LENET5 / "1"], [], "is a version, not a base path"),
        ([LENET5, LENET5], [], "Two models are called 'lenet5'"),
        ([LENET5], ["canary=7"], "It has: 1, 2"),
        ([LENET5], ["canary"], "LABEL=VERSION or MODEL:LABEL=VERSION"),
        ([LENET5], ["canary=two"], "Received: 'canary=two'"),
        ([LENET5], ["resnet:canary=2"], "No model 'resnet' to label. There is: lenet5"),
        ([LENET5], ["a=1", "a=2"], "given twice"),
        ([LENET5, STYLE], ["canary=2"], "MODEL:canary=2. They are: lenet5, style_transfer"),
    ],
)
def test_what_cannot_be_served_is_refused(workplace, base_paths, labels, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        plan(base_paths, labels)


def test_a_labelled_version_must_hold_a_model(workplace):
    (workplace / "served/lenet5/1/saved_model.pb").unlink()
    with pytest.raises(ValueError, match="lenet5/1 holds no SavedModel"):
        plan([LENET5], ["stable=1"])


@pytest.mark.parametrize(
    ("name", "turned"),
    [("lenet5", "lenet5"), ("Style_Transfer", "style-transfer"), ("v1.5", "v1-5"), ("a" * 63, "a" * 63)],
)
def test_names_are_turned_into_those_of_kubernetes(name, turned):
    assert kubernetes_name(name) == turned


@pytest.mark.parametrize("name", ["", "3d", "_private", "ends-", "a" * 64, "a b", "naïve"])
def test_names_that_cannot_be_turned_are_refused_with_the_rule(name):
    with pytest.raises(ValueError, match="RFC 1035") as error:
        kubernetes_name(name)
    assert repr(name) in str(error.value)


def test_two_models_do_not_become_one(workplace):
    for name in ("a_b", "a.b"):
        (workplace / name / "1").mkdir(parents=True)
        (workplace / name / "1/saved_model.pb").touch()
    with pytest.raises(ValueError, match="would both be called 'a-b'"):
        kubernetes_names(plan([Path("a_b"), Path("a.b")], []).models)
