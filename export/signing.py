"""Who published a version: an Ed25519 signature over its manifest, which names every file by its hash.

`SHA256SUMS.sig` is the bare signature of RFC 8032, 64 bytes, over the bytes of `SHA256SUMS`. Keys are PEM files: PKCS
#8 the private one, SubjectPublicKeyInfo the public one. So a stranger needs neither this package nor a format of its
own:

    openssl pkeyutl -verify -pubin -inkey NAME.pub -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig
    sha256sum -c SHA256SUMS

A signature says that the holder of the key published these files. It does not say under which name or number, nor that
nothing newer is there: whoever may write to a base path can put an older signed version, or that of another model which
the same key signed, under the next number. Use a key for versions alone, and one for each model that must not stand for
another.

The embedded server checks signatures with code of its own (`serving.signed`), because serving imports nothing of
export.
"""

import hashlib
import logging
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from export import manifest
from export.version import Version, find

PASSPHRASE = "ZOO_KEY_PASSPHRASE"
"""The environment's variable with the passphrase of a private key."""

_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_ACCEPTED = (
    "Accepted: an Ed25519 key in a PEM file, as zoo sign --new-key and openssl genpkey -algorithm ed25519 write it."
)

_logger = logging.getLogger(__name__)


def new_key(name: str | Path, passphrase: str | None = None) -> tuple[Path, Path]:
    """Make a pair of keys.

    Args:
        name: what the files are called, without their endings.
        passphrase: encrypts the private key.

    Returns:
        The files `NAME.key`, which only its owner may read, and `NAME.pub`.

    Raises:
        OSError: one of them is there already, or cannot be written.
    """
    private, public = Path(f"{name}.key"), Path(f"{name}.pub")
    if public.exists():
        raise FileExistsError(f"{public} exists, and a key is never overwritten. Accepted: another name.")
    key = Ed25519PrivateKey.generate()
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    _create(
        private, 0o600, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    _create(
        public,
        0o644,
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    )
    return private, public


def private_key(file: str | Path | Ed25519PrivateKey, ask: Callable[[], str] | None = None) -> Ed25519PrivateKey:
    """The private key in a file; a key is given back as it is.

    Args:
        file: a PEM file. A warning is logged if others than its owner may read it.
        ask: gives the passphrase of an encrypted one where the environment (`ZOO_KEY_PASSPHRASE`) has none.

    Raises:
        ValueError: it holds no such key, or is encrypted and the passphrase is missing or wrong.
        OSError: it cannot be read.
    """
    if isinstance(file, Ed25519PrivateKey):
        return file
    pem = Path(file).read_bytes()
    if Path(file).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _logger.warning("%s is a private key that others than its owner may read or write: chmod 600 %s", file, file)
    encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem
    passphrase = _passphrase(file, ask).encode() if encrypted else None
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        wrong = "cannot be decrypted with that passphrase" if encrypted else "holds no private key"
        raise ValueError(f"{file} {wrong} ({error}). {_ACCEPTED}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{file} holds another kind of key ({_kind(key)}). {_ACCEPTED}")
    return key


def public_keys(file: str | Path) -> list[Ed25519PublicKey]:
    """All public keys in a file: several while an old key is being replaced by a new one.

    Raises:
        ValueError: it holds none, a private one, or another kind of key.
        OSError: it cannot be read.
    """
    pem = Path(file).read_bytes()
    if b"PRIVATE KEY-----" in pem:
        raise ValueError(f"{file} holds a private key, which is for signing. Accepted: the public key, NAME.pub.")
    found = [_public_key(file, block) for block in _PUBLIC_KEY.findall(pem)]
    if not found:
        raise ValueError(f"{file} holds no public key. {_ACCEPTED}")
    return found


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of a public key: `openssl pkey -pubin -in FILE -outform DER | sha256sum`."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def write(folder: Path, key: Ed25519PrivateKey) -> None:
    """Sign the manifest of a version that is being made."""
    (folder / manifest.SIGNATURE).write_bytes(key.sign((folder / manifest.FILE).read_bytes()))


def sign(path: str | Path, key: str | Path | Ed25519PrivateKey) -> Version:
    """Sign a version that was published without a signature, or with another key.

    A server that has refused the version before looks at it again when it is started again.

    Args:
        path: a version folder, or a base path, whose newest version is meant; the URL of one in an object store.
        key: a private key, or the file of one.

    Returns:
        The version.

    Raises:
        ValueError: there is no version, its files are not those of its manifest, or the key is none.
        OSError: the version cannot be written, or the key not read.
    """
    key = private_key(key)
    version = find(path)
    with version.fetched() as here:
        if problems := manifest.check(here.path):
            raise ValueError(f"Nothing was signed: {version.path} is not what was published: {'; '.join(problems)}.")
        signature = key.sign((here.path / manifest.FILE).read_bytes())
    version.base.put(version.name, manifest.SIGNATURE, signature)
    return version


def signer(folder: Path, trusted: Sequence[Ed25519PublicKey]) -> Ed25519PublicKey:
    """Which of the trusted keys signed the manifest of a version. Its files are not looked at.

    Raises:
        ValueError: none of them; the message says how.
    """
    try:
        signature, signed = (folder / manifest.SIGNATURE).read_bytes(), (folder / manifest.FILE).read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{Path(error.filename).name}: missing, so nobody has signed these files") from None
    for key in trusted:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            continue
        return key
    among = ", ".join(fingerprint(key) for key in trusted)
    raise ValueError(f"{manifest.SIGNATURE}: no signature of {manifest.FILE} by a trusted key ({among})")


def _passphrase(file: str | Path, ask: Callable[[], str] | None) -> str:
    if passphrase := os.environ.get(PASSPHRASE):
        return passphrase
    if ask is None:
        raise ValueError(f"{file} is encrypted. Accepted: its passphrase in the environment's variable {PASSPHRASE}.")
    return ask()


def _public_key(file: str | Path, pem: bytes) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{file} holds a damaged public key ({error}). {_ACCEPTED}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{file} holds another kind of key ({_kind(key)}). {_ACCEPTED}")
    return key


def _kind(key) -> str:
    return type(key).__name__.removesuffix("PublicKey").removesuffix("PrivateKey").strip("_")


def _create(file: Path, mode: int, content: bytes) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise FileExistsError(f"{file} exists, and a key is never overwritten. Accepted: another name.") from None
    with open(descriptor, "wb") as opened:
        opened.write(content)
