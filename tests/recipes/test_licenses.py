"""Licences: who hands a model on must know under which terms what it is made of was published."""

import json

import pytest
from cyclonedx import spdx

import zoo
from recipes import licenses
from recipes.bundle import BUNDLE_FILE
from recipes.data import load
from recipes.run import METRICS_FILE
from tests import raw_data


@pytest.mark.parametrize(
    ("data", "task", "license"),
    [
        ("digits", "image-classification", "CC-BY-4.0"),
        ("digits", "image-generation", "CC-BY-4.0"),
        ("gates/xor", "binary-classification", "Apache-2.0"),
    ],
)
def test_a_data_set_says_its_licence(data, task, license, data_dir):
    found = licenses.of_data(load(data, task=task, data_dir=data_dir))
    assert found == {"of": "data", "name": data, "license": license, "stated": "the data set"}


def test_of_text_and_of_masks_too(data_dir):
    text = load("addition/1", task="sequence-to-sequence", data_dir=data_dir)
    assert text.license == "Apache-2.0"
    masks = load("digit_scenes/small/count=6", task="semantic-segmentation", data_dir=data_dir)
    assert masks.license.startswith("digits: CC-BY-4.0; astronaut: public domain, NASA; ")


def test_nobody_knows_that_of_a_persons_own_data():
    found = licenses.of_data(load(raw_data.pictures((8, 8, 1)), task="image-classification"))
    assert found == {"of": "data", "name": "arrays", "license": None, "stated": None}


def test_all_published_weights_have_one_that_machines_know():
    found = {
        record["license"]
        for name in zoo.list_models()
        for tag in zoo.spec(name).weights
        for record in licenses.of_weights(name, tag)
    }
    assert found == {"Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "MIT"}
    assert all(map(spdx.is_supported_id, found))


@pytest.mark.parametrize(
    ("card", "license"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# BERT\n", "apache-2.0"),
        ("---\nlanguage: en\n---\nlicense: of the text\n", "none stated"),
        ("# BERT\n", "none stated"),
        (None, "none stated"),
    ],
)
def test_a_repository_says_it_in_its_model_card(card, license, tmp_path):
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    (found,) = licenses.of_weights("bert_base", f"hf:{tmp_path}")
    assert found["license"] == license
    assert found["stated"] == "its model card"


def test_weights_of_a_run_bring_those_of_all_that_it_was_made_of(tmp_path):
    (tmp_path / BUNDLE_FILE).write_text("{}")
    made_of = [licenses.record("data", "mine"), licenses.record("weights", "w", "MIT", "them")]
    (tmp_path / METRICS_FILE).write_text(json.dumps({"metrics": {}, "licenses": made_of}))
    assert licenses.of_weights("lenet5", str(tmp_path)) == made_of


@pytest.mark.parametrize("facts", ['{"metrics": {}}', None])
def test_of_other_weights_nobody_states_it(facts, tmp_path):
    """A file, and the Run of a version that kept none."""
    (tmp_path / BUNDLE_FILE).write_text("{}")
    if facts:
        (tmp_path / METRICS_FILE).write_text(facts)
    (found,) = licenses.of_weights("lenet5", str(tmp_path))
    assert found == {"of": "weights", "name": str(tmp_path), "license": None, "stated": None}
    assert licenses.of_weights("lenet5", None) == []
