"""Writing the files of a deployment."""

import os
from collections.abc import Mapping
from pathlib import Path

from serving.deployment.container import TLS_CONFIG
from serving.docker import NOBODY


def check_free(folder: Path, force: bool) -> None:
    """ValueError for a folder that must not be written into: a file, or one with something in it unless ``force``."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file. Give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise ValueError(f"{folder} is not empty. With --force the files of the same names are replaced")


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Writes the files; only the owner may read the one with the private key."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        if name == TLS_CONFIG:
            path.touch(mode=0o600)
            path.chmod(0o600)
            if os.getuid() == 0:  # the container of whoever is root runs as nobody
                os.chown(path, NOBODY, NOBODY)
        path.write_text(text, "utf-8")
