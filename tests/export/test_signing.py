"""Who published a version: a stranger can check it with openssl, and nothing else passes for it."""

import hashlib
import logging
import shutil
import subprocess

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fsspec.implementations.memory import MemoryFileSystem

import export
from export import commands, manifest, signing, version
from serving import signed

FILES = ("saved_model.pb", "golden/row.npz", "variables/variables.index", "card.json")

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on the PATH")


@pytest.fixture
def keys(tmp_path):
    """A pair of key files."""
    return signing.new_key(tmp_path / "release")


@pytest.fixture
def base(tmp_path):
    """A base path with a version of small files."""
    add_version(tmp_path / "served/m")
    return tmp_path / "served/m"


@pytest.fixture
def memory():
    """A base path in fsspec's own store, with a version."""
    add_version("memory://served/m")
    yield "memory://served/m"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def add_version(base, key=None):
    base = version.at(base)
    with base.staged() as folder:
        for name in FILES:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("{}" if name == "card.json" else name)
        manifest.write(folder)
        if key is not None:
            signing.write(folder, key)
        return base.commit(folder)


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=True).stdout


def run(command, *arguments, status=0, **kwargs):
    result = CliRunner().invoke(getattr(commands, command), [str(a) for a in arguments], **kwargs)
    assert result.exit_code == status, result.output
    return result.output


@needs_openssl
def test_openssl_checks_a_signature(base, keys):
    private, public = keys
    folder = export.sign(base, private).path
    check = ["pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-sigfile", folder / "SHA256SUMS.sig", "-in"]
    assert b"Signature Verified Successfully" in openssl(*check, folder / "SHA256SUMS")
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*check, folder / "card.json")


@needs_openssl
def test_openssl_makes_keys(base, tmp_path):
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "k.pem")
    openssl("pkey", "-in", tmp_path / "k.pem", "-pubout", "-out", tmp_path / "k.pub")
    folder = export.sign(base, tmp_path / "k.pem").path
    key = signing.signer(folder, signing.public_keys(tmp_path / "k.pub"))
    der = openssl("pkey", "-pubin", "-in", tmp_path / "k.pub", "-outform", "DER")
    assert signing.fingerprint(key) == hashlib.sha256(der).hexdigest()


def test_the_server_takes_what_is_signed_here(base, keys, tmp_path):
    """`serving` has code of its own for it."""
    private, public = keys
    folder = export.sign(base, private).path
    signed.copy_signed(folder, signed.public_keys(public), tmp_path / "copy")
    assert (tmp_path / "copy/golden/row.npz").read_text() == "golden/row.npz"


def test_keys_are_kept_from_others_and_never_overwritten(keys, tmp_path):
    private, public = keys
    assert (private.stat().st_mode & 0o777, public.stat().st_mode & 0o777) == (0o600, 0o644)
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(FileExistsError, match=r"release\.pub exists, and a key is never overwritten"):
        signing.new_key(tmp_path / "release")
    public.unlink()
    with pytest.raises(FileExistsError, match=r"release\.key exists"):
        signing.new_key(tmp_path / "release")
    assert private.read_bytes() == before[0]


def test_a_private_key_that_others_may_read_is_told_of(keys, caplog):
    private, _ = keys
    signing.private_key(private)
    assert not caplog.records
    private.chmod(0o640)
    with caplog.at_level(logging.WARNING):
        signing.private_key(private)
    assert f"chmod 600 {private}" in caplog.text


def test_an_encrypted_key_takes_its_passphrase(tmp_path, monkeypatch):
    private, public = signing.new_key(tmp_path / "k", "open sesame")
    with pytest.raises(
        ValueError, match=r"is encrypted\. Accepted: its passphrase in the .* variable ZOO_KEY_PASSPHRASE"
    ):
        signing.private_key(private)
    with pytest.raises(ValueError, match="cannot be decrypted with that passphrase"):
        signing.private_key(private, lambda: "close sesame")
    asked = signing.private_key(private, lambda: "open sesame")
    monkeypatch.setenv("ZOO_KEY_PASSPHRASE", "open sesame")
    assert signing.private_key(private).private_bytes_raw() == asked.private_bytes_raw()
    assert signing.public_keys(public) == [asked.public_key()]


def test_another_kind_of_key_is_named(keys, tmp_path):
    private, public = keys
    other = rsa.generate_private_key(65537, 2048)
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (tmp_path / "rsa.key").write_bytes(other.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (tmp_path / "rsa.pub").write_bytes(
        other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "text").write_text("ssh-ed25519 AAAA")
    for file, words in ((tmp_path / "rsa.key", "another kind of key .RSA."), (public, "holds no private key")):
        with pytest.raises(ValueError, match=words):
            signing.private_key(file)
    for file, words in (
        (tmp_path / "rsa.pub", "another kind of key .RSA."),
        (private, "holds a private key, which is for signing"),
        (tmp_path / "text", "holds no public key"),
    ):
        with pytest.raises(ValueError, match=words):
            signing.public_keys(file)


def test_one_of_several_trusted_keys_is_enough(base, keys, tmp_path):
    private, public = keys
    _, newer = signing.new_key(tmp_path / "newer")
    trusted = tmp_path / "trusted.pub"
    trusted.write_bytes(newer.read_bytes() + b"since 2027\n" + public.read_bytes())
    folder = export.sign(base, private).path
    assert signing.signer(folder, signing.public_keys(trusted)) == signing.public_keys(public)[0]
    with pytest.raises(ValueError, match="no signature of SHA256SUMS by a trusted key"):
        signing.signer(folder, signing.public_keys(newer))


def test_what_was_changed_is_not_signed(base, keys):
    (base / "1" / "card.json").write_text("[]")
    with pytest.raises(ValueError, match=r"Nothing was signed: .*card\.json: changed"):
        export.sign(base, keys[0])
    assert not (base / "1" / "SHA256SUMS.sig").exists()


def test_a_signature_is_replaced_whole(base, keys, tmp_path):
    first = export.sign(base, keys[0])
    again, public = signing.new_key(tmp_path / "again")
    export.sign(base, again)
    assert signing.signer(first.path, signing.public_keys(public))
    assert manifest.check(first.path) == []
    assert {path.name for path in base.iterdir()} <= {"1", ".lock"}


def test_versions_in_a_bucket_are_signed_before_they_are_seen_and_later(memory, keys):
    private, public = keys
    signed_at_once = Ed25519PrivateKey.generate()
    assert add_version(memory, signed_at_once) == "2"
    sent = [key for key in MemoryFileSystem.store if key.startswith("/served/m/2/")]
    assert sent[-1].endswith("saved_model.pb")
    assert "/served/m/2/SHA256SUMS.sig" in sent
    found = export.versions(memory)
    export.sign(found[0].path, private)
    for each, trusted in ((found[0], signing.public_keys(public)), (found[1], [signed_at_once.public_key()])):
        with each.fetched() as here:
            assert signing.signer(here.path, trusted)
            assert manifest.check(here.path) == []


def test_going_back_to_a_signed_version_takes_the_key(base, keys):
    private, public = keys
    export.sign(base, private)
    add_version(base)
    with pytest.raises(ValueError, match=r"Version 1 is signed\. Its signature is not one of its copy"):
        export.rollback(base)
    copy = export.rollback(base, sign=private)
    assert signing.signer(copy.path, signing.public_keys(public))
    assert manifest.check(copy.path) == []
    assert copy.number == 3
    add_version(base)
    assert not (export.rollback(base, 2).path / "SHA256SUMS.sig").exists()


def test_a_version_is_signed_when_it_is_published_and_verified_by_its_signature(classifier_run, here, keys, tmp_path):
    private, public = keys
    lines = []
    found = export.publish(classifier_run, tmp_path / "served/tumours", sign=private, tell=lines.append)
    key = signing.fingerprint(signing.public_keys(public)[0])
    assert f"signed    by the key {key}" in lines
    report = export.verify(found.path, signed_by=public)
    assert report.ok, report.problems
    assert report.signed_by == key
    assert f"signed by the key {key}" in run("verify", found.path, "--signed-by", public)

    other = signing.new_key(tmp_path / "other")[1]
    assert "no signature of SHA256SUMS by a trusted key" in run("verify", found.path, "--signed-by", other, status=1)
    (found.path / "labels.txt").write_text("mine")
    assert export.verify(found.path, signed_by=public).problems == ("labels.txt: changed",)
    manifest.write(found.path)
    assert export.verify(found.path, signed_by=public).problems == (
        "SHA256SUMS.sig: missing, so nobody has signed these files",
    )


def test_a_wrong_key_is_told_before_anything_is_made(classifier_run, keys, tmp_path):
    with pytest.raises(ValueError, match="holds no private key"):
        export.publish(classifier_run, tmp_path / "served/m", sign=keys[1])
    assert not (tmp_path / "served/m").exists()


def test_the_command_makes_keys_and_signs(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "release.key signs: keep it to yourself" in run("sign", "--new-key", "release")
    assert "Version 1 is signed" in run("sign", base, "--key", "release.key")
    run("sign", "--new-key", "safe", "--encrypt", input="secret\nsecret\n")
    assert "Version 1 is signed" in run("sign", base, "--key", "safe.key", input="secret\n")
    for wrong in ([base], ["--key", "release.key"], [base, "--new-key", "x"], []):
        assert "Accepted: PATH and --key KEY" in run("sign", *wrong, status=2)
