"""Version folders on disk: staged, durable, numbered, and visible by one rename.

A server that watches a base path sees integers only. So a version is built under another name, written through to the
disk, and renamed; before the rename nothing is visible, after it everything is. Every change of what is visible
happens under the lock of the base path.

A staging folder belongs to a living publisher as long as that one holds the lock beside it. The kernel lets go of the
lock of a process that died, however it died; so the next publisher can tell what is left over and clean it away.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from export.version import Version, is_number

LOCK = ".lock"
STAGING = ".staging-"
OWNER = ".owner"
REMOVED = ".removed-"


@contextlib.contextmanager
def staged(base: Path) -> Iterator[Path]:
    """A new folder in the base path, invisible to servers, in which to build a version.

    Left behind is what `commit` made of it, and nothing else; also of the base path, if it was made for this.

    Raises:
        ValueError: the base path is a file.
        OSError: the base path cannot be written.
    """
    made = _make(base)
    folder = base / f"{STAGING}{uuid.uuid4().hex}"
    owner = FileLock(f"{folder}{OWNER}")
    try:
        with locked(base):
            _sweep(base)
            owner.acquire()
            folder.mkdir()
        yield folder
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder, ignore_errors=True)
            Path(owner.lock_file).unlink(missing_ok=True)
        owner.release()
        _unmake(made)


def commit(folder: Path, finish: Callable[[int], None] = lambda number: None) -> Version:
    """Make a staged folder durable and visible, under the next free number of its base path.

    Args:
        folder: what `staged` gave.
        finish: writes the number into the folder; called with the one that is tried next.

    Raises:
        OSError: the folder cannot be finished, or the base path not be written.
    """
    base = folder.parent
    _sync_tree(folder)  # before others have to wait
    with locked(base):
        number = max((int(path.name) for path in base.iterdir() if is_number(path.name)), default=0)
        while True:
            number += 1
            try:
                finish(number)
                _sync_tree(folder)
            except OSError as error:
                raise _cannot_write(base, error) from error
            try:
                folder.rename(base / str(number))
                break
            except OSError:
                # Taken by hand since we looked.
                if not (base / str(number)).exists():
                    raise
        _sync(base)
    return Version(base / str(number), number)


def remove(version: Version) -> None:
    """Take a version out of sight, then delete it. For a holder of the base path's lock."""
    grave = version.path.parent / f"{REMOVED}{version.number}-{uuid.uuid4().hex}"
    version.path.rename(grave)
    _sync(grave.parent)
    shutil.rmtree(grave)


@contextlib.contextmanager
def locked(base: Path) -> Iterator[None]:
    """Hold the lock of a base path.

    Raises:
        OSError: the base path cannot be written.
    """
    lock = FileLock(base / LOCK)
    try:
        lock.acquire()
    except OSError as error:
        raise _cannot_write(base, error) from error
    try:
        yield
    finally:
        lock.release()


def _make(base: Path) -> list[Path]:
    """Make the base path; return the folders that were not there, innermost first."""
    if base.exists() and not base.is_dir():
        raise ValueError(f"Base path {base} is a file. Accepted: a folder, which is made if it is not there.")
    missing = [path for path in (base, *base.parents) if not path.exists()]
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _unmake(missing)
        raise _cannot_write(base, error) from error
    return missing


def _unmake(made: list[Path]) -> None:
    """Remove folders that were made for a version that did not come about; those in use stay."""
    if not made or any(path.name != LOCK for path in made[0].glob("*")):
        return
    with contextlib.suppress(OSError):
        (made[0] / LOCK).unlink(missing_ok=True)
        for path in made:
            path.rmdir()


def _sweep(base: Path) -> None:
    """Delete what dead publishers left. For a holder of the base path's lock."""
    for grave in base.glob(f"{REMOVED}*"):
        shutil.rmtree(grave, ignore_errors=True)
    for owner in base.glob(f"{STAGING}*{OWNER}"):
        lock = FileLock(owner)
        with contextlib.suppress(Timeout):  # its publisher lives
            lock.acquire(blocking=False)
            shutil.rmtree(owner.with_suffix(""), ignore_errors=True)
            owner.unlink(missing_ok=True)
            lock.release()


def _cannot_write(base: Path, error: OSError) -> OSError:
    return type(error)(f"Base path {base} cannot be written: {error.strerror or error}.")


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
