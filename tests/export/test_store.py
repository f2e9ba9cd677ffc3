"""A version is visible whole or not at all, whatever happens to those who publish."""

import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

import pytest

import export
from export import store
from export.base_path import is_number
from tests.export import conftest

ROOT = Path(__file__).parents[2]


def numbers(base):
    return sorted(int(path.name) for path in base.iterdir() if is_number(path.name))


def left_over(base):
    return [path.name for path in base.iterdir() if path.name.startswith((store.STAGING, store.REMOVED))]


STEPS = ["mkdir", "saved_model.write", "golden.save", "warmup.write", "replay", "manifest.write", "sync"]


@pytest.mark.parametrize("steps", [["sync"], pytest.param(STEPS, marks=pytest.mark.slow)])
def test_a_publisher_killed_at_any_step_leaves_nothing_visible(tmp_path, here, classifier_run, steps):
    """kill -9, the out-of-memory killer, a power cut: no server may ever find half a version."""
    base = tmp_path / "m"
    command = [sys.executable, "-m", "tests.export.killed_publisher", str(base), *steps, "before rename", "rename"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    *unseen, last = [line.split("|") for line in done.stdout.splitlines()]
    assert [step for step, _, _ in unseen] == [*steps, "before rename"]
    for step, killed, names in unseen:
        assert killed == "True", step
        assert not any(is_number(name) for name in names.split()), step
        # Its own staging folder and lock remain; those of the one before are gone.
        assert sum(name.startswith(store.STAGING) for name in names.split()) == 2, (step, names)

    # After the rename it has published, though it died.
    assert last[:2] == ["rename", "True"]
    assert numbers(base) == [1]
    assert export.verify(base).ok

    assert export.publish(classifier_run, base).number == 2
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


def test_nothing_is_left_when_the_disk_is_full(tmp_path, image_run, monkeypatch):
    """Neither a staging folder nor the folders that were made for it."""
    from export import manifest

    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, "write", full)
    monkeypatch.setattr(conftest, "replay_here", lambda folder: {})
    monkeypatch.setattr("export.comparison.compare_replay", lambda *args: _nothing_wrong())
    with pytest.raises(OSError, match="No space left"):
        export.publish(image_run, tmp_path / "served" / "m")
    assert not list(tmp_path.iterdir())


def _nothing_wrong():
    from export.comparison import Comparison

    return Comparison("s", 1, {"probabilities": 0.0}, {"probabilities": 0.0})
