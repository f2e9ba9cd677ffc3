"""Versions that somebody who is trusted has signed, and copies of them that nobody can change any more.

A version folder has `SHA256SUMS`, a list of its files and their hashes, and `SHA256SUMS.sig`, the Ed25519 signature of
that list (RFC 8032, 64 bytes). Between a check and the moment at which TensorFlow reads the files, whoever may write to
the base path could put others in their place. So a version is copied first, into a folder of this process' own, while
its bytes are hashed; what is served is the copy. It needs as much room in the temporary folder (`TMPDIR`) as the
version has, the embedded server's for as long as it loads, other engines' for as long as they run.

`export.signing` writes signatures, and checks them with code of its own: neither package imports the other.
"""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from serving.base_path import version_folders

MANIFEST = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"

_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_BLOCK = 1 << 20
_LARGEST_MANIFEST = 64 << 20  # what is longer is not read to its end, and so is not what was signed

_logger = logging.getLogger("serving")


class NotSigned(ValueError):
    """A version that no trusted key signed, or whose files are not those that were signed."""


def public_keys(file: str | os.PathLike) -> list[Ed25519PublicKey]:
    """The public keys in a PEM file: several while one is being replaced. ValueError where it holds none, or others."""
    pem = Path(file).read_bytes()
    try:
        keys = [load_pem_public_key(block) for block in _PUBLIC_KEY.findall(pem)]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{file} holds a damaged public key: {error}") from None
    if not keys or not all(isinstance(key, Ed25519PublicKey) for key in keys):
        held = "a private key" if b"PRIVATE KEY-----" in pem else "other keys" if keys else "no public key"
        raise ValueError(
            f"{file} holds {held}. Accepted: Ed25519 public keys in PEM, as zoo sign --new-key writes them"
        )
    return keys


@contextlib.contextmanager
def copied(version: Path, keys: Sequence[Ed25519PublicKey]) -> Iterator[Path]:
    """A copy of a signed version, for as long as the context lasts. NotSigned where it is not, and OSError."""
    with tempfile.TemporaryDirectory(prefix="zoo-signed-") as scratch:
        copy = Path(scratch, version.name)
        copy_signed(version, keys, copy)
        yield copy


def staged(base_path: Path, keys: Sequence[Ed25519PublicKey]) -> Path:
    """A new base path with a copy of the newest signed version. NotSigned where there is none, and OSError."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-signed-"))
    try:
        folder.chmod(0o755)  # a container's user may be another one
        for number, version in sorted(version_folders(base_path).items(), reverse=True):
            try:
                copy_signed(version, keys, folder / version.name)
                return folder
            except NotSigned as error:
                _logger.warning("version %d is not served: %s", number, error)
                shutil.rmtree(folder / version.name, ignore_errors=True)
        raise NotSigned(
            f"No version in {base_path} is signed by a trusted key. Accepted: zoo sign, or zoo publish --sign"
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def copy_signed(version: Path, keys: Sequence[Ed25519PublicKey], target: Path) -> None:
    """Makes the folder ``target`` with the files of a version. NotSigned where one is not as signed, and OSError."""
    expected = _signed_manifest(version, keys)
    found = set(_files(version)) - {MANIFEST, SIGNATURE}
    if found != expected.keys():
        missing = [f"{name}: missing" for name in sorted(expected.keys() - found)]
        raise NotSigned("; ".join([*missing, *(f"{name}: was not signed" for name in sorted(found - expected.keys()))]))
    for name in sorted(found):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with _opened(version / name) as source, open(copy, "xb") as written:
            if _copy(source, written) != expected[name]:
                raise NotSigned(f"{name}: not what was signed")


def _signed_manifest(version: Path, keys: Sequence[Ed25519PublicKey]) -> dict[str, str]:
    """File -> SHA-256, as a trusted key signed it."""
    try:
        with _opened(version / SIGNATURE) as file:
            signature = file.read(_BLOCK)
        with _opened(version / MANIFEST) as file:
            manifest = file.read(_LARGEST_MANIFEST)
    except FileNotFoundError as error:
        raise NotSigned(f"{Path(error.filename).name}: missing, so nobody has signed this version") from None
    if not any(_is_by(key, signature, manifest) for key in keys):
        raise NotSigned(f"{SIGNATURE}: no signature of {MANIFEST} by a trusted key")
    lines = manifest.decode().splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _is_by(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _files(folder: Path) -> Iterator[str]:
    """All that lies in a folder and is no folder, links to folders among it."""
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in (*files, *links))


def _opened(path: Path) -> BinaryIO:
    """A file, open for reading. NotSigned for a link, a pipe or a device, of which nothing is read."""
    try:
        file = open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NotSigned(f"{path.name}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotSigned(f"{path.name}: no regular file")
    return file


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    """SHA-256 of what was copied."""
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()
