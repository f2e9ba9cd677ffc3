"""Version folders under base paths, and the policy that chooses among them.

A version is a sub-folder whose name is an integer (``1``, ``0005``); anything else is not looked at.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from serving.protos import serving_pb2 as pb

log = logging.getLogger(__name__)

MAX_VERSION = 2**63 - 1


def find_versions(base_path: Path) -> dict[int, Path]:
    """The version folders by number; none where the base path does not exist."""
    try:
        with os.scandir(base_path) as entries:
            folders = sorted(entry.name for entry in entries if _is_version(entry))
    except OSError as error:
        log.debug("cannot look into %s: %s", base_path, error)
        return {}
    return {int(name): base_path / name for name in folders}


def _is_version(entry: os.DirEntry) -> bool:
    name = entry.name
    return name.isascii() and name.isdigit() and int(name) <= MAX_VERSION and entry.is_dir()


def choose(available: Mapping[int, Path], policy: pb.VersionPolicy) -> dict[int, Path]:
    """Those that the policy wants: the newest one unless it says otherwise."""
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        wanted = set(available)
    elif choice == "specific":
        wanted = set(policy.specific.versions)
    else:
        wanted = set(sorted(available)[-max(1, policy.latest.num_versions) :])
    return {version: path for version, path in available.items() if version in wanted}


class VersionSource:
    """Tells ``aspire(model, versions)`` what lies under the base paths, each time it is polled."""

    def __init__(self, aspire: Callable[[str, Mapping[int, Path]], None]):
        self._aspire = aspire
        self._configs: dict[str, pb.ModelConfig] = {}
        self._warned: set[tuple[str, str]] = set()

    def set_models(self, configs: Iterable[pb.ModelConfig]) -> None:
        """Replaces the models watched; those dropped are aspired to no more."""
        configs = {config.name: config for config in configs}
        dropped = self._configs.keys() - configs.keys()
        self._configs = configs
        for name in dropped:
            self._aspire(name, {})

    def poll(self) -> None:
        """Looks at every base path once."""
        for config in list(self._configs.values()):
            available = find_versions(Path(config.base_path))
            wanted = choose(available, config.model_version_policy)
            if not wanted:
                self._warn_once(config.name, f"No versions of servable {config.name} found under {config.base_path}")
            for version in set(config.model_version_policy.specific.versions) - wanted.keys():
                self._warn_once(config.name, f"Version {version} of servable {config.name} is asked for but not there")
            self._aspire(config.name, wanted)

    def _warn_once(self, model: str, message: str) -> None:
        if (model, message) not in self._warned:
            self._warned.add((model, message))
            log.warning(message)
