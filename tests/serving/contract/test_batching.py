"""Batching on real servers: the same files and answers on each engine, and where ours is the safe one, ours alone."""

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import urllib3

import serving
from serving.engines import ENGINES
from serving.launching import Options, embedded_command

BATCHING = """
max_batch_size { value: 4 }
batch_timeout_micros { value: 50000 }
num_batch_threads { value: 2 }
max_enqueued_batches { value: 100 }
allowed_batch_sizes: [2, 4]
thread_pool_name { value: "tests" }
"""
METRICS_PATH = "/monitoring/prometheus/metrics"


def serve(models: Path, folder: Path, engine: str) -> serving.Server:
    (folder / "batching.config").write_text(BATCHING)
    (folder / "monitoring.config").write_text(f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}')
    flags = {
        "enable_batching": True,
        "batching_parameters_file": str(folder / "batching.config"),
        "monitoring_config_file": str(folder / "monitoring.config"),
    }
    return serving.serve(models / "tiny", engine=engine, flags=flags)


@pytest.fixture(scope="module", params=[name for name, engine in ENGINES.items() if engine.why_not() is None])
def server(request, models, tmp_path_factory) -> Iterator[serving.Server]:
    """A server of ``tiny`` that batches, on each engine that this machine has."""
    with serve(models, tmp_path_factory.mktemp("batching"), request.param) as running:
        yield running


@pytest.fixture
def embedded(server) -> serving.Server:
    """Where the others do harm."""
    if server.engine != "embedded":
        pytest.skip("TensorFlow Serving fails or hangs here")
    return server


def post(server: serving.Server, signature: str, **body) -> tuple[int, dict]:
    """(status, answer) of a predict over REST, past the client's checks."""
    url = f"{server.rest_url}/v1/models/tiny:predict"
    response = urllib3.request("POST", url, json={"signature_name": signature, **body}, timeout=30, retries=False)
    return response.status, json.loads(response.data)


def at_once(server: serving.Server, bodies: list[dict]) -> list[tuple[int, dict]]:
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: post(server, **body), bodies))


@pytest.mark.parametrize("api", ["rest_url", "grpc_address"])
def test_clients_at_the_same_time_get_each_their_own_answer(server, api):
    def ask(number: int) -> np.ndarray:
        return client.predict("tiny", {"x": np.full((1 + number % 2, 3), number, np.float32)})["y"]

    with serving.Client(getattr(server, api), timeout=30) as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    for number, answer in enumerate(answers):
        expected = [[6 * number + 0.1, -0.25 * number - 0.2]] * (1 + number % 2)
        np.testing.assert_allclose(answer, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"signature": "serving_default", "instances": [[1, 2, 3]] * 5},
            "Task size 5 is larger than maximum input batch size 4",
        ),
        ({"signature": "zeros", "inputs": 3}, "Batching Run() input tensors must have at least one dimension"),
        (
            {"signature": "two", "inputs": {"a": [[1, 2]], "b": [[1], [2]]}},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        ({"signature": "total", "instances": [1, 2]}, "Batched output tensor has 0 dimensions"),
    ],
)
def test_what_cannot_be_batched_is_refused_in_the_same_words(server, body, error):
    assert post(server, **body) == (400, {"error": error})


def test_batches_are_counted_under_tf_servings_names(server):
    assert post(server, "serving_default", instances=[[1, 2, 3]] * 3)[0] == 200
    page = urllib3.request("GET", server.rest_url + METRICS_PATH, timeout=30).data.decode()
    session = ":tensorflow:serving:batching_session:"
    for metric, labels in (
        ("input_batch_size", ""),
        ("processed_batch_size", ""),
        ("padding_size", 'execution_batch_size="4"'),
        ("queuing_latency", 'thread_pool_name=""'),
    ):
        assert int(re.search(rf"^{session}{metric}_count{{{labels}}} (\d+)$", page, re.MULTILINE)[1]) > 0
    assert re.search(rf"^{session}wrapped_run_count{{}} [1-9]", page, re.MULTILINE)


def test_no_rows_are_answered_at_once(embedded):
    assert post(embedded, "serving_default", inputs=np.zeros((0, 3)).tolist())[0] == 400  # JSON has no shape for it
    with serving.Client(embedded.grpc_address, timeout=30) as client:
        assert client.predict("tiny", {"x": np.zeros((0, 3), np.float32)})["y"].shape == (0, 2)


def test_one_bad_request_does_not_fail_its_neighbours(embedded):
    good = {"signature": "serving_default", "instances": [[1, 2, 3]]}
    answers = at_once(embedded, [good, {**good, "instances": [[1, 2]]}, good, good])
    assert [status for status, _ in answers] == [200, 400, 200, 200]
    assert "Matrix size-incompatible" in answers[1][1]["error"]

    def pictures(text: str) -> dict:
        return {"signature": "bytes", "instances": [text]}

    answers = at_once(embedded, [pictures("xPNG"), pictures("none"), pictures("xPNGx"), pictures("xPNG")])
    assert [status for status, _ in answers] == [200, 400, 200, 200]
    assert "no picture" in answers[1][1]["error"]


@pytest.mark.parametrize(
    ("text", "flags", "reason"),
    [
        ("max_batch_size { value: 0 }", ["--enable_batching"], "max_batch_size must be positive; was 0"),
        ("max_batch_size { value: 8 }", [], "batching_parameters_file is set without setting enable_batching to true"),
    ],
)
def test_a_bad_file_ends_the_start_with_a_reason(models, tmp_path, text, flags, reason):
    (tmp_path / "batching.config").write_text(text)
    options = Options("tiny", models / "tiny")
    command = [*embedded_command(options), f"--batching_parameters_file={tmp_path / 'batching.config'}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"Failed to start server. Error: INVALID_ARGUMENT: {reason}" in done.stderr


@pytest.mark.slow
def test_a_version_whose_parameters_are_bad_is_not_served(models, tmp_path):
    base = tmp_path / "tiny"
    subprocess.run(["cp", "-r", models / "tiny", base], check=True)
    (base / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 2 } allowed_batch_sizes: 1")
    command = embedded_command(
        Options("tiny", base, flags={"enable_batching": True, "enable_per_model_batching_parameters": True})
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 1; expected 2" in done.stderr
