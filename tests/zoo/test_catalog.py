"""The catalogue that `zoo list` and `zoo show` read."""

import json

import pytest

from zoo import catalog

STALE = "zoo/catalog.json is stale: run `make catalog`"


def test_catalogue_was_computed_from_these_sources():
    assert json.loads(catalog.PATH.read_text())["sources"] == catalog.sources(), STALE


@pytest.mark.slow
def test_catalogue_holds_what_the_models_are():
    """Builds every model at its full size."""
    stored = json.loads(catalog.PATH.read_text())["models"]
    assert stored == json.loads(json.dumps(catalog.compute())), STALE


def test_only_models_of_at_most_so_many_parameters():
    few = catalog.read(task="image-classification", max_params=5e6)
    assert {"mobilenet_v2", "resnet20"} <= set(few)
    assert all(entry["parameters"] <= 5e6 for entry in few.values())
