"""What a version folder says beside its SavedModel: card, labels, golden inputs, as ``zoo publish`` writes them.

Any other version has none of these, and is served all the same.
"""

import json
import zipfile
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]

_CARD = "card.json"
_LABELS = "labels.txt"
_GOLDEN = "golden"  # real inputs, one file for each signature


def find(path: Path, version: int) -> Path:
    """The folder of a version: ``path`` itself, or the one of that number where ``path`` is a base path that has it."""
    inside = path / str(version)
    return inside if inside.is_dir() else path


def card(folder: Path) -> dict:
    """What its publisher says of it. Empty where there is no card; ValueError for one that is damaged."""
    try:
        found = json.loads((folder / _CARD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{folder / _CARD} is no card of a version: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{folder / _CARD} is no card of a version: it holds no object")
    return found


def labels(folder: Path) -> list[str]:
    """The names of all classes; none where they are not told."""
    try:
        return (folder / _LABELS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def golden_files(folder: Path) -> dict[str, Path]:
    """The files of its golden set, by signature."""
    return {file.stem: file for file in sorted((folder / _GOLDEN).glob("*.npz"))}


def golden_inputs(path: Path) -> Arrays:
    """The inputs in one file of a golden set: an array for each, examples first; strings as objects of ``bytes``.

    Numbers lie in ``inputs/array/NAME``; strings as all their bytes in ``inputs/bytes/NAME`` and their
    lengths, in the array's shape, in ``inputs/lengths/NAME``. ValueError for a file that is damaged.
    """
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as packed:
            for key in packed.files:
                group, kind, name = key.split("/", 2)
                if group == "inputs" and kind == "array":
                    arrays[name] = packed[key]
                elif group == "inputs" and kind == "lengths":
                    arrays[name] = _strings(packed[f"inputs/bytes/{name}"].tobytes(), packed[key])
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is no file of a golden set: {error}") from None
    return arrays


def _strings(data: bytes, lengths: np.ndarray) -> np.ndarray:
    ends = np.cumsum(lengths)
    strings = np.empty(lengths.size, object)
    strings[:] = [data[end - length : end] for end, length in zip(ends, lengths.flat, strict=True)]
    return strings.reshape(lengths.shape)
