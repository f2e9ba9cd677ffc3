"""A proof is replayed where it counts: at the server that answers in production, over real sockets."""

import numpy as np
import pytest
import trustme
from click.testing import CliRunner

import export
from export.commands import verify
from tests.export import stand_in

PROTOCOLS = ("rest", "grpc")


@pytest.mark.parametrize("kind", ["image", "classifier", "regressor"])
def test_a_server_of_the_version_passes(kind, request):
    version = request.getfixturevalue(f"{kind}_version")
    with stand_in.serving(version, version.path.parent.name) as address:
        for protocol in PROTOCOLS:
            report = export.verify(version.path, **{protocol: address[protocol]})
            assert report.ok, report.problems
            assert report.signatures.keys() == version.card["signatures"].keys()
            assert address[protocol] in report.where


def test_a_server_over_tls_passes_if_it_is_trusted(image_version, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with stand_in.serving(image_version, "lenet5", certificate=authority.issue_cert("127.0.0.1")) as address:
        for protocol in PROTOCOLS:
            asked = [str(image_version.path), f"--{protocol}", address[protocol]]
            done = CliRunner().invoke(verify, [*asked, "--tls-ca", str(tmp_path / "ca.pem")])
            assert done.exit_code == 0, done.output
            with pytest.raises(ConnectionError, match="does not answer"):
                export.verify(image_version.path, **{protocol: address[protocol]})
    with pytest.raises(ValueError, match="A certificate and its key go together"):
        export.Tls(certificate=tmp_path / "ca.pem")
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ValueError, match=r"Not PEM files that belong together: .*text\.pem"):
        export.Tls(ca=tmp_path / "text.pem")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_answers_otherwise_fails(protocol, image_version):
    """Another model under the same name and number, or a server with a fault."""

    def spoil(outputs):
        return {**outputs, "probabilities": outputs["probabilities"][:, ::-1]}

    with stand_in.serving(image_version, "digits", spoil) as address:
        report = export.verify(image_version.path, **{protocol: address[protocol]}, name="digits")
    assert not report.ok
    assert any("output 'probabilities', example " in problem for problem in report.problems)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_not_a_number_from_a_server_fails(protocol, image_version):
    """TF Serving writes NaN bare into its JSON; it must be read, and not be taken for right."""

    def spoil(outputs):
        return {**outputs, "probabilities": np.full_like(outputs["probabilities"], np.nan)}

    with stand_in.serving(image_version, "lenet5", spoil) as address:
        report = export.verify(image_version.path, **{protocol: address[protocol]})
    assert "nan" in report.problems[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_refuses_a_signature_fails(protocol, image_version):
    def spoil(outputs):
        raise RuntimeError("out of order")

    with stand_in.serving(image_version, "lenet5", spoil) as address:
        report = export.verify(image_version.path, **{protocol: address[protocol]})
    assert "Signature 'bytes' is refused by the server" in report.problems[0]
    assert "out of order" in report.problems[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_lacks_the_model_is_an_error(protocol, image_version):
    with (
        stand_in.serving(image_version, "another") as address,
        pytest.raises(ValueError, match="does not have version 1 of 'lenet5'"),
    ):
        export.verify(image_version.path, **{protocol: address[protocol]})


@pytest.mark.parametrize(("protocol", "address"), [("rest", "http://127.0.0.1:9"), ("grpc", "127.0.0.1:9")])
def test_no_server_is_an_error(protocol, address, image_version):
    with pytest.raises(ConnectionError, match="does not answer"):
        export.verify(image_version.path, **{protocol: address})


@pytest.mark.parametrize(("protocol", "address"), [("rest", "127.0.0.1:8501"), ("grpc", "http://127.0.0.1:8500")])
def test_the_address_of_the_other_protocol_is_an_error(protocol, address, image_version):
    with pytest.raises(ValueError, match="Not the address"):
        export.verify(image_version.path, **{protocol: address})
