"""A server that wants signatures: nothing else is loaded, whoever can write to the base path."""

import hashlib
import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import serving
from serving import commands, signed
from serving.embedded import flags
from serving.embedded.status import ServingError
from serving.launching import Options, embedded_command
from tests.serving.test_engines import AS_BINARY, DOCKER

KEY = Ed25519PrivateKey.generate()
TOOLS = {name: shutil.which(name) for name in ("sh", "rm", "true")}
"""What removes the copy of a version that an engine served."""


def pem(key) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(version: Path, key: Ed25519PrivateKey = KEY) -> Path:
    files = sorted(path for path in version.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(version)}\n" for file in files]
    (version / "SHA256SUMS").write_text("".join(lines))
    (version / "SHA256SUMS.sig").write_bytes(key.sign((version / "SHA256SUMS").read_bytes()))
    return version


@pytest.fixture
def trusted(tmp_path) -> Path:
    """A file of public keys: that of ``KEY`` is the second."""
    file = tmp_path / "trusted.pub"
    file.write_bytes(pem(Ed25519PrivateKey.generate().public_key()) + pem(KEY.public_key()))
    return file


@pytest.fixture
def version(base_path) -> Path:
    """A signed version, 1."""
    (base_path / "1" / "variables").mkdir()
    (base_path / "1" / "variables" / "variables.index").write_text("weights")
    return sign(base_path / "1")


def add_unsigned(base_path: Path, number: int) -> Path:
    (base_path / str(number)).mkdir()
    (base_path / str(number) / "saved_model.pb").write_text("a stranger's")
    return base_path / str(number)


def test_a_copy_is_what_was_signed_and_stays_it(version, trusted):
    with signed.copied(version, signed.public_keys(trusted)) as copy:
        (version / "variables" / "variables.index").write_text("mine")
        assert (copy / "variables" / "variables.index").read_text() == "weights"
        assert {path.name for path in copy.iterdir()} == {"saved_model.pb", "variables"}
    assert not copy.exists()


def add_link_to_folder(version):
    shutil.move(version / "variables", version.parent / "elsewhere")
    (version / "variables").symlink_to(version.parent / "elsewhere")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda version: (version / "saved_model.pb").write_text("mine"), "saved_model.pb: not what was signed"),
        (lambda version: (version / "saved_model.cpb").touch(), "saved_model.cpb: was not signed"),
        (lambda version: (version / "saved_model.pb").unlink(), "saved_model.pb: missing"),
        (lambda version: (version / "SHA256SUMS.sig").unlink(), "SHA256SUMS.sig: missing, so nobody has signed"),
        (lambda version: (version / "SHA256SUMS").unlink(), "SHA256SUMS: missing, so nobody has signed"),
        (lambda version: (version / "SHA256SUMS").write_text(""), "SHA256SUMS.sig: no signature of SHA256SUMS by"),
        (
            lambda version: (version / "SHA256SUMS.sig").write_bytes(b""),
            "SHA256SUMS.sig: no signature of SHA256SUMS by",
        ),
        (lambda version: sign(version, Ed25519PrivateKey.generate()), "SHA256SUMS.sig: no signature of SHA256SUMS by"),
        (add_link_to_folder, "variables/variables.index: missing; variables: was not signed"),
    ],
)
def test_what_is_not_as_it_was_signed_is_not_copied(change, words, version, trusted):
    change(version)
    with pytest.raises(signed.NotSigned) as error, signed.copied(version, signed.public_keys(trusted)):
        pass
    assert words in str(error.value)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_pipes_and_links_in_the_place_of_files_are_not_read(make, version, trusted):
    (version / "saved_model.pb").unlink()
    make(version / "saved_model.pb")
    with (
        pytest.raises(signed.NotSigned, match=r"saved_model\.pb: (no regular file|Too many levels of symbolic links)"),
        signed.copied(version, signed.public_keys(trusted)),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "holds a damaged public key"),
        (pem(ec.generate_private_key(ec.SECP256R1()).public_key()), "holds other keys"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds a private key"),
    ],
    ids=["empty", "damaged", "of another kind", "private"],
)
def test_a_file_that_holds_no_such_key_is_an_error_before_a_start(content, words, version, tmp_path):
    (tmp_path / "k.pub").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        serving.serve(version.parent, require_signature=tmp_path / "k.pub")
    options = flags.parse([f"--model_base_path={version.parent}", f"--require_signature={tmp_path / 'k.pub'}"])
    from serving.embedded.server import Server

    with pytest.raises(ServingError, match=f"INVALID_ARGUMENT: --require_signature: .*{words}"):
        Server(options)


@pytest.fixture
def stub(on_path, tmp_path, monkeypatch):
    """Install a stand-in for an engine; what it was told is in its log, or in the file of calls."""
    monkeypatch.setenv("DOCKER_CALLS", str(tmp_path / "calls"))

    def install(engine):
        on_path(*{"docker": ("docker", DOCKER), "binary": ("tensorflow_model_server", AS_BINARY)}[engine])
        for name, path in TOOLS.items():
            (tmp_path / "bin" / name).symlink_to(path)

    return install


@pytest.mark.parametrize("engine", ["docker", "binary"])
def test_other_engines_get_a_copy_of_the_newest_signed_version(engine, stub, version, trusted, tmp_path, caplog):
    add_unsigned(version.parent, 2)
    stub(engine)
    with (
        caplog.at_level(logging.WARNING, "serving"),
        serving.serve(version.parent, engine=engine, require_signature=trusted) as server,
    ):
        given = (tmp_path / "calls").read_text() if engine == "docker" else server.logs()
        assert str(version.parent) not in given
        folder = Path(
            given.split("source=" if engine == "docker" else "--model_base_path=")[1].split(",")[0].split("'")[0]
        )
        assert [path.name for path in folder.iterdir()] == ["1"]
        assert (folder / "1" / "saved_model.pb").exists()
        assert folder.stat().st_mode & 0o777 == 0o755
    assert "version 2 is not served: SHA256SUMS.sig: missing" in caplog.text
    assert not folder.exists()
    if engine == "docker":
        calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
        assert calls[-1][:2] == ["rm", "--force"]


def test_without_a_signed_version_no_server_is_started(stub, base_path, trusted):
    stub("binary")
    with pytest.raises(ValueError, match=r"No version in .* is signed by a trusted key\. Accepted: zoo sign"):
        serving.serve(base_path, engine="binary", require_signature=trusted)


def test_the_embedded_server_checks_by_itself(version, trusted):
    options = Options("m", Path("/served/m"), require_signature=trusted)
    assert f"--require_signature={trusted}" in embedded_command(options)
    with pytest.raises(ValueError, match="require_signature cannot be chosen"):
        serving.serve(version.parent, flags={"require_signature": str(trusted)})


def test_the_embedded_server_loads_nothing_unsigned(models, trusted, tmp_path):
    """The whole road: signed, unsigned, tampered, signed; what answers is always what was signed."""
    base = tmp_path / "served" / "moving"

    def publish(number, source, after=sign):
        staging = shutil.copytree(models / "moving" / source, base / f"staging-{number}")
        after(staging)
        staging.rename(base / str(number))

    def tamper(version):
        sign(version)
        (version / "variables" / "variables.index").write_bytes(b"mine")

    publish(1, "1")
    with (
        serving.serve(base, engine="embedded", require_signature=trusted) as server,
        serving.Client(server.rest_url) as client,
    ):
        publish(2, "2", after=lambda version: None)
        ended = wait_for(client, 2, "END")
        assert f"{base}/2 is not loaded: SHA256SUMS.sig: missing, so nobody has signed this version" in ended.error
        publish(3, "2", after=tamper)
        assert "variables/variables.index: not what was signed" in wait_for(client, 3, "END").error
        assert client.predict("moving", [1.0])["once"] == [1.0]
        publish(4, "2")
        wait_for(client, 4, "AVAILABLE")
        assert client.predict("moving", {"z": [2]})["doubled"] == [4]


def wait_for(client, number, state):
    deadline = time.monotonic() + 60
    while True:
        found = {status.version: status for status in client.status("moving")}
        if number in found and found[number].state == state:
            return found[number]
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_the_command_passes_the_keys_on(stub, version, trusted, monkeypatch):
    asked = {}
    monkeypatch.setattr("serving.engines.serve", lambda base_path, **options: asked.update(options) or sys.exit(0))
    CliRunner().invoke(commands.serve, [str(version.parent), "--require-signature", str(trusted)])
    assert asked["require_signature"] == trusted
