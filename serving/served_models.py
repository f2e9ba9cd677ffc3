"""The models that a server is told to serve: names, base paths, which versions, and labels on them."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serving.protos import serving_pb2 as pb

PLATFORM = "tensorflow"

_LEGAL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LEGAL_LABEL = re.compile(r"[A-Za-z0-9_.-]+")  # it is part of a path: /v1/models/NAME/labels/LABEL
_MAX_VERSION = 2**63 - 1


@dataclass(frozen=True)
class ServedModel:
    """One model of a list: ``versions`` is how many of the newest are served, ``"all"``, or the numbers of those.

    ``labels`` gives names to versions, such as ``{"stable": 1, "canary": 2}``. ValueError for what no server takes.
    """

    base_path: str | os.PathLike
    versions: int | str | Iterable[int] = 1
    labels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self):
        for label, version in self.labels.items():
            if not _LEGAL_LABEL.fullmatch(label):
                raise ValueError(f"A label is letters, digits, '_', '.' and '-'. Received: {label!r}")
            _check_version(version, f"{label}={version}")
        if isinstance(self.versions, int):
            if self.versions < 1:
                raise ValueError(f"At least one of the newest versions is served. Received: {self.versions}")
        elif isinstance(self.versions, str):
            if self.versions != "all":
                raise ValueError(f"versions is a number, 'all', or a list of numbers. Received: {self.versions!r}")
        else:
            object.__setattr__(self, "versions", tuple(self.versions))
            for version in self.versions:
                _check_version(version, version)

    def policy(self) -> pb.VersionPolicy:
        """``versions`` as TensorFlow Serving reads it."""
        if self.versions == "all":
            return pb.VersionPolicy(all=pb.VersionPolicy.All())
        if isinstance(self.versions, int):
            return pb.VersionPolicy(latest=pb.VersionPolicy.Latest(num_versions=self.versions))
        return pb.VersionPolicy(specific=pb.VersionPolicy.Specific(versions=self.versions))


def server_config(models: Mapping[str, ServedModel]) -> pb.ModelServerConfig:
    """The list as ``--model_config_file`` and HandleReloadConfigRequest take it. Base paths are absolute."""
    config = pb.ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, model in models.items():
        check_name(name)
        path = os.fspath(model.base_path)
        if not Path(path).is_absolute():
            raise ValueError(f"TensorFlow Serving takes absolute base paths only. Received: {path!r} for {name!r}")
        config.model_config_list.config.add(
            name=name,
            base_path=path,
            model_platform=PLATFORM,
            model_version_policy=model.policy(),
            version_labels=model.labels,
        )
    return config


def check_name(name: str) -> None:
    """ValueError for a name that no path of the REST API, and no folder of a container, could have."""
    if not _LEGAL_NAME.fullmatch(name):
        raise ValueError(
            "A model's name is letters, digits, '_', '.' and '-', and starts with none of the last two. "
            f"Received: {name!r}"
        )


def _check_version(version: int, received: object) -> None:
    if not 0 <= version <= _MAX_VERSION:
        raise ValueError(f"A version is a whole number from 0 to 2^63 - 1. Received: {received}")
