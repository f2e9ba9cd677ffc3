"""Versions that read text hold what cuts it: a sentence gets Keras' answer without our package."""

import pytest

import export
import serving
from recipes import tokenizers
from tests.export import small_runs


@pytest.mark.parametrize("kind", tokenizers.KINDS)
def test_the_proof_holds_whatever_cuts_the_text(kind, tmp_path):
    version = export.publish(small_runs.text_run(kind), tmp_path / "served")
    assert export.verify(version.path).signatures["text"].examples == 21


def test_the_embedded_server_knows_the_ops_of_wordpiece(tmp_path):
    version = export.publish(small_runs.text_run("wordpiece"), tmp_path / "served")
    with serving.serve(version.path.parent, engine="embedded") as server:
        report = export.verify(version.path, name=server.name, rest=server.rest_url)
    assert report.ok, report.problems
