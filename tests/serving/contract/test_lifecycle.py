"""A server's life as an operator sees it: start, versions under load, a stop that loses no request."""

import http.client
import json
import shutil
import signal
import socket
import struct
import threading
import time
from collections import Counter
from pathlib import Path

import grpc
import numpy as np
import pytest

import serving
from serving.protos import serving_pb2 as pb
from serving.tensors import to_tensor

NUM_CLIENTS = 32
NUM_CALLS = 10
POLL = "--file_system_poll_wait_seconds=0.1"


def publish(models: Path, base: Path, version: int, source: str = "affine/1", warmup: bytes | None = None) -> Path:
    """A copy of a model under a new number, whole at once."""
    staging = base / f"staging-{version}"
    shutil.copytree(models / source, staging)
    if warmup is not None:
        (staging / "assets.extra").mkdir()
        (staging / "assets.extra/tf_serving_warmup_requests").write_bytes(warmup)
    return staging.rename(base / str(version))


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(*shape: int) -> bytes:
    """A TFRecord with one warm-up request of ones."""
    request = pb.PredictRequest(inputs={"x": to_tensor(np.ones(shape, np.float32))})
    data = pb.PredictionLog(predict_log=pb.PredictLog(request=request)).SerializeToString()
    length = struct.pack("<Q", len(data))
    crcs = [
        struct.pack("<I", (((c := crc32c(part)) >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF) for part in (length, data)
    ]
    return length + crcs[0] + data + crcs[1]


def get(port: int, path: str) -> tuple[int, dict]:
    return ask(port, "GET", path)


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def states(port: int) -> dict[str, tuple[str, str]]:
    _, answer = get(port, "/v1/models/m")
    return {item["version"]: (item["state"], item["status"]["error_code"]) for item in answer["model_version_status"]}


def wait_for_states(port: int, expected: dict[str, tuple[str, str]]) -> None:
    deadline = time.monotonic() + 30
    while states(port) != expected:
        assert time.monotonic() < deadline, states(port)
        time.sleep(0.02)


def test_versions_move_under_load_a_broken_one_is_left_out_and_a_stop_loses_no_request(
    contract_models, launcher, tmp_path
):
    base = tmp_path / "m"
    publish(contract_models, base, 1, warmup=record(1, 3))
    server = launcher.start("--model_name=m", f"--model_base_path={base}", POLL)
    assert "version 1 answered 1 warm-up requests" in server.log.read_text()
    answers, finished, done = [], [], threading.Event()

    def client() -> None:
        while not done.is_set():
            answers.append(ask(server.rest_port, "POST", "/v1/models/m:predict", '{"instances": [[1,2,3]]}'))

    def client_over_grpc() -> None:
        with serving.Client(f"127.0.0.1:{server.grpc_port}", retries=0) as asking:
            while not done.wait(0.01):
                row = asking.predict("m", [[1, 2, 3]])["y"][0].tolist()
                answers.append((200, {"predictions": [row]}))
            finished.append(True)  # none of them has raised

    clients = [threading.Thread(target=client) for _ in range(4)]
    clients += [threading.Thread(target=client_over_grpc) for _ in range(2)]
    for thread in clients:
        thread.start()
    publish(contract_models, base, 2, warmup=record(1, 2))  # its own warm-up request does not fit it
    wait_for_states(server.rest_port, {"2": ("END", "INVALID_ARGUMENT"), "1": ("AVAILABLE", "OK")})
    publish(contract_models, base, 3, source="affine/2", warmup=b"not a file of records at all")
    wait_for_states(
        server.rest_port, {"3": ("END", "DATA_LOSS"), "2": ("END", "INVALID_ARGUMENT"), "1": ("AVAILABLE", "OK")}
    )
    publish(contract_models, base, 4, source="affine/2")
    wait_for_states(
        server.rest_port,
        {"4": ("AVAILABLE", "OK"), "3": ("END", "DATA_LOSS"), "2": ("END", "INVALID_ARGUMENT"), "1": ("END", "OK")},
    )
    done.set()
    for thread in clients:
        thread.join()
    assert finished == [True, True]
    assert {status for status, _ in answers} == {200}
    first, last = answers[0][1]["predictions"][0], answers[-1][1]["predictions"][0]
    assert (first, last) == (pytest.approx([14.1, -0.95]), pytest.approx([28.1, -1.7]))
    stop_while_busy(server)


def stop_while_busy(server) -> None:
    """A stop answers what is under way, soon, and says of all else that it may be asked again."""
    body = json.dumps({"instances": [[1.5, 2.5, 3.5]] * 40_000})
    answers = []
    calls = calls_of_many_clients(f"127.0.0.1:{server.grpc_port}")
    clients = [
        threading.Thread(target=lambda: answers.append(ask(server.rest_port, "POST", "/v1/models/m:predict", body)))
        for _ in range(3)
    ]
    for thread in clients:
        thread.start()
    time.sleep(0.3)
    start = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - start < 10
    for thread in clients:
        thread.join()
    assert [status for status, _ in answers] == [200] * 3
    codes = Counter(call.code() for call in calls)
    assert codes[grpc.StatusCode.OK] + codes[grpc.StatusCode.UNAVAILABLE] == codes.total(), codes


def calls_of_many_clients(address: str) -> list[grpc.Future]:
    """More calls at once than the server has taken when it is told to stop."""
    request = pb.PredictRequest(inputs={"x": to_tensor(np.ones((1, 3), np.float32))})
    request.model_spec.name = "m"
    channels = [grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(NUM_CLIENTS)]
    predicts = [channel.unary_unary("/tensorflow.serving.PredictionService/Predict") for channel in channels]
    for predict in predicts:
        predict(request.SerializeToString())  # it is connected
    return [predict.future(request.SerializeToString(), timeout=60) for predict in predicts * NUM_CALLS]


def test_models_that_cannot_be_loaded_end_the_start_and_each_is_named(contract_models, launcher, tmp_path):
    publish(contract_models, tmp_path / "bare", 1)
    shutil.rmtree(tmp_path / "bare/1/variables")
    (tmp_path / "empty/1").mkdir(parents=True)
    publish(contract_models, tmp_path / "cut", 1)
    data = tmp_path / "cut/1/variables/variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:10])
    configs = "".join(
        f'config {{ name: "{name}" base_path: "{tmp_path / name}" model_platform: "tensorflow" }}'
        for name in ("bare", "empty", "cut")
    )
    (tmp_path / "models.config").write_text(f"model_config_list {{ {configs} }}")
    server = launcher.launch(f"--model_config_file={tmp_path / 'models.config'}")
    assert server.process.wait(120) == 1
    log = server.log.read_text()
    assert "Failed to start server. Error: UNKNOWN: 3 servable(s) did not become available" in log
    assert "bare: version 1 cannot be loaded: NOT_FOUND: The graph has variables, but there is no" in log
    assert "empty: version 1 cannot be loaded: NOT_FOUND: Specified file path does not appear to contain" in log
    assert "cut: version 1 cannot be loaded: " in log


def write_wrong_files(folder: Path) -> None:
    """A list without models, and files that are each wrong in their own way."""
    model = f'config {{ name: "a" base_path: "{folder}/nowhere" model_platform: "tensorflow"'
    texts = {
        "none": "model_config_list {}",
        "bad": "model_config_list { config {",
        "unknown": f"model_config_list {{ {model} zzz: 1 }} }}",
        "twice": f"model_config_list {{ {model} }} {model} }} }}",
        "logged": f"model_config_list {{ {model} logging_config {{ sampling_config {{ sampling_rate: 0.1 }} }} }} }}",
        "label": f'model_config_list {{ {model} version_labels {{ key: "stable" value: 7 }} }} }}',
        "ssl": 'server_key: "no key" server_cert: "no certificate"',
    }
    for name, text in texts.items():
        (folder / f"{name}.config").write_text(text)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--model_config_file={0}/bad.config"], "INVALID_ARGUMENT: Invalid protobuf file: '"),
        (["--model_config_file={0}/nowhere"], "; No such file or directory"),
        (["--model_base_path=relative"], "to have an absolute path or URI; got base_path()=relative"),
        (["--model_config_file={0}/none.config", "--monitoring_config_file={0}/nowhere"], "No such file or directory"),
        (["--model_config_file={0}/unknown.config"], 'has no field named "zzz"'),
        (["--model_config_file={0}/twice.config"], "Illegal to list model a multiple times in config list"),
        (["--model_config_file={0}/logged.config"], "INVALID_ARGUMENT: No request-logger-creator provided."),
        (
            ["--model_config_file={0}/label.config"],
            "FAILED_PRECONDITION: Request to assign label to version 7 of model a",
        ),
        (["--model_config_file={0}/none.config", "--ssl_config_file={0}/ssl.config"], "do not belong together"),
        (["--model_config_file={0}/none.config", "--ssl_config_file={0}/nowhere"], "No such file or directory"),
    ],
)
def test_a_wrong_configuration_ends_the_start_with_a_reason(launcher, tmp_path, flags, reason):
    write_wrong_files(tmp_path)
    server = launcher.launch(*(flag.format(tmp_path) for flag in flags))
    assert server.process.wait(60) == 1
    assert "Failed to start server. Error: " in server.log.read_text()
    assert reason in server.log.read_text()


def test_a_wrong_configuration_leaves_a_running_server_as_it_is_and_a_right_one_is_taken(launcher, tmp_path):
    write_wrong_files(tmp_path)
    polled = tmp_path / "models.config"
    shutil.copy(tmp_path / "none.config", polled)
    server = launcher.start(f"--model_config_file={polled}", "--model_config_file_poll_wait_seconds=0.1")
    for name, reason in (
        ("bad", "Invalid protobuf file: "),
        ("unknown", 'has no field named "zzz"'),
        ("twice", "Illegal to list model a multiple times"),
        ("logged", "No request-logger-creator provided."),
        ("label", "Request to assign label to version 7 of model a"),
    ):
        shutil.copy(tmp_path / f"{name}.config", polled)
        wait_for_log(server, reason)
    polled.unlink()
    wait_for_log(server, f"NOT_FOUND: {polled}; No such file or directory")
    assert get(server.rest_port, "/v1/models/a") == (404, {"error": "Could not find any versions of model a"})
    twice = (tmp_path / "twice.config").read_text()
    polled.write_text(twice.partition("}")[0] + "} }")
    wait_for_log(server, "configuration read again")
    assert server.process.poll() is None


def wait_for_log(server, words: str) -> None:
    deadline = time.monotonic() + 30
    while words not in server.log.read_text():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.02)


@pytest.mark.parametrize("flag", ["--port", "--rest_api_port"])
def test_a_taken_port_ends_the_start_with_a_reason(launcher, tmp_path, flag):
    (tmp_path / "none.config").write_text("model_config_list {}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = launcher.launch(f"--model_config_file={tmp_path / 'none.config'}", f"{flag}={port}")
        assert server.process.wait(60) == 1
    assert "Failed to start server. Error: " in server.log.read_text()
    assert str(port) in server.log.read_text()


def test_a_base_path_without_versions_waits_and_can_be_stopped(launcher, tmp_path):
    server = launcher.launch(f"--model_base_path={tmp_path / 'later'}")
    while "No versions of servable" not in server.log.read_text():
        time.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        get(server.rest_port, "/v1/models/default")
    assert server.stop(signal.SIGINT) == 0
