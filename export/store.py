"""Base paths on this machine: versions are staged, durable, numbered, and visible by one rename.

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from export.base_path import BasePath, numbered

LOCK = ".lock"
STAGING = ".staging-"
OWNER = ".owner"
REMOVED = ".removed-"


@dataclass(frozen=True)
class Folder(BasePath):
    """A base path on this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def parent(self) -> "Folder":
        return Folder(self.path.resolve().parent)

    def path_of(self, version: str) -> Path:
        return self.path / version

    def entries(self) -> set[str]:
        """Names of all that lies directly in it. ValueError: it is no folder."""
        if not self.path.is_dir():
            raise ValueError(f"{self} is no folder. Accepted: a base path, whose folders are versions 1, 2, ….")
        return {path.name for path in self.path.iterdir()}

    def versions(self) -> list[str]:
        """Names of the versions, oldest first. ValueError: it is no folder."""
        return [name for name in numbered(self.entries()) if self.path_of(name).is_dir()]

    def read(self, version: str, file: str) -> str | None:
        path = self.path_of(version) / file
        return path.read_text(encoding="utf-8") if path.is_file() else None

    @contextlib.contextmanager
    def fetched(self, version: str) -> Iterator["Folder"]:
        """Itself."""
        yield self

    @contextlib.contextmanager
    def staged(self) -> Iterator[Path]:
        """A new folder in the base path, which is made if it is not there. ValueError: the base path is a file."""
        made = _make(self.path)
        folder = self.path / f"{STAGING}{uuid.uuid4().hex}"
        owner = FileLock(f"{folder}{OWNER}")
        try:
            with self._locked():
                _sweep(self.path)
                owner.acquire()
                folder.mkdir()
            yield folder
        finally:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder, ignore_errors=True)
                Path(owner.lock_file).unlink(missing_ok=True)
            owner.release()
            _unmake(made)

    def commit(self, folder: Path) -> str:
        """Write a staged folder through to the disk, and rename it to the next free number."""
        try:
            _sync_tree(folder)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        with self._locked():
            number = max(map(int, numbered(self.entries())), default=0)
            while True:
                number += 1
                try:
                    folder.rename(self.path / str(number))
                    break
                except OSError:
                    # Taken by hand since we looked.
                    if not (self.path / str(number)).exists():
                        raise
            _sync(self.path)
        return str(number)

    def put(self, version: str, file: str, content: bytes) -> None:
        """By a rename from the base path: the version never holds half a file, nor one more."""
        scratch = self.path / f"{REMOVED}{uuid.uuid4().hex}"
        try:
            with self._locked():
                scratch.mkdir()
                (scratch / file).write_bytes(content)
                _sync(scratch / file)
                (scratch / file).replace(self.path_of(version) / file)
                _sync(self.path_of(version))
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def prune(self, keep: int) -> list[str]:
        """Each goes out of sight by a rename before its files are deleted: no server meets half a version."""
        self.entries()  # says so if this is no base path, before a lock is made there
        with self._locked():
            oldest = self.versions()[:-keep]
            for name in oldest:
                grave = self.path / f"{REMOVED}{name}-{uuid.uuid4().hex}"
                self.path_of(name).rename(grave)
                _sync(self.path)
                shutil.rmtree(grave)
        return oldest

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire()
        except OSError as error:
            raise _cannot_write(self.path, error) from error
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
