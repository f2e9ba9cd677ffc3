"""Going back to an earlier version, and letting old ones go."""

import json
import shutil

import pytest

import export
from export import manifest, store


@pytest.fixture
def base(image_version, tmp_path):
    """A base path with versions 1, 2 and 5, and what else may lie there."""
    for number in (1, 2, 5):
        shutil.copytree(image_version.path, tmp_path / str(number))
    (tmp_path / "notes").mkdir()
    return tmp_path


def numbers(base):
    return [version.number for version in export.versions(base)]


def test_versions_are_listed_oldest_first(base):
    (base / "10").mkdir()
    assert numbers(base) == [1, 2, 5, 10]
    assert export.versions(base)[0].card["task"] == "image-classification"
    assert export.versions(base)[-1].card == {}


def test_rollback_publishes_the_previous_version_again(base):
    """A server moves on to the largest number: going back is going forward."""
    version = export.rollback(base)
    assert version.number == 6
    assert numbers(base) == [1, 2, 5, 6]
    assert version.card["copy_of"] == {"version": 2, "manifest_sha256": manifest.digest(base / "2")}
    assert json.loads((version.path / "bom.json").read_text())["metadata"]["component"]["version"] == "6"
    assert not manifest.check(version.path)
    for path in (base / "2").rglob("*"):
        if path.is_file() and path.name not in ("bom.json", "card.json", "SHA256SUMS"):
            copied = version.path / path.relative_to(base / "2")
            assert copied.read_bytes() == path.read_bytes()
            assert not copied.samefile(path)


def test_rollback_to_a_number(base):
    assert export.rollback(base, to=1).card["copy_of"]["version"] == 1
    with pytest.raises(ValueError, match=r"Unknown version 4.*Accepted: 1, 2, 5, 6"):
        export.rollback(base, to=4)


def test_a_damaged_version_does_not_come_back(base):
    (base / "2" / "labels.txt").write_text("cat\ncat\ncat\n")
    with pytest.raises(ValueError, match=r"Version 2 is not what was published: labels.txt: changed"):
        export.rollback(base)
    assert numbers(base) == [1, 2, 5]


def test_a_disk_that_is_full_takes_nothing_and_leaves_nothing(base, monkeypatch):
    def full(folder):
        raise OSError(28, "No space left on device")

    before = sorted(base.iterdir())
    monkeypatch.setattr(manifest, "write", full)
    with pytest.raises(OSError, match="No space left"):
        export.rollback(base)
    assert sorted(path for path in base.iterdir() if path.name != store.LOCK) == before


def test_there_is_nothing_before_the_first(base):
    export.prune(base, keep=1)
    with pytest.raises(ValueError, match="none before the newest"):
        export.rollback(base)


def test_prune_keeps_the_newest(base):
    assert export.prune(base, keep=2) == [1]
    assert export.prune(base, keep=2) == []
    assert numbers(base) == [2, 5]
    assert sorted(path.name for path in base.iterdir()) == [".lock", "2", "5", "notes"]


@pytest.mark.parametrize("keep", [0, -1])
def test_prune_never_takes_the_newest(base, keep):
    with pytest.raises(ValueError, match=f"keep={keep}"):
        export.prune(base, keep=keep)
    assert numbers(base) == [1, 2, 5]


def test_a_version_goes_out_of_sight_before_it_is_deleted(base, monkeypatch):
    """A server that looks while a large version is being deleted must not find half of it."""
    seen = []
    rmtree = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda path, **kw: (seen.append(numbers(base)), rmtree(path, **kw)))
    export.prune(base, keep=1)
    assert seen == [[2, 5], [5]]


@pytest.mark.parametrize("call", [export.versions, export.rollback, export.prune])
def test_a_missing_base_path_is_an_error(call, tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        call(tmp_path / "served")
    assert not list(tmp_path.iterdir())
