"""Base paths, and the command as a person runs it."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from serving.deployment.commands import deploy


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with ``served/lenet5`` (versions 1 and 2) and ``served/style_transfer`` (version 3) in it."""
    for version in ("lenet5/1", "lenet5/2", "style_transfer/3"):
        folder = tmp_path / "served" / version
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def zoo_deploy(workplace: Path) -> Callable[[str], Result]:
    """``zoo deploy`` with these words."""

    def run(words: str) -> Result:
        result = CliRunner().invoke(deploy, shlex.split(words))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def written(zoo_deploy: Callable[[str], Result], workplace: Path) -> Callable[[str], Path]:
    """``written("compose served/lenet5 --cpus 2")``: the folder that the target's command fills."""

    def run(words: str) -> Path:
        target, _, others = words.partition(" ")
        result = zoo_deploy(f"{target} out {others}")
        assert result.exit_code == 0, result.output
        return workplace / "out"

    return run


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A folder with ``server.pem`` and ``server.key`` for localhost, ``other.key``, and the authority's ``ca.pem``."""
    import trustme

    folder = tmp_path / "pem"
    folder.mkdir()
    authority = trustme.CA()
    certificate, other = authority.issue_cert("localhost"), authority.issue_cert("elsewhere")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    other.private_key_pem.write_to_path(folder / "other.key")
    return folder
