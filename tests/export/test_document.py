"""The README of a version: a person who has the folder alone can ask it, check it, and knows where it comes from."""

import re

import export
from tests.export import small_runs


def tables(text):
    """The tables of a Markdown document, each as rows of cells."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [[re.split(r"(?<!\\) \| ", row[2:-2]) for row in block.strip().splitlines()] for block in blocks]


def test_it_tells_what_a_person_needs(image_version):
    text = (image_version.path / "README.md").read_text()
    card, proof = image_version.card, image_version.proof
    assert text.startswith("# lenet5\n\nlenet5 for image-classification")
    assert card["example"] in text
    assert "3: cat, dog, ünïcorn" in text
    assert card["lineage"]["weights_sha256"] in text
    assert " ".join(card["limitations"]) in text
    assert "| weights: lenet5 | unknown: for the owner to state |  |" in text
    assert "another size, grey, alpha, turned, one pixel" in text
    assert "Refused, as by Keras: no picture." in text
    for name, signature in card["signatures"].items():
        assert f"| `{name}` | `{next(iter(signature['inputs']))}` " in text
    largest = proof["signatures"]["bytes"]["outputs"]["probabilities"]["largest_difference"]["absolute"]
    assert f"| `bytes` | `probabilities` | 15 | {largest:.1e} |" in text
    assert not re.search(r"\bNone\b|\bnan\b", text)
    assert "## Speed" not in text, "nothing was tried"


def test_its_tables_are_sound(image_version, classifier_version, regressor_version):
    for version in (image_version, classifier_version, regressor_version):
        found = tables((version.path / "README.md").read_text())
        assert len(found) == 5
        for rows in found:
            assert len({len(row) for row in rows}) == 1, rows


def test_what_was_tried_has_a_table(here, tmp_path, monkeypatch):
    monkeypatch.setattr("export.timing.SECONDS", 0.0)
    version = export.publish(small_runs.image_run(), tmp_path / "served", optimize="latency")
    header, _, *rows = next(t for t in tables((version.path / "README.md").read_text()) if t[0][0] == "variant")
    assert header == ["variant", "bytes@1", "bytes@8", "serving_default@1", "serving_default@8", "size", "verdict"]
    assert [row[0] for row in rows] == ["plain", "frozen", "rewritten", "bfloat16"]


def test_the_runs_picture_of_predictions_travels_with_it(here, tmp_path):
    run = small_runs.image_run()
    run.dir = tmp_path
    (tmp_path / "predictions.png").write_bytes(small_runs.picture(9, 9))
    version = export.publish(run, tmp_path / "served")
    assert (version.path / "predictions.png").read_bytes() == small_runs.picture(9, 9)
    assert "![predictions](predictions.png)" in (version.path / "README.md").read_text()
