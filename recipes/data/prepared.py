"""TFDS builders whose data is there: our own, prepared on first use; prepared ones; public ones, downloaded once."""

import contextlib
import functools
import io
import logging
import os
import re
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import filelock
import tensorflow_datasets as tfds
from tensorflow_datasets.core import naming, read_only_builder
from tensorflow_datasets.core.registered import DatasetNotFoundError

from recipes import datasets
from zoo.nearest import choose, unknown

NONE_STATED = "none stated"
"""The licence of what was asked for one and names none."""


def data_folder(data_dir) -> Path:
    """Where prepared data sets lie: `data_dir`, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def is_at_hand(name: str, data_dir=None) -> bool:
    """Whether a data set of that name is ours or lies prepared in the data folder."""
    return naming.is_valid_dataset_name(name) and (
        _base_name(name) in datasets.NAMES or builder_of_files(name, data_folder(data_dir)) is not None
    )


def is_known(name: str) -> bool:
    """Whether TFDS or this package has a builder of that name."""
    return naming.is_valid_dataset_name(name) and _base_name(name) in _known_names()


def unknown_name(name: str) -> ValueError:
    """The error for a name that stands for no data set; offers the nearest of ours and TFDS' own."""
    base = re.split("[/:]", name)[0]
    # TFDS knows hundreds: the nearest match and our own are what a person can use.
    message = str(unknown("data set", base, sorted(_known_names()))).partition(" Accepted: ")[0]
    return ValueError(
        f"{message} Accepted: {', '.join(datasets.NAMES)}; any name of tfds.list_builders(), such as 'mnist'; "
        "a folder of pictures; a CSV file."
    )


def _known_names() -> set[str]:
    return {*datasets.NAMES, *tfds.list_builders(with_community_datasets=False)}


def _base_name(name: str) -> str:
    dataset, _ = naming.parse_builder_name_kwargs(name)
    return dataset.name if not dataset.namespace else str(dataset)


def builder_of_files(name: str, folder: Path) -> tfds.core.DatasetBuilder | None:
    """The builder of a data set that lies prepared in a folder, or None."""
    try:
        return read_only_builder.builder_from_files(name, data_dir=os.fspath(folder))
    except DatasetNotFoundError:
        return None


def find_builder(name: str, data_dir=None) -> tfds.core.DatasetBuilder:
    """The builder of a data set whose files are there, prepared now if they were not.

    Raises:
        ValueError: unknown name or configuration, or data that can neither be found nor had.
    """
    folder = data_folder(data_dir)
    if not naming.is_valid_dataset_name(name):
        raise unknown_name(name)
    if _base_name(name) in datasets.NAMES:
        return _own_builder(name, folder)
    if builder := builder_of_files(name, folder):
        return builder
    if not is_known(name):
        raise unknown_name(name)
    return _downloaded(name, folder)


def license_of(builder: tfds.core.DatasetBuilder) -> str:
    """Under which licence a data set is published, as it says itself, in one line."""
    return " ".join(builder.info.redistribution_info.license.split()) or NONE_STATED


def _own_builder(name: str, folder: Path) -> tfds.core.DatasetBuilder:
    dataset, arguments = naming.parse_builder_name_kwargs(name)
    builder = datasets.BUILDERS[dataset.name]
    for argument in arguments.keys() - {"config", "version"}:
        choose(f"argument of {dataset.name!r}", argument, getattr(builder, "ARGUMENTS", ()))
    if "config" in arguments:
        choose(f"configuration of {dataset.name!r}", arguments["config"], builder.builder_configs)
    if hasattr(builder, "SOURCE"):
        # Where the data may only be read, what is made of it goes elsewhere.
        arguments["source_dir"] = os.fspath(folder)
    make = functools.partial(builder, data_dir=os.fspath(_writable(folder)), **arguments)
    try:
        with _one_at_a_time, _quiet():
            return prepare(make)
    except AssertionError as error:  # TFDS' word for a version that the builder does not have
        raise ValueError(f"Data set {name!r}: {error}") from None


def _writable(folder: Path) -> Path:
    """The folder itself, or the user's own where a shared one may only be read."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    # The superuser can write also where the permissions say that nobody shall.
    is_open = os.access(existing, os.W_OK) and existing.stat().st_mode & 0o222
    return folder if is_open else Path("~/tensorflow_datasets").expanduser()


def _downloaded(name: str, folder: Path) -> tfds.core.DatasetBuilder:
    make = functools.partial(tfds.builder, name, data_dir=os.fspath(folder))
    try:
        _check_network(make())
        return prepare(make)
    except Exception as error:  # whatever stopped it, the person needs to know what to do
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ValueError(
            f"Data set {name!r} is not prepared in {folder} and could not be downloaded ({reason}). With a network: "
            f"`tfds build {name} --data_dir {folder}`; or pass the folder that holds it as data_dir or "
            f"TFDS_DATA_DIR; without either: {', '.join(datasets.NAMES)}."
        ) from None


def _check_network(builder: tfds.core.DatasetBuilder) -> None:
    """Raise OSError where the first host to download from has no address: TFDS would retry for minutes."""
    hosts = [urllib.parse.urlsplit(url).hostname for url in builder.url_infos or ()]
    if hosts and not urllib.request.getproxies():
        socket.getaddrinfo(hosts[0], None)


def prepare(make: Callable[[], tfds.core.DatasetBuilder]) -> tfds.core.DatasetBuilder:
    """A builder whose data is there. Of several processes at once, one prepares it and the others wait."""
    builder = make()
    if builder.is_prepared():
        return builder
    root = Path(builder.data_dir_root)
    root.mkdir(parents=True, exist_ok=True)
    # TFDS renames a finished folder into place, which fails where another process was quicker.
    with filelock.FileLock(root / f".{builder.name}.lock"):
        builder = make()  # made anew, it knows the data that another process prepared meanwhile
        builder.download_and_prepare()
    return builder


# `_quiet` changes the process's standard output and logging: threads must not take turns inside it.
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def _quiet():
    """No notes and progress bars about data that takes a second to make."""
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        absl.setLevel(level)
