"""A folder of files: one sub-folder per class, or these under `train/`, `validation/` (or `val/`) and `test/`."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from recipes.data import targets
from recipes.data.parts import Rows
from recipes.data.pictures import Picture, common_shape, examine
from recipes.data.source import Source
from zoo.nearest import choose

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg")
PART_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
NAMED_IN_ERRORS = 5


def open_folder(folder: Path, *, task: str, target: str | None = None) -> Source:
    """Open a folder of PNG and JPEG files and read each once, to be sure that it can be.

    Other files are ignored, with a warning that counts them. The bytes reach training unchanged. The fingerprint covers
    every file's path within the folder and all its bytes.

    Raises:
        ValueError: no class folders, a class without pictures, a class that training never shows, unreadable pictures.
    """
    targets.check_kind("image", task)
    listed = listed_classes(folder, is_picture, "picture", "PNG or JPEG")
    labels = labels_of(folder, listed)
    _warn_of_others(folder, sum(len(paths) for classes in listed.values() for paths in classes.values()))
    pictures, hashes = examined([p for classes in listed.values() for ps in classes.values() for p in ps])
    counts = [len(listed["train"][label]) for label in labels]
    targets.check_classes(str(folder), counts, labels, task)
    return Source(
        name=str(folder),
        kind="image",
        parts={part: rows(folder, classes, labels, hashes) for part, classes in listed.items()},
        target=target or "label",
        fingerprint=fingerprint(folder, hashes),
        labels=labels,
        image_shape=common_shape(pictures),
        pixels="encoded",
    )


def part_folders(folder: Path) -> dict[str, Path]:
    """The folder of each part: the folder itself, unless all its sub-folders are named like parts."""
    names = [sub.name for sub in _folders(folder)]
    if "train" not in names or not set(names) <= set(PART_FOLDERS):
        return {"train": folder}
    if {"validation", "val"} <= set(names):
        raise ValueError(f"{folder} holds both validation and val: keep one.")
    return {PART_FOLDERS[name]: folder / name for name in names}


Listed = dict[str, dict[str, list[Path]]]
"""Part → class → its files."""


def listed_classes(folder: Path, is_wanted: Callable[[Path], bool], what: str, suffixes: str) -> Listed:
    """The files of every class in every part; see `list_files`."""
    return {part: list_files(path, is_wanted, what, suffixes) for part, path in part_folders(folder).items()}


def list_files(folder: Path, is_wanted: Callable[[Path], bool], what: str, suffixes: str) -> dict[str, list[Path]]:
    """Class name → its files of the wanted kind, which `what` and `suffixes` call by name.

    Raises:
        ValueError: no sub-folder, or one without such files.
    """
    classes = {sub.name: sorted(path for path in sub.iterdir() if is_wanted(path)) for sub in _folders(folder)}
    if not classes:
        raise ValueError(f"{folder} holds no {what}s to learn from: put them in one sub-folder per class.")
    empty = sorted(name for name, paths in classes.items() if not paths)
    if empty:
        raise ValueError(f"No {suffixes} file in {', '.join(str(folder / name) for name in empty)}.")
    return classes


def labels_of(folder: Path, listed: Mapping[str, Mapping[str, Sequence[Path]]]) -> tuple[str, ...]:
    """The classes of the training part, sorted.

    Raises:
        ValueError: another part has a class that training never shows.
    """
    labels = tuple(sorted(listed["train"]))
    for part, classes in listed.items():
        for name in classes:
            choose(f"class in the {part} part of {folder}:", name, labels)
    return labels


def is_picture(path: Path) -> bool:
    """Whether a file is named like a PNG or JPEG; hidden files are not."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _folders(folder: Path) -> list[Path]:
    # Hidden folders belong to tools: .git, .ipynb_checkpoints, __MACOSX.
    return sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith((".", "__")))


def _warn_of_others(folder: Path, pictures: int) -> None:
    files = sum(len(files) for _, _, files in os.walk(folder))
    if files > pictures:
        log.warning("%s: ignored %d files that are not PNG or JPEG files in a class folder.", folder, files - pictures)


def examined(paths: Sequence[Path]) -> tuple[set[Picture], dict[Path, bytes]]:
    """Sizes that occur, and the SHA-256 of every file.

    Raises:
        ValueError: names the files that cannot be read.
    """

    def read(path: Path) -> tuple[Picture | str, bytes]:
        content = path.read_bytes()
        try:
            return examine(content), hashlib.sha256(content).digest()
        except ValueError as error:
            return f"{path} ({error})", b""

    with ThreadPoolExecutor() as threads:
        results = list(threads.map(read, paths))
    broken = [result for result, _ in results if isinstance(result, str)]
    if broken:
        more = f" and {len(broken) - NAMED_IN_ERRORS} more" if len(broken) > NAMED_IN_ERRORS else ""
        raise ValueError(f"Unreadable pictures: {', '.join(broken[:NAMED_IN_ERRORS])}{more}. Mend or remove them.")
    return {result for result, _ in results}, dict(zip(paths, (hash for _, hash in results), strict=True))


def fingerprint(folder: Path, hashes: Mapping[Path, bytes], *annotations: bytes) -> str:
    """SHA-256 over every file's path within the folder and its bytes' SHA-256, and over what belongs to the files."""
    lines = sorted(f"{path.relative_to(folder).as_posix()} {hash.hex()}" for path, hash in hashes.items())
    beside = [hashlib.sha256(content).hexdigest() for content in annotations]
    return hashlib.sha256("\n".join([*lines, *beside]).encode()).hexdigest()


def rows(
    folder: Path, classes: Mapping[str, Iterable[Path]], labels: Sequence[str], hashes: Mapping[Path, bytes]
) -> Rows:
    """Paths and class ids, in the order of the paths' hashes: the classes are mixed, whatever buffer shuffles them."""
    pairs = [(path, labels.index(name)) for name, paths in classes.items() for path in paths]
    pairs.sort(key=lambda pair: hashlib.sha256(os.path.relpath(pair[0], folder).encode()).digest())
    paths, ids = zip(*pairs, strict=True)
    return files(paths, np.array(ids, np.int64), hashes)


def files(paths: Sequence[Path], y: np.ndarray, hashes: Mapping[Path, bytes]) -> Rows:
    """Files as examples, with their targets."""
    digests = np.array([hashes[path] for path in paths], "S32")
    return Rows(np.array([os.fspath(path) for path in paths]), y, load=tf.io.read_file, digests=digests)
