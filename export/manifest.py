"""The SHA-256 manifest of a version, in the format of `sha256sum -c`.

A stranger checks it without this package: `cd served/lenet5/1 && sha256sum -c SHA256SUMS`. Who signed it, if anybody
did, is in a file beside it: see `export.signing`.
"""

import hashlib
from pathlib import Path

FILE = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"


def write(folder: Path) -> None:
    """Write `SHA256SUMS` over every other file of the folder, and take away the signature of another manifest."""
    (folder / SIGNATURE).unlink(missing_ok=True)
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _files(folder)]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")


def read(folder: Path) -> dict[str, str]:
    """File → SHA-256, as `SHA256SUMS` records it."""
    lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def check(folder: Path) -> list[str]:
    """What differs from the manifest: one line per changed, missing or extra file, naming it. Empty: nothing."""
    try:
        recorded = read(folder)
    except FileNotFoundError:
        return [f"{FILE}: missing, so nothing can be checked"]
    found = _files(folder)
    changed = [name for name in found if name in recorded and _sha256(folder / name) != recorded[name]]
    return [
        *(f"{name}: changed" for name in changed),
        *(f"{name}: missing" for name in sorted(recorded.keys() - found)),
        *(f"{name}: not in the manifest" for name in found if name not in recorded),
    ]


def of_all(folder: Path) -> dict[str, str]:
    """File → SHA-256 of every file: those listed, the manifest, and its signature where it has one."""
    beside = [name for name in (FILE, SIGNATURE) if (folder / name).is_file()]
    return {**read(folder), **{name: _sha256(folder / name) for name in beside}}


def digest(folder: Path) -> str:
    """SHA-256 of the manifest itself: one number for the whole version."""
    return _sha256(folder / FILE)


def _files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    paths = (path.relative_to(folder).as_posix() for path in found)
    return sorted(path for path in paths if path not in (FILE, SIGNATURE))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
