"""What becomes of versions later: an older one is published again, the oldest go."""

import json
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from export import manifest, signing
from export.version import CARD, Version, at, choose, versions


def rollback(
    base_path: str | Path, to: int | None = None, *, sign: str | Path | Ed25519PrivateKey | None = None
) -> Version:
    """Publish an earlier version again, under the next number. Nothing is taken back: history only grows.

    The files are copies, not links, so that damage to one version never reaches another. They are the same bytes but
    for `card.json`, which says what it is a copy of, and the manifest. So the signature of a signed version is not one
    of its copy, which is signed anew.

    Args:
        base_path: folder of the versions, or its URL.
        to: number of the version to publish again; the one before the newest if not given.
        sign: a private key, or the file of one, see `export.signing`; needed where the version is signed.

    Raises:
        ValueError: there is no such version, its files are no longer those published, or it is signed and there is no
            key.
        OSError: `base_path` cannot be written.
    """
    key = None if sign is None else signing.private_key(sign)
    found = versions(base_path)
    if to is None and len(found) < 2:
        raise ValueError(f"{base_path} has {len(found)} version(s): there is none before the newest to go back to.")
    source = found[-2] if to is None else choose(found, to)
    with source.fetched() as here:
        problems = manifest.check(here.path)
        if problems:
            raise ValueError(f"Version {source.number} is not what was published: {'; '.join(problems)}.")
        if key is None and (here.path / manifest.SIGNATURE).exists():
            raise ValueError(
                f"Version {source.number} is signed. Its signature is not one of its copy, and a server that takes "
                "signed versions alone would refuse that. Accepted: sign=KEY (--sign KEY)."
            )
        with source.base.staged() as folder:
            shutil.copytree(here.path, folder, dirs_exist_ok=True)
            card = {**here.card, "copy_of": {"version": here.number, "manifest_sha256": manifest.digest(here.path)}}
            (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            manifest.write(folder)
            if key is not None:
                signing.write(folder, key)
            return Version(source.base, source.base.commit(folder))


def prune(base_path: str | Path, keep: int = 3) -> list[int]:
    """Delete the oldest versions.

    Each goes out of sight by a rename before its files are deleted, so that no server meets half a version; in an
    object store `saved_model.pb` is deleted first.

    Args:
        base_path: folder of the versions, or its URL.
        keep: how many of the newest to keep.

    Returns:
        Numbers of the deleted versions, oldest first.

    Raises:
        ValueError: `keep` is below 1, or the base path is no folder.
        OSError: `base_path` cannot be written.
    """
    if keep < 1:
        raise ValueError(f"The newest version always stays. Received: keep={keep}. Accepted: 1 and above.")
    return [int(name) for name in at(base_path).prune(keep)]
