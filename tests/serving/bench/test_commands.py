"""What a person sees and a program reads of ``zoo bench``."""

import contextlib
import json

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from export.golden import Golden
from serving.bench import server_times
from serving.bench.commands import bench
from serving.bench.inputs import Inputs
from serving.bench.loads import OpenLoop
from serving.bench.measuring import measure
from serving.bench.senders import Target
from serving.embedded import monitoring_config
from serving.transport import ModelRef

NUMBER, SHARE = {"type": "number", "minimum": 0}, {"type": "number", "minimum": 0, "maximum": 1}


def or_null(schema: dict) -> dict:
    return {"anyOf": [schema, {"type": "null"}]}


def record(**properties) -> dict:
    """An object of exactly these."""
    closed = {"type": "object", "required": list(properties), "additionalProperties": False}
    return closed | {"properties": properties}


CASE = record(
    api={"enum": ["REST", "gRPC"]},
    asked_rate=or_null(NUMBER),
    concurrency=or_null({"type": "integer", "minimum": 1}),
    rate=NUMBER,
    sent={"type": "integer", "minimum": 1},
    answered={"type": "integer"},
    latency_ms=record(**{name: or_null(NUMBER) for name in ("p50", "p90", "p95", "p99", "p99.9")}),
    errors={"type": "object", "additionalProperties": {"type": "integer"}},
    late_ms=NUMBER,
    late_share=or_null(SHARE),
    busy_share=NUMBER,
    server_ms={"type": "object", "additionalProperties": NUMBER},
    warnings={"type": "array", "items": {"type": "string"}},
)
REPORT = record(
    model={"type": "string"},
    version={"type": "integer"},
    signature={"type": "string"},
    inputs={"type": "string"},
    batch_size={"type": "integer"},
    engine=or_null({"type": "string"}),
    machine={"type": "string"},
    seconds=NUMBER,
    timeout=NUMBER,
    late_ms=NUMBER,
    processes={"type": "integer"},
    cases={"type": "array", "items": CASE},
)


def run(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(bench, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(params=["rest", "grpc"])
def address(request, server) -> str:
    return server.rest_url if request.param == "rest" else server.grpc_address


@pytest.fixture
def own(server, monkeypatch, models):
    """``serve`` hands out the server that runs already, if it is asked for one that tells its times."""

    def serve(*_, flags, **__):
        assert monitoring_config.metrics_path(flags["monitoring_config_file"])
        return contextlib.nullcontext(server)

    monkeypatch.setattr("serving.engines.serve", serve)
    return models / "tiny"


def test_json_is_for_programs(address):
    code, out, err = run(address, "tiny", "--rate", "40,80", "--concurrency", "2", "--duration", 0.3, "--json",
                         "--signature", "serving_default", "--arrivals", "even")  # fmt: skip
    assert code == 0, err
    report = json.loads(out)
    jsonschema.validate(report, REPORT)
    assert (report["model"], report["version"], report["inputs"]) == ("tiny", 1, "made up")
    assert [(case["asked_rate"], case["concurrency"]) for case in report["cases"]] == [
        (40, None),
        (80, None),
        (None, 2),
    ]
    assert [case["sent"] for case in report["cases"]][:2] == [12, 24]
    assert all(case["answered"] == case["sent"] and case["errors"] == {} for case in report["cases"])
    assert [line.rpartition(", ")[2] for line in err.splitlines()] == ["40/s …", "80/s …", "2 clients …"]


def test_a_table_and_a_picture_are_for_people(address, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    plot = tmp_path / "latency.png"
    code, out, _ = run(address, "tiny", "--rate", 50, "--concurrency", 1, "--duration", 0.3, "--signature", "two",
                       "--batch-size", 4, "--plot", plot)  # fmt: skip
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["load", "rate/s", "p50", "p90", "p95", "p99", "p99.9", "late"] in rows
    assert any(row[1:2] == ["50/s"] for row in rows)
    assert any(row[1:3] == ["1", "client"] for row in rows)
    assert "tiny version 1, signature two: made up, 4 rows in each request" in out
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
        assert len(np.unique(np.asarray(picture))) > 10


def test_a_base_path_is_served_and_its_golden_set_is_asked(own, tmp_path):
    """``bytes`` of ``tiny`` answers to what begins as a PNG file does, and a made-up picture is a JPEG."""
    code, _, err = run(own, "--duration", 0.2, "--concurrency", 1, "--api", "rest", "--signature", "bytes")
    assert code == 1
    assert "no picture" in err
    (tmp_path / "tiny" / "1").mkdir(parents=True)
    Golden({"bytes": np.array([b"\x89PNG"], object)}, {"y": np.zeros(1)}).save(tmp_path / "tiny" / "1", "bytes")
    code, out, err = run(tmp_path / "tiny", "--duration", 0.2, "--concurrency", 1, "--json")
    assert code == 0, err
    report = json.loads(out)
    jsonschema.validate(report, REPORT)
    assert report["inputs"] == f"golden set in {tmp_path / 'tiny'}, 1 examples"
    assert report["engine"]
    assert [case["api"] for case in report["cases"]] == ["REST", "gRPC"]
    assert not any(case["errors"] for case in report["cases"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--rate", "0"], 2, "'0': positive numbers are wanted, with commas between them"),
        (["--rate", "5,x"], 2, "'5,x'"),
        (["--concurrency", "1.5"], 2, "'1.5': positive whole numbers are wanted"),
        (["--duration", "0"], 2, "--duration"),
        (["--rate", "0.1", "--duration", "1"], 2, "At 0.1/s no request is sent in 1 s"),
        (["--signature", "tow"], 2, "no signature 'tow' in version 1"),
        (["--signature", "half"], 2, "REST: input 'x': bfloat16 cannot be written in JSON. Use gRPC"),
        (["--version", "7"], 1, "'tiny' version 7"),
        (["--plot", "nowhere/a.png"], 2, "No such folder: nowhere"),
        (["--engine", "docker"], 2, "--api and --engine are for a base path"),
    ],
)
def test_wrong_usage_says_what_is_accepted(server, words, code, said):
    found, _, err = run(server.rest_url, "tiny", *words)
    assert found == code
    assert said in " ".join(err.replace("│", " ").split())


def test_targets_that_are_none_are_refused(tmp_path):
    code, _, err = run("served/nothing")
    assert (code, "'served/nothing' is no base path, and no address" in err) == (2, True)
    code, _, err = run("http://127.0.0.1:9")
    assert (code, "Give MODEL" in err) == (2, True)
    code, _, err = run(tmp_path)
    assert (code, "No version in" in err) == (2, True)
    for address in ("http://127.0.0.1:9", "127.0.0.1:9"):
        code, _, err = run(address, "tiny")
        assert code == 1
        assert "Start a server with zoo serve, or give a base path" in err


# --- the server's own times ----------------------------------------------------------------------------------------

PAGE = """# TYPE :tensorflow:serving:batching_session:queuing_latency histogram
:tensorflow:serving:batching_session:queuing_latency_bucket{thread_pool_name="shared",le="100"} 7
:tensorflow:serving:batching_session:queuing_latency_sum{thread_pool_name="shared"} %d
:tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name="shared"} %d
# TYPE :tensorflow:serving:request_latency histogram
:tensorflow:serving:request_latency_sum{model_name="m",API="Predict",entrypoint="REST"} 3e+06
:tensorflow:serving:request_latency_count{model_name="m",API="Predict",entrypoint="REST"} 30
:tensorflow:serving:request_latency_sum{model_name="m",API="Predict",entrypoint="GRPC"} 1e+06
:tensorflow:serving:request_latency_count{model_name="m",API="Predict",entrypoint="GRPC"} 10
:tensorflow:serving:request_latency_sum{model_name="other",API="Predict",entrypoint="REST"} 9e+09
:tensorflow:serving:request_latency_count{model_name="other",API="Predict",entrypoint="REST"} 9
"""


def test_server_times_are_means_of_what_was_counted_in_between():
    before, after = (server_times.parse(PAGE % numbers, "m") for numbers in ((1000, 10), (251000, 110)))
    assert before == {"queue": (1000, 10), "request": (4e6, 40)}
    assert server_times.between(before, after) == {"queue": 2.5}
    assert server_times.between({}, after) == {"queue": pytest.approx(251 / 110, abs=1e-3), "request": 100}


def test_server_times_are_read_where_there_is_a_page(scripted, monkeypatch):
    monkeypatch.setattr("serving.bench.measuring._ask_once", lambda *_: None)

    def case():
        inputs = Inputs("serving_default", [{"x": np.zeros((1, 3), np.float32)}], "made up")
        target = Target(scripted.rest_url, ModelRef("m"))
        (found,) = measure(target, inputs, [OpenLoop(40)], seconds=0.2)
        return found

    assert case().server_ms == {}
    scripted.page = PAGE % (1000, 10)

    async def script():
        scripted.page = PAGE % (1000 + 2500 * len(scripted.bodies), 10 + len(scripted.bodies))
        return "OK"

    scripted.script = script
    assert case().server_ms == {"queue": 2.5}
