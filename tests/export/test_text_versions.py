"""Versions that read text hold what cuts it: a sentence gets Keras' answer without our package."""

import pytest

import export
import serving
from export import fresh_process
from recipes import tokenizers
from tests.export import small_runs


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """By what cuts the text; one process proves all of them."""
    folder = tmp_path_factory.mktemp("served")
    with fresh_process.kept():
        yield {kind: export.publish(small_runs.text_run(kind), folder / kind) for kind in tokenizers.KINDS}


@pytest.mark.parametrize("kind", tokenizers.KINDS)
def test_the_proof_holds_whatever_cuts_the_text(kind, versions):
    assert versions[kind].proof["edge_cases"] == ["empty", "too long"]
    assert export.verify(versions[kind].path).signatures["text"].examples == 21 + 2
    assert export.inspect(versions[kind].path).problems == ()


def test_the_embedded_server_knows_the_ops_of_wordpiece(versions):
    version = versions["wordpiece"]
    with serving.serve(version.path.parent, engine="embedded") as server:
        report = export.verify(version.path, name=server.name, rest=server.rest_url)
    assert report.ok, report.problems
