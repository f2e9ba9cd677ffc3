"""The handle of a running server, over TLS, on each engine that this machine has: what an operator asks of it."""

import os
import shutil
import signal
from pathlib import Path
from unittest.mock import MagicMock

import grpc
import numpy as np
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

import serving
from serving.deployment import text_protos, tls
from serving.engines import ENGINES
from serving.grpc_channel import encode_request
from serving.protos import serving_pb2 as pb
from serving.server import Addresses, Server
from serving.transport import ModelRef

ROW = [[1.0, 2.0, 3.0]]


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base paths ``tiny`` and ``moving``, a list of the first, certificates for callers and for the server."""
    folder = tmp_path_factory.mktemp("handle")
    for name in ("tiny", "moving"):
        shutil.copytree(models / name, folder / name)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, identity in (("server", ("127.0.0.1", "localhost")), ("caller", ("caller@example.org",))):
        issued = authority.issue_cert(*identity)
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
    ssl = tls.read(folder / "server.pem", folder / "server.key", folder / "ca.pem")
    (folder / "ssl.pbtxt").write_text(ssl)
    (folder / "session.pbtxt").write_text("allow_soft_placement: true intra_op_parallelism_threads: 1")
    (folder / "monitoring.pbtxt").write_text(text_protos.monitoring_config("/metrics"))
    (folder / "models.pbtxt").write_text(text_protos.model_config({"tiny": {"stable": 1}}, root=str(folder)))
    return folder


@pytest.fixture(scope="module")
def known(folder: Path) -> serving.Tls:
    """How a caller makes itself known."""
    return serving.Tls(folder / "ca.pem", folder / "caller.pem", folder / "caller.key")


@pytest.fixture(scope="module", params=[name for name, engine in ENGINES.items() if engine.why_not() is None])
def handle(request, folder, known):
    """A server of a list of models, with all that a handle may be asked about."""
    flags = {
        "model_config_file": folder / "models.pbtxt",
        "allow_version_labels_for_unavailable_models": True,
        "ssl_config_file": folder / "ssl.pbtxt",
        "monitoring_config_file": folder / "monitoring.pbtxt",
        "grpc_socket_path": folder / "s.sock",
        "enable_grpc_healthcheck_service": True,
        "enable_serialization_as_tensor_content": True,
        "tensorflow_session_config_file": folder / "session.pbtxt",
        "grpc_channel_arguments": "grpc.max_connection_age_ms=600000",
    }
    with serving.serve(engine=request.param, flags=flags, tls=known) as running:
        yield running


def test_grpc_is_over_tls_and_rest_is_not(handle, known):
    assert handle.grpc_address.startswith("grpcs://127.0.0.1:")
    for target, certificates in ((handle.rest_url, None), (handle.grpc_address, known)):
        with serving.Client(target, tls=certificates) as client:
            np.testing.assert_allclose(client.predict("tiny", ROW, label="stable")["y"], [[14.1, -0.95]], rtol=1e-5)


def test_callers_without_a_certificate_are_not_heard(handle, folder):
    plain = handle.grpc_address.removeprefix("grpcs://")
    for target, certificates in ((handle.grpc_address, serving.Tls(folder / "ca.pem")), (plain, None)):
        with serving.Client(target, tls=certificates, retries=0) as client, pytest.raises(serving.Unavailable):
            client.status("tiny")


def test_the_socket_answers_as_the_port_does(handle, connect, folder, known):
    assert handle.socket_address == f"unix:{folder / 's.sock'}"
    with connect(handle.socket_address, tls=known) as client:
        assert client.address == handle.socket_address
        assert client.predict("tiny", ROW)["y"].shape == (1, 2)


def _channel(handle, known) -> grpc.Channel:
    ca, key, certificate = (Path(path).read_bytes() for path in (known.ca, known.key, known.certificate))
    address = handle.grpc_address.removeprefix("grpcs://")
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, certificate))


def test_tensor_content_is_for_grpc_alone(handle, known):
    request = encode_request(ModelRef("tiny"), "serving_default", {"x": np.array(ROW, np.float32)})
    with _channel(handle, known) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        answer = pb.PredictResponse.FromString(predict(request.SerializeToString(), timeout=30))
    np.testing.assert_allclose(np.frombuffer(answer.outputs["y"].tensor_content, "<f4"), [14.1, -0.95], rtol=1e-5)
    if handle.engine == "embedded":  # where TensorFlow Serving answers 200, and other numbers
        with serving.Client(handle.rest_url) as client:
            np.testing.assert_allclose(client.predict("tiny", ROW)["y"], [[14.1, -0.95]], rtol=1e-5)


def test_health_is_that_of_tf_serving(handle, known):
    with _channel(handle, known) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for service in ("", "PredictionService", "ModelService"):
            assert check(health_pb2.HealthCheckRequest(service=service), timeout=30).status == 1
        with pytest.raises(grpc.RpcError) as error:
            check(health_pb2.HealthCheckRequest(service="nope"), timeout=30)
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.NOT_FOUND, "service name unknown")


def test_metrics_are_the_page_for_prometheus(handle):
    with serving.Client(handle.rest_url) as client:
        client.predict("tiny", ROW)
    page = handle.metrics()
    assert ':tensorflow:serving:request_count{model_name="tiny",status="OK"} ' in page
    assert ':tensorflow:serving:request_latency_count{model_name="tiny",API="predict",entrypoint="REST"} ' in page
    assert ':tensorflow:serving:runtime_latency_sum{model_name="tiny",API="Predict",runtime="TF1"} ' in page
    assert ':tensorflow:cc:saved_model:load_attempt_count{model_path="' in page


def test_models_come_and_go_by_reload(handle, folder):
    both = {"tiny": folder / "tiny", "moving": serving.ServedModel(folder / "moving", versions="all")}
    with serving.Client(handle.rest_url, timeout=30) as client:
        handle.reload(both)
        assert handle.models == ("tiny", "moving")
        client.wait_ready("moving")
        handle.reload({"tiny": folder / "tiny", "moving": serving.ServedModel(folder / "moving", 2, {"stable": 1})})
        assert client.metadata("moving", label="stable").version == 1
        handle.reload({"moving": serving.ServedModel(folder / "moving", [1], {"stable": 1})})
        assert client.metadata("moving").version == 1
        for wrong, words in (
            ({"moving": folder / "nowhere"}, "No such folder"),
            ({"a/b": folder / "moving"}, "Received: 'a/b'"),
        ):
            with pytest.raises(ValueError, match=words):
                handle.reload(wrong)
        with pytest.raises(serving.InvalidInput, match="assign label to version 2 of model moving"):
            handle.reload({"moving": serving.ServedModel(folder / "moving", [1], {"stable": 2})})
        assert client.metadata("moving").version == 1, "what was refused has changed something"
        handle.reload({"tiny": folder / "tiny"})
        assert client.predict("tiny", ROW)["y"].shape == (1, 2)
    with serving.Client(handle.rest_url) as client, pytest.raises(serving.Unsupported):
        client.reload({})


def test_a_server_over_tls_is_ready_without_being_asked_where_nobody_said_how(folder, tmp_path):
    (tmp_path / "none.pbtxt").write_text("model_config_list {}")
    flags = {"model_config_file": tmp_path / "none.pbtxt", "ssl_config_file": folder / "ssl.pbtxt"}
    with serving.serve(engine="embedded", rest_port=None, flags=flags) as server:
        assert (server.rest_url, server.socket_address, server.models, server.name) == (None, None, (), "")
        assert server.wait_ready() is None
        with pytest.raises(ValueError, match="asks for TLS"):
            server.reload({})
        with pytest.raises(serving.EngineError, match="has no metrics"):
            server.metrics()


def test_a_container_is_told_of_its_own_paths(models, monkeypatch, tmp_path):
    asked = []
    client = MagicMock()
    client.return_value.__enter__.return_value.reload = lambda listed, timeout: asked.append(listed)
    monkeypatch.setattr("serving.server.Client", client)
    handle = Server("docker", {}, None, Addresses("127.0.0.1", 1, 2), mounts={models / "tiny": "/models/m"})
    handle.reload({"m": models / "tiny"})
    assert asked == [{"m": serving.ServedModel(Path("/models/m"))}]
    with pytest.raises(ValueError, match=r"The server does not see .*moving, only what it was started with"):
        handle.reload({"n": models / "moving"})


def test_a_server_that_died_tells_how_and_what_it_said_last(handle):
    assert (handle.running, handle.exit_code, handle.exit_reason) == (True, None, None)
    if handle.engine == "docker":
        pytest.skip("the server is no process of ours")
    supervisor = handle._process._process.pid
    (child,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    assert handle.wait(20)
    assert handle.exit_code == 128 + signal.SIGKILL
    first, *lines = handle.exit_reason.splitlines()
    assert first == f"the {handle.engine} server was ended by signal 9"
    assert lines[0] == "Its last lines:"
    assert lines[-1].strip() == handle.logs().splitlines()[-1]
