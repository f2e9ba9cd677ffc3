"""The files of a version: of what kind they are, and whether a version of ours has such a one."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

from export import bom, document, golden, manifest, warmup
from export.companions import COMPANIONS
from export.inspection import graphs
from export.inspection.shown import shown
from export.publishing import LABELS, README
from export.saved_model import PROTO
from export.version import CARD, PROOF

_EXACTLY = frozenset(
    [
        *(PROTO, "fingerprint.pb", "variables/variables.index", warmup.FILE),
        *(manifest.FILE, manifest.SIGNATURE, LABELS, CARD, PROOF, bom.FILE, README, document.PICTURE),
        *(companion.file for companion in COMPANIONS.values()),
    ]
)
_LIKE = re.compile(rf"variables/variables\.data-\d{{5}}-of-\d{{5}}|{golden.FOLDER}/[\w.-]+\.npz")
_RUN = (
    (r"saved_model\.(cpb|pbtxt)", "TensorFlow may load it in the place of saved_model.pb"),
    (r"(.*/)?keras_metadata\.pb", "Keras rebuilds layers from it, and runs their code"),
    (r".*\.(keras|h5|hdf5|pkl|pickle|pt|pth|joblib|npy)", "to load it may run code"),
    (r".*\.(py|pyc|so|dll|dylib|sh|exe)", "it is code"),
)


def irregular(folder: Path) -> list[str]:
    """Whatever is neither a file nor a folder, one sentence each: links, pipes, sockets, devices. Nothing is opened."""
    return [
        shown(f"{path.relative_to(folder).as_posix()}: {kind}")
        for path in _entries(folder)
        if (kind := _kind(path.lstat().st_mode)) is not None
    ]


def problems(folder: Path, saved: saved_model_pb2.SavedModel) -> list[str]:
    """Files that a version of ours does not have, one sentence each."""
    assets = {f"assets/{name}" for graph in saved.meta_graphs for name in graphs.asset_names(graph)}
    names = sorted(path.relative_to(folder).as_posix() for path in _entries(folder) if path.is_file())
    return [
        shown(f"{name}: {_why(name)}") for name in names if name not in _EXACTLY | assets and not _LIKE.fullmatch(name)
    ]


def _entries(folder: Path) -> Iterator[Path]:
    """All that lies in a folder; links are not followed."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))


def _kind(mode: int) -> str | None:
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return "a link, which may lead anywhere" if stat.S_ISLNK(mode) else "no file, but a pipe, socket or device"


def _why(name: str) -> str:
    for pattern, why in _RUN:
        if re.fullmatch(pattern, name, re.IGNORECASE):
            return f"no file of a version, and {why}"
    return "no file of a version"
