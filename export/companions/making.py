"""Companions are made, and prove themselves, or nothing is published: a person asked for them by name."""

import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf

from export.companions import COMPANIONS
from export.companions.companion import Companion, Unavailable
from export.fresh_process import FreshProcess
from export.golden import Golden
from export.proof import Claim, Proved
from export.rewriting import freezing, loops, weights
from export.rewriting.freezing import Frozen
from export.version import DEFAULT
from zoo.nearest import choose


def named(names: str | Sequence[str]) -> list[Companion]:
    """The companions of these names.

    Raises:
        ValueError: there is none of a name, or a package that it takes is not installed.
    """
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    found = [COMPANIONS[choose("companion", name, COMPANIONS)] for name in names]
    for companion in found:
        if lacking := companion.lacks(companion.packages):
            raise ValueError(f"Nothing was published: {lacking}")
    return found


def add(companions: Sequence[Companion], plain: Proved, process: FreshProcess) -> dict[str, Proved]:
    """Write companions beside a SavedModel, and hold them to what that was held to.

    Raises:
        ValueError: one of them cannot express the model.
        ProofFailed: one of them answers otherwise than Keras.
    """
    if not companions:
        return {}
    frozen = _frozen(plain.path)
    claim = plain.claim.of(DEFAULT)
    return {each.name: _added(each, frozen, plain.path, claim, process) for each in companions}


def records(beside: Mapping[str, Proved], stored: Mapping[str, Golden]) -> dict[str, Any]:
    """What `proof.json` says of companions, by name, and of the golden examples that are kept in the version."""
    return {
        name: {
            "file": one.path.name,
            "versions": {package: metadata.version(package) for package in COMPANIONS[name].packages},
            "signatures": one.record(stored)["signatures"],
        }
        for name, one in beside.items()
    }


def _frozen(folder: Path) -> Frozen:
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return freezing.freeze(folder, Path(scratch), [DEFAULT]).after(weights.within, loops.whole_loops)
    except (tf.errors.OpError, ValueError) as error:
        raise ValueError(
            f"Nothing was published: companions are frozen graphs, and it cannot be frozen: {error}"
        ) from error


def _added(companion: Companion, frozen: Frozen, folder: Path, claim: Claim, process: FreshProcess) -> Proved:
    try:
        made = companion.make(frozen)
    except Unavailable as error:
        raise ValueError(
            f"Nothing was published: signature {DEFAULT!r} cannot be had as companion {companion.name!r}: {error}. "
            "Accepted: to publish without it."
        ) from error
    file = folder / companion.file
    file.write_bytes(made)
    return claim.proved(file, process.replay(file, folder), f"companion {companion.name!r}")
