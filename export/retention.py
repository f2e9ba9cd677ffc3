"""What becomes of versions later: an older one is published again, the oldest go."""

import functools
import json
import shutil
from pathlib import Path

from export import bom, manifest, store
from export.version import CARD, Version, choose, versions


def rollback(base_path: str | Path, to: int | None = None) -> Version:
    """Publish an earlier version again, under the next number. Nothing is taken back: history only grows.

    The files are copies, not links, so that damage to one version never reaches another. They are the same bytes but
    for `card.json`, which says what it is a copy of, the number in `bom.json`, and the manifest.

    Args:
        base_path: folder of the versions.
        to: number of the version to publish again; the one before the newest if not given.

    Raises:
        ValueError: there is no such version, or its files are no longer those published.
        OSError: `base_path` cannot be written.
    """
    base = Path(base_path)
    found = versions(base)
    if to is None and len(found) < 2:
        raise ValueError(f"{base} has {len(found)} version(s): there is none before the newest to go back to.")
    source = found[-2] if to is None else choose(found, to)
    problems = manifest.check(source.path)
    if problems:
        raise ValueError(f"Version {source.number} is not what was published: {'; '.join(problems)}.")
    with store.staged(base) as folder:
        shutil.copytree(source.path, folder, dirs_exist_ok=True)
        card = {**source.card, "copy_of": {"version": source.number, "manifest_sha256": manifest.digest(source.path)}}
        (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        manifest.write(folder)
        return store.commit(folder, functools.partial(bom.number, folder))


def prune(base_path: str | Path, keep: int = 3) -> list[int]:
    """Delete the oldest versions.

    Each goes out of sight by a rename before its files are deleted, so that no server meets half a version.

    Args:
        base_path: folder of the versions.
        keep: how many of the newest to keep.

    Returns:
        Numbers of the deleted versions, oldest first.

    Raises:
        ValueError: `keep` is below 1, or the base path is no folder.
        OSError: `base_path` cannot be written.
    """
    if keep < 1:
        raise ValueError(f"The newest version always stays. Received: keep={keep}. Accepted: 1 and above.")
    base = Path(base_path)
    versions(base)  # says so if this is no base path, before a lock is made there
    with store.locked(base):
        oldest = versions(base)[:-keep]
        for version in oldest:
            store.remove(version)
    return [version.number for version in oldest]
