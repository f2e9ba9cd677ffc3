"""A published version, and the versions of a base path."""

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.nearest import unknown

CARD = "card.json"
PROOF = "proof.json"
SAVED_MODEL = "saved_model.pb"
DEFAULT = "serving_default"
"""The signature that every version has: the model's own tensors."""

_NUMBER = re.compile(r"[0-9]{1,18}")  # a larger one is no int64, which TF Serving counts in


@dataclass(frozen=True)
class Version:
    """A folder `base/<integer>/`.

    Attributes:
        path: the folder.
        number: its integer name.
    """

    path: Path
    number: int

    @functools.cached_property
    def card(self) -> dict[str, Any]:
        """What a reader should know of it, read from `card.json`; empty where a version carries none."""
        return _read_json(self.path / CARD)

    @functools.cached_property
    def proof(self) -> dict[str, Any]:
        """The comparisons made when it was published, read from `proof.json`; empty where a version carries none."""
        return _read_json(self.path / PROOF)


def versions(base_path: str | Path) -> list[Version]:
    """The versions of a base path, oldest first. Folders whose names are no integers are passed over.

    Raises:
        ValueError: the base path is no folder.
    """
    base = Path(base_path)
    if not base.is_dir():
        raise ValueError(f"{base} is no folder. Accepted: a base path, whose folders are versions 1, 2, ….")
    found = [Version(path, int(path.name)) for path in base.iterdir() if is_number(path.name) and path.is_dir()]
    return sorted(found, key=lambda version: version.number)


def find(path: str | Path) -> Version:
    """A version folder, or the newest version of a base path.

    Raises:
        ValueError: there is no version.
    """
    path = Path(path)
    if (path / SAVED_MODEL).is_file() and is_number(path.resolve().name):
        return Version(path, int(path.resolve().name))
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


def is_number(name: str) -> bool:
    """Whether TF Serving would take a folder of this name for a version."""
    return _NUMBER.fullmatch(name) is not None


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
