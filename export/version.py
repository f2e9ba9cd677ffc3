"""A published version, and the versions of a base path."""

import contextlib
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.base_path import SAVED_MODEL, BasePath, is_number
from export.store import Folder
from zoo.nearest import unknown

CARD = "card.json"
PROOF = "proof.json"
DEFAULT = "serving_default"
"""The signature that every version has: the model's own tensors."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # of two letters at least: C:/ is a drive


@dataclass(frozen=True)
class Version:
    """A folder `base/<integer>/`.

    Attributes:
        base: the base path.
        name: the folder's name in it.
    """

    base: BasePath
    name: str

    @property
    def number(self) -> int:
        """The integer that it is called."""
        return int(self.name)

    @property
    def path(self) -> Path | str:
        """The folder; of a version in an object store the URL."""
        return self.base.path_of(self.name)

    @functools.cached_property
    def card(self) -> dict[str, Any]:
        """What a reader should know of it, read from `card.json`; empty where a version carries none."""
        return self._read_json(CARD)

    @functools.cached_property
    def proof(self) -> dict[str, Any]:
        """The comparisons made when it was published, read from `proof.json`; empty where a version carries none."""
        return self._read_json(PROOF)

    @contextlib.contextmanager
    def fetched(self) -> Iterator["Version"]:
        """The version on this machine: itself, or a copy for as long as the context lasts."""
        with self.base.fetched(self.name) as folder:
            yield Version(folder, self.name)

    def _read_json(self, file: str) -> dict[str, Any]:
        return json.loads(self.base.read(self.name, file) or "{}")


def at(base_path: str | Path) -> BasePath:
    """The base path of that name.

    Raises:
        ValueError: it is a URL that fsspec does not know.
        ImportError: what reaches it is not installed.
    """
    name = str(base_path)
    scheme, is_url, rest = name.partition("://")
    if not is_url and _SCHEME.match(name):
        raise ValueError(
            f"Base path {name} is neither a folder nor a URL; a pathlib.Path takes a URL's second slash away. "
            "Accepted: a folder, or a URL as a string, such as s3://bucket/lenet5."
        )
    if not is_url or scheme == "file":
        return Folder(Path(rest if is_url else name))
    from export import bucket  # fsspec, for those who need it

    return bucket.at(name)


def versions(base_path: str | Path) -> list[Version]:
    """The versions of a base path, oldest first. Folders whose names are no integers are passed over.

    Args:
        base_path: a folder, or the URL of one in an object store, such as `s3://bucket/lenet5`.

    Raises:
        ValueError: the base path is no folder, or no URL that is known.
        OSError: an object store does not tell.
    """
    base = at(base_path)
    return [Version(base, name) for name in base.versions()]


def find(path: str | Path) -> Version:
    """A version folder, or the newest version of a base path.

    Raises:
        ValueError: there is no version.
        OSError: an object store does not tell.
    """
    base = at(path)
    if is_number(base.name) and SAVED_MODEL in base.entries():
        return Version(base.parent, base.name)
    found = versions(path)
    if not found:
        raise ValueError(f"{path} holds no version. Accepted: a version folder such as served/lenet5/1, or its parent.")
    return found[-1]


def choose(found: list[Version], number: int) -> Version:
    """The version of that number among those found, or ValueError."""
    by_number = {version.number: version for version in found}
    if number not in by_number:
        raise unknown("version", number, map(str, by_number))
    return by_number[number]
