"""The bill of materials: whoever must account for what runs reads it with tools that never heard of this package."""

import json
import shutil
from importlib import metadata

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from export import bom, manifest
from recipes import licenses
from tests.export import small_runs
from tests.export.conftest import published_here


def read(version):
    return json.loads((version.path / bom.FILE).read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two versions of a Run that was made of data and weights of several origins."""
    run = small_runs.image_run()
    run.facts = {
        **run.facts,
        "evaluated_on": "test",
        "data": {"name": "digits", "fingerprint": "ab" * 32},
        "licenses": [
            licenses.record("data", "digits", "CC-BY-4.0", "the data set"),
            licenses.record("data", "mine"),
            licenses.record("weights", "hf:some/where", "apache-2.0", "its model card"),
        ],
    }
    base = tmp_path_factory.mktemp("served") / "pets"
    return [published_here(run, base, license="MIT OR Apache-2.0") for _ in range(2)]


def test_it_is_valid_and_says_what_the_version_is_made_of(made):
    text = (made[0].path / bom.FILE).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    record = json.loads(text)
    model = record["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "pets", "1")
    assert model["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert {each["name"]: each["hashes"][0]["content"] for each in model["components"]} == made[0].card["hashes"]
    (begun_with,) = model["pedigree"]["ancestors"]
    assert begun_with["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    parts = {each["bom-ref"]: each for each in record["components"]}
    digits, mine = parts["data: digits"], parts["data: mine"]
    assert digits["licenses"] == [{"license": {"id": "CC-BY-4.0"}}]
    assert digits["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert mine["licenses"] == model["licenses"]
    for name in ("keras", "tensorflow", "tensorflow-text", "numpy", "servable-zoo"):
        assert parts[f"pkg:pypi/{name}@{metadata.version(name)}"]["version"] == metadata.version(name)
    assert not any(part.startswith("pkg:pypi/pytest") for part in parts), "a tool of the tests"
    (of_model,) = (each for each in record["dependencies"] if each["ref"] == model["bom-ref"])
    assert sorted(of_model["dependsOn"]) == sorted(parts)


def test_it_holds_the_model_card(made):
    card = read(made[0])["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["task"] == "image-classification"
    assert {"format": "bytes: image_bytes, string [None]"} in card["modelParameters"]["inputs"]
    assert card["modelParameters"]["datasets"] == [{"ref": "data: digits"}, {"ref": "data: mine"}]
    (figure,) = card["quantitativeAnalysis"]["performanceMetrics"]
    assert figure == {"type": "accuracy", "value": "0.5", "slice": "test"}
    assert card["considerations"]["technicalLimitations"] == made[0].card["limitations"]


def test_equal_exports_differ_in_time_and_number_alone(made):
    first, second = map(read, made)
    assert first["serialNumber"] != second["serialNumber"]
    assert second["metadata"]["component"]["version"] == "2"
    for record in (first, second):
        del record["serialNumber"], record["metadata"]["timestamp"], record["metadata"]["component"]["version"]
    assert first == second


def test_it_is_in_the_manifest_whatever_its_number(made, tmp_path):
    folder = shutil.copytree(made[0].path, tmp_path / "7")
    bom.number(folder, 7)
    assert manifest.check(folder) == []
    before = json.loads((folder / bom.FILE).read_text())
    bom.number(folder, 7)
    assert json.loads((folder / bom.FILE).read_text()) == before
    (folder / bom.FILE).unlink()
    bom.number(folder, 8)
    assert not (folder / bom.FILE).exists(), "older versions have none"
