"""The catalogue that `zoo list` and `zoo show` read."""

import json

from zoo import catalog


def test_catalogue_is_fresh():
    stored = json.loads(catalog.PATH.read_text())
    computed = json.loads(json.dumps(catalog.compute()))
    assert stored == computed, "zoo/catalog.json is stale: run `make catalog`"
