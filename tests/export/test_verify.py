"""A person hands a version on: whoever gets it can tell whether it is still what was published."""

import shutil

import pytest

import export
from export import manifest


@pytest.fixture
def copy(image_version, tmp_path):
    """A copy of a version on another machine, free to be damaged."""
    return shutil.copytree(image_version.path, tmp_path / "handed-on" / "7")


def test_a_version_verifies_in_a_fresh_process(image_version):
    report = export.verify(image_version.path.parent)
    assert report
    assert report.ok
    assert report.signatures.keys() == {"serving_default", "bytes"}
    assert report.signatures["bytes"].class_agreement == 1


def test_a_copied_folder_verifies(copy, here):
    report = export.verify(copy)
    assert report.ok
    assert report.version.number == 7


@pytest.mark.parametrize(
    "name",
    ["saved_model.pb", "variables/variables.index", "labels.txt", "golden/bytes.npz", "proof.json"],
)
def test_a_tampered_file_is_named(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    report = export.verify(copy)
    assert not report
    assert report.problems == (f"{name}: changed",)


def test_missing_and_extra_files_are_named(copy):
    """TensorFlow loads a version without its variables; the manifest does not let it pass."""
    shutil.rmtree(copy / "variables")
    (copy / "notes.txt").write_text("mine")
    assert set(export.verify(copy).problems) == {
        "variables/variables.data-00000-of-00001: missing",
        "variables/variables.index: missing",
        "notes.txt: not in the manifest",
    }


def test_a_folder_without_manifest_fails(copy):
    (copy / manifest.FILE).unlink()
    assert "SHA256SUMS: missing" in export.verify(copy).problems[0]


def test_another_machine_that_computes_otherwise_is_found(copy, here, image_run):
    """Weights changed and the manifest made to match: the replayed proof still tells."""
    from export import saved_model
    from export.signatures import signatures_of

    bias = image_run.model.get_layer("logits").bias
    before = bias.numpy()
    bias.assign(before * [5, 1, 1])
    try:
        saved_model.write([image_run.model], signatures_of(image_run.bundle), copy)
    finally:
        bias.assign(before)
    manifest.write(copy)
    report = export.verify(copy)
    assert not report.ok
    assert {problem.split(",")[0] for problem in report.problems} == {
        "Signature 'serving_default'",
        "Signature 'bytes'",
    }


def test_a_version_that_does_not_load_is_reported(copy):
    """A graph no loader reads ends the fresh process; the report says what it said."""
    (copy / "saved_model.pb").write_bytes(b"no graph")
    manifest.write(copy)
    report = export.verify(copy)
    assert not report.ok
    assert "cannot be loaded" in report.problems[0]


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: path.mkdir(), lambda path: (path / "v1").mkdir(parents=True)]
)
def test_a_path_without_version_is_an_error(make, tmp_path):
    make(tmp_path / "served")
    with pytest.raises(ValueError, match="served"):
        export.verify(tmp_path / "served")


def test_one_server_at_a_time(image_version):
    with pytest.raises(ValueError, match="rest and grpc"):
        export.verify(image_version.path, rest="http://localhost:1", grpc="localhost:2")
