"""The SHA-256 manifest of a version, in the format of `sha256sum -c`.

A stranger checks it without this package: `cd served/lenet5/1 && sha256sum -c SHA256SUMS`.
"""

import hashlib
from pathlib import Path

FILE = "SHA256SUMS"


def write(folder: Path) -> None:
    """Write `SHA256SUMS` over every other file of the folder."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _files(folder)]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")


def renew(folder: Path, name: str) -> None:
    """Write into `SHA256SUMS` what one file of the folder is now."""
    lines = (folder / FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    others = [line for line in lines if not line.endswith(f"  {name}\n")]
    (folder / FILE).write_text("".join([*others, f"{_sha256(folder / name)}  {name}\n"]), encoding="utf-8")


def check(folder: Path) -> list[str]:
    """What differs from the manifest: one line per changed, missing or extra file, naming it. Empty: nothing."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return [f"{FILE}: missing, so nothing can be checked"]
    recorded = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _files(folder)
    changed = [name for name in found if name in recorded and _sha256(folder / name) != recorded[name]]
    return [
        *(f"{name}: changed" for name in changed),
        *(f"{name}: missing" for name in sorted(recorded.keys() - found)),
        *(f"{name}: not in the manifest" for name in found if name not in recorded),
    ]


def digest(folder: Path) -> str:
    """SHA-256 of the manifest itself: one number for the whole version."""
    return _sha256(folder / FILE)


def _files(folder: Path) -> list[str]:
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(path for path in paths if path != FILE)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
