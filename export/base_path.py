"""What a base path is, wherever it lies: on this machine (`store.Folder`) or in an object store (`bucket.Bucket`)."""

import abc
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

SAVED_MODEL = "saved_model.pb"

_NUMBER = re.compile(r"[0-9]{1,18}")  # a larger one is no int64, which TF Serving counts in


def is_number(name: str) -> bool:
    """Whether TF Serving would take a folder of this name for a version."""
    return _NUMBER.fullmatch(name) is not None


def numbered(names: Iterable[str]) -> list[str]:
    """Those that are numbers, the smallest first."""
    return sorted(filter(is_number, names), key=int)


class BasePath(abc.ABC):
    """Where the versions of a model lie, each in a folder that is called by its number. `str` gives what it is called.

    All methods raise OSError, with a message that names the base path, where it cannot be read or written.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Its last part, by which servers know the model."""

    @property
    @abc.abstractmethod
    def parent(self) -> "BasePath":
        """What it lies in."""

    @abc.abstractmethod
    def path_of(self, version: str) -> Path | str:
        """The folder of a version; in an object store the URL."""

    @abc.abstractmethod
    def entries(self) -> set[str]:
        """Names of all that lies directly in it."""

    @abc.abstractmethod
    def versions(self) -> list[str]:
        """Names of the versions, oldest first."""

    @abc.abstractmethod
    def read(self, version: str, file: str) -> str | None:
        """The text in a file of a version; None where there is no such file."""

    @abc.abstractmethod
    def fetched(self, version: str) -> AbstractContextManager["BasePath"]:
        """A base path on this machine that holds the version for as long as the context lasts."""

    @abc.abstractmethod
    def staged(self) -> AbstractContextManager[Path]:
        """A new folder on this machine, invisible to servers, in which to build a version.

        Left behind is what `commit` made of it, and nothing else. What cannot be written is told at once, before the
        minutes that a proof may take.
        """

    @abc.abstractmethod
    def commit(self, folder: Path) -> str:
        """Make a staged folder visible, whole or not at all, under the next free number; the number."""

    @abc.abstractmethod
    def put(self, version: str, file: str, content: bytes) -> None:
        """Write a file of a version, whole or not at all, in the place of one of that name."""

    @abc.abstractmethod
    def prune(self, keep: int) -> list[str]:
        """Delete all versions but the newest so many; the names of the deleted ones, oldest first."""
