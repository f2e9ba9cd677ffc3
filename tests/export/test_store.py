"""A version is visible whole or not at all, whatever happens to those who publish."""

import re
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

import pytest

import export
from export import store
from export.base_path import is_number

ROOT = Path(__file__).parents[2]


def numbers(base):
    return sorted(int(path.name) for path in base.iterdir() if is_number(path.name))


def left_over(base):
    return [path.name for path in base.iterdir() if path.name.startswith((store.STAGING, store.REMOVED))]


KILLED = ["mkdir", "saved_model.write", "golden.save", "warmup.write", "replay", "bom.write", "manifest.write", "sync"]
FULL = ["saved_model.write", "golden.save", "warmup.write", "bom.write", "manifest.write"]
FILES = 10
"""That a publisher of a table opens one after the other, to write to them."""


@pytest.mark.parametrize(
    ("killed", "full"),
    [(["sync"], FULL[1:3]), pytest.param(KILLED, [*FULL, *map(str, range(FILES))], marks=pytest.mark.slow)],
)
def test_a_publisher_that_comes_to_grief_leaves_nothing_visible(tmp_path, here, classifier_run, killed, full):
    """kill -9, the out-of-memory killer, a power cut, a full disk: no server may ever find half a version."""
    base = tmp_path / "m"
    moments = [*(f"full {what}" for what in full), *(f"after {step}" for step in killed), "before rename"]
    command = [sys.executable, "-m", "tests.export.doomed_publisher", str(base), *moments]
    command += ["after rename", f"full {FILES}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=True)
    *unseen, renamed, whole = [line.split("|") for line in done.stdout.splitlines()]
    assert [moment for moment, _, _ in unseen] == moments
    for moment, said, names in unseen:
        assert not any(is_number(name) for name in names.split()), moment
        if moment.startswith("full"):
            assert re.match(rf"OSError: .*{re.escape(str(base))}.*File too large", said), (moment, said)
            assert not names, "neither a staging folder nor the base path that was made for it"
        else:
            assert said == "killed", moment
            # Its own staging folder and lock remain; those of the one before are gone.
            assert sum(name.startswith(store.STAGING) for name in names.split()) == 2, (moment, names)

    # After the rename it has published, though it died.
    assert renamed[:2] == ["after rename", "killed"]
    assert whole[1:] == ["published", ".lock 1 2"], "by now there are more files to test"
    assert all(export.verify(version.path).ok for version in export.versions(base))

    assert export.publish(classifier_run, base).number == 3
    assert not left_over(base)


def test_two_publishers_at_once_get_two_numbers(tmp_path, here, classifier_run, regressor_run, monkeypatch):
    """Both are ready at the same moment; each version holds its own model."""
    together = threading.Barrier(2, timeout=60)
    commit = store.Folder.commit

    def at_once(base, folder):
        together.wait()
        return commit(base, folder)

    monkeypatch.setattr(store.Folder, "commit", at_once)
    with futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(export.publish, run, tmp_path / "m") for run in (classifier_run, regressor_run)]
        first, second = (job.result() for job in jobs)
    assert {first.number, second.number} == {1, 2}
    assert (first.card["task"], second.card["task"]) == ("binary-classification", "regression")
    assert not left_over(tmp_path / "m")


def test_many_processes_at_once_get_as_many_numbers(tmp_path, here, classifier_run):
    """The lock holds between processes, too."""
    base = tmp_path / "m"
    export.publish(classifier_run, base)
    code = "import sys, export; print(export.rollback(sys.argv[1], to=1).number)"
    publishers = [
        subprocess.Popen([sys.executable, "-c", code, str(base)], stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    assert sorted(int(publisher.communicate(timeout=60)[0]) for publisher in publishers) == [2, 3, 4, 5, 6, 7]
    assert not left_over(base)


def test_the_staging_folder_of_a_living_publisher_stays(tmp_path):
    """Cleaning up must not take the folder from under someone who is still at work."""
    base = store.Folder(tmp_path)
    with base.staged() as mine:
        (mine / "work").write_text("half done")
        with base.staged() as theirs:
            (theirs / "work").write_text("done")
            base.commit(theirs)
        assert (mine / "work").read_text() == "half done"
    assert numbers(tmp_path) == [1]
    assert not left_over(tmp_path)


def test_numbers_taken_by_hand_are_passed_over(tmp_path, monkeypatch):
    """Someone copies a version in, or names a file like one, even at the last moment."""
    (tmp_path / "3").mkdir()
    (tmp_path / "007").write_text("not a version, but the number is taken")
    rename = Path.rename

    def taken(self, target):
        if target.name == "8":
            (target / "theirs").mkdir(parents=True)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", taken)
    base = store.Folder(tmp_path)
    with base.staged() as folder:
        (folder / "mine").write_text("")
        assert base.commit(folder) == "9"
    assert (tmp_path / "9" / "mine").exists()
    assert (tmp_path / "8" / "theirs").exists()


def test_a_base_path_that_is_a_file(tmp_path, image_run):
    (tmp_path / "m").write_text("a file")
    with pytest.raises(ValueError, match="is a file"):
        export.publish(image_run, tmp_path / "m")
    assert (tmp_path / "m").read_text() == "a file"


@pytest.mark.parametrize("base", ["/proc/served/m", "{tmp}/file/served/m"])
def test_a_base_path_that_cannot_be_written(base, tmp_path, image_run):
    """Said at once, before the minutes that a proof may take."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written"):
        export.publish(image_run, base.format(tmp=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
