"""Over TLS: whom a client trusts, and how it makes itself known."""

import ssl
from types import SimpleNamespace

import grpc
import pytest
import trustme
from click.testing import CliRunner

import serving
from serving.query_commands import query
from tests.serving.scripted import Scripted, over_grpc, over_rest


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    """PEM files: the authority's certificate, a stranger's, and one's own certificate with its key."""
    folder = tmp_path_factory.mktemp("pem")
    names = "ca", "stranger", "certificate", "key", "text"
    paths = SimpleNamespace(**{name: folder / f"{name}.pem" for name in names})
    authority.cert_pem.write_to_path(paths.ca)
    trustme.CA().cert_pem.write_to_path(paths.stranger)
    own = authority.issue_cert("caller@example.org")
    own.cert_chain_pems[0].write_to_path(paths.certificate)
    own.private_key_pem.write_to_path(paths.key)
    paths.text.write_text("no certificate")
    return paths


@pytest.fixture(scope="module", params=["rest", "grpc"])
def start(request, authority):
    """``start(asks_callers)``: the address of a server with a certificate, that may ask for its callers'."""
    certificate = authority.issue_cert("127.0.0.1")
    closers = []

    def over(asks_callers: bool) -> tuple:
        if request.param == "rest":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            if asks_callers:
                authority.configure_trust(context)
                context.verify_mode = ssl.CERT_REQUIRED
            return over_rest(Scripted([]), context)
        chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
        ca = authority.cert_pem.bytes() if asks_callers else None
        pair = certificate.private_key_pem.bytes(), chain
        return over_grpc(Scripted([]), grpc.ssl_server_credentials([pair], ca, asks_callers))

    def start(asks_callers: bool) -> str:
        target, close = over(asks_callers)
        closers.append(close)
        return target

    yield start
    for close in closers:
        close()


@pytest.fixture(scope="module")
def target(start):
    return start(asks_callers=False)


@pytest.fixture(scope="module")
def asking_target(start):
    return start(asks_callers=True)


def test_a_server_of_a_known_authority_is_trusted(connect, target, files):
    with connect(target, tls=serving.Tls(ca=files.ca)) as client:
        assert client.status("m")[0].state == "AVAILABLE"
        assert client.address == target


def test_any_other_is_not(connect, target, files):
    for tls in (None, serving.Tls(ca=files.stranger)):
        with connect(target, tls=tls, retries=0) as client, pytest.raises(serving.Unavailable) as error:
            client.status("m")
        assert "CERTIFICATE_VERIFY_FAILED" in str(error.value)


def test_a_caller_makes_itself_known_where_it_is_asked(connect, asking_target, files):
    known = serving.Tls(files.ca, files.certificate, files.key)
    with connect(asking_target, tls=known) as client:
        assert client.status("m")[0].state == "AVAILABLE"
    with connect(asking_target, tls=serving.Tls(files.ca), retries=0) as client, pytest.raises(serving.Unavailable):
        client.status("m")


def test_grpc_with_files_is_over_tls_without_saying_so(connect, target, files):
    if target.startswith("grpcs://"):
        with connect(target.removeprefix("grpcs://"), tls=serving.Tls(files.ca)) as client:
            assert client.status("m")
            assert client.address == target


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"ca": "text"}, "text.pem is no certificate of an authority"),
        ({"certificate": "certificate"}, "go together. Received: certificate="),
        ({"key": "key"}, "go together"),
        ({"certificate": "ca", "key": "key"}, "do not belong together"),
        ({"certificate": "text", "key": "key"}, "do not belong together"),
    ],
)
def test_files_that_are_no_use_are_refused(files, names, words):
    with pytest.raises(ValueError) as error:
        serving.Tls(**{name: getattr(files, file) for name, file in names.items()})
    assert words in str(error.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        serving.Tls(ca=tmp_path / "nowhere.pem")


def test_plain_http_takes_no_certificates(connect, files):
    with pytest.raises(ValueError, match="tls goes with https"):
        connect("http://127.0.0.1:1", tls=serving.Tls(files.ca))


def test_a_query_is_over_tls(target, files):
    where = ["--grpc" if target.startswith("grpcs") else "--rest", target]
    pair = ["--tls-certificate", str(files.certificate), "--tls-key", str(files.key)]
    result = CliRunner().invoke(
        query, ["m", "--row", "a=1", *where, "--tls-ca", str(files.ca), *pair, "--timeout", "9"]
    )
    assert result.exit_code == 1
    assert "metadata of 'm'" in result.stderr
    assert "CERTIFICATE" not in result.stderr, "the scripted server was not trusted"
    result = CliRunner().invoke(query, ["m", "--row", "a=1", *where, "--tls-key", str(files.key)])
    assert result.exit_code == 2
    assert "go together" in result.stderr
