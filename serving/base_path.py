"""Base paths as TensorFlow Serving reads them: a folder whose integer-named folders are the versions of one model."""

import os
import re
from pathlib import Path

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # of two letters at least: C:/ is a drive


def check_base_path(base_path: str | os.PathLike) -> Path:
    """The absolute path of a base path whose newest version holds a model. ValueError says what is wrong with it."""
    if is_url(base_path):
        raise ValueError(
            f"{base_path} is a URL. The engines serve folders of this machine; copy the versions into one, with "
            "aws s3 sync, gcloud storage rsync or azcopy sync. What reads a bucket by itself: serving/README.md"
        )
    path = Path(base_path).expanduser().resolve()
    if path.is_file():
        raise ValueError(f"{base_path} is a file. A base path is a folder that holds version folders, such as 1 and 2")
    if not path.is_dir():
        raise ValueError(
            f"No such folder: {base_path}. A base path holds version folders: {path.name}/1, {path.name}/2"
        )
    if _is_saved_model(path):
        raise ValueError(f"{base_path} is a version, not a base path. Give the folder that it lies in: {path.parent}")
    versions = version_folders(path)
    if not versions:
        there = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
        raise ValueError(f"No version in {base_path}: a version is a folder with a number for a name. It has: {there}")
    check_version(path, max(versions))
    return path


def check_version(base_path: Path, number: int) -> Path:
    """The folder of a version. ValueError where it is not there or holds no model."""
    versions = version_folders(base_path)
    if number not in versions:
        raise ValueError(f"No version {number} in {base_path}. It has: {', '.join(map(str, sorted(versions)))}")
    folder = versions[number]
    if not _is_saved_model(folder):
        raise ValueError(f"{folder} holds no SavedModel (no saved_model.pb), and a server would end at it")
    return folder


def is_url(path: str | os.PathLike) -> bool:
    """Whether that is a URL, or what a ``Path`` makes of one (``s3:/bucket``), and no folder."""
    return _SCHEME.match(str(path)) is not None


def version_folders(path: Path) -> dict[int, Path]:
    """The folders of ``path`` that TensorFlow Serving takes for versions."""
    return {int(entry.name): entry for entry in path.iterdir() if _is_version(entry)}


def _is_version(path: Path) -> bool:
    return path.name.isascii() and path.name.isdigit() and int(path.name) < 2**63 and path.is_dir()


def _is_saved_model(path: Path) -> bool:
    return any((path / file).is_file() for file in ("saved_model.pb", "saved_model.pbtxt", "model.tflite"))
