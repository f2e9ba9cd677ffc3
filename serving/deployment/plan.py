"""What is deployed, whatever runs it: models with their labelled versions, processors, memory."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.base_path import check_base_path, check_version, version_folders
from serving.served_models import check_name

STABLE = "stable"

_MEBIBYTE = 2**20
_SERVER_MEBIBYTES = 1024  # the server alone takes 0.4 GiB; requests under way take the rest
_COPIES = 3  # of a version in memory while it loads: the file, the graph, what TensorFlow makes of it
_STEP = 256


@dataclass(frozen=True)
class Model:
    """A base path, ``given`` as a person wrote it, and the versions that are served: ``labels`` has a name for each."""

    name: str
    base_path: Path
    given: str
    labels: Mapping[str, int]

    @property
    def folders(self) -> dict[int, Path]:
        """The folders of the labelled versions by number, in rising order."""
        found = version_folders(self.base_path)
        return {number: found[number] for number in sorted(set(self.labels.values()))}

    @property
    def next_version(self) -> int:
        """The number that the next version under the base path will have."""
        return max(version_folders(self.base_path)) + 1


@dataclass(frozen=True)
class Plan:
    """A deployment: its name, its models, what one server may use, and the texts of what is optional.

    ``memory`` is in MiB. ``batching`` and ``tls`` are the text protos of the server's files, empty for none.
    For people, ``folder`` is where the files go, ``command_line`` what wrote them, but for what chooses versions.
    """

    name: str
    models: Sequence[Model]
    cpus: int
    memory: int
    batching: str = ""
    tls: str = ""
    folder: str = "DIR"
    command_line: str = "zoo deploy"


def plan(
    base_paths: Sequence[Path],
    labels: Sequence[str],
    *,
    name: str | None = None,
    cpus: int = 1,
    memory: int | None = None,
    **further: str,
) -> Plan:
    """The plan for base paths. Without labels each model's newest version is ``stable``.

    Args:
        base_paths: folders of version folders; a model is named as its folder is.
        labels: ``LABEL=VERSION``, or ``MODEL:LABEL=VERSION``, which several models need.
        name: of the deployment: that of the model, or ``models`` for several, turned into a legal one.
        cpus: processors of one server.
        memory: of one server, in MiB; None: by the size of the versions.
        further: fields of Plan.

    Raises:
        ValueError: says what cannot be served, or is called what cannot be used.
    """
    models = _models(base_paths, labels)
    default_name = models[0].name if len(models) == 1 else "models"
    return Plan(kubernetes_name(name or default_name), models, cpus, memory or _memory(models), **further)


def disk(models: Iterable[Model]) -> int:
    """MiB that the labelled versions take on a disk."""
    files = (file for model in models for folder in model.folders.values() for file in folder.rglob("*"))
    return math.ceil(sum(file.stat().st_size for file in files if file.is_file()) / _MEBIBYTE)


def kubernetes_name(name: str) -> str:
    """The name that a Kubernetes object can have, by RFC 1035 (the stricter form of RFC 1123 that Services need)."""
    turned = re.sub("[_.]", "-", name.lower())
    if len(turned) > 63 or not re.fullmatch("[a-z]([a-z0-9-]*[a-z0-9])?", turned):
        raise ValueError(
            f"Kubernetes names have at most 63 letters, digits and '-', begin with a letter and end with none of '-' "
            f"(RFC 1035). Received: {name!r}. Give another --name"
        )
    return turned


def kubernetes_names(models: Iterable[Model]) -> dict[str, Model]:
    """The models by the names that Kubernetes objects of theirs can have."""
    named: dict[str, Model] = {}
    for model in models:
        name = kubernetes_name(model.name)
        if name in named:
            raise ValueError(f"{named[name].name!r} and {model.name!r} would both be called {name!r}. Rename a folder")
        named[name] = model
    return named


def _memory(models: Iterable[Model]) -> int:
    return math.ceil((_SERVER_MEBIBYTES + _COPIES * disk(models)) / _STEP) * _STEP


def _models(base_paths: Sequence[Path], labels: Sequence[str]) -> list[Model]:
    given: dict[str, Path] = {}
    for base_path in base_paths:
        name = check_base_path(base_path).name
        check_name(name)
        if name in given:
            raise ValueError(f"Two models are called {name!r}: {given[name]} and {base_path}. Rename a folder")
        given[name] = base_path
    chosen = _parse_labels(labels, given)
    return [_model(name, base_path, chosen[name]) for name, base_path in given.items()]


def _model(name: str, given: Path, labels: Mapping[str, int]) -> Model:
    path = given.expanduser().resolve()
    labels = labels or {STABLE: max(version_folders(path))}
    for number in labels.values():
        check_version(path, number)
    return Model(name, path, str(given), labels)


def _parse_labels(labels: Sequence[str], names: Iterable[str]) -> dict[str, dict[str, int]]:
    """The labels of each model."""
    chosen: dict[str, dict[str, int]] = {name: {} for name in names}
    for text in labels:
        match = re.fullmatch(r"(?:([^:=]+):)?([^:=]+)=(\d{1,19})", text, re.ASCII)
        if match is None:
            raise ValueError(f"A label is LABEL=VERSION or MODEL:LABEL=VERSION, such as canary=2. Received: {text!r}")
        model, label, version = match.groups()
        if model is None and len(chosen) > 1:
            raise ValueError(f"Of several models, say which one: MODEL:{text}. They are: {', '.join(chosen)}")
        model = next(iter(chosen)) if model is None else model
        if model not in chosen:
            raise ValueError(f"No model {model!r} to label. There is: {', '.join(chosen)}")
        if label in chosen[model]:
            raise ValueError(f"The label {label!r} of {model!r} is given twice")
        chosen[model][label] = int(version)
    return chosen
