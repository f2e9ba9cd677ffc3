"""The REST API, letter for letter as TF Serving's: a client written for one must work with the other, errors included.

The cases are data: ``cases/*.json`` hold a request and the answer, as ``text`` (all of it), ``error`` (the message) or
``has`` (a part).
"""

import base64
import http.client
import json
from pathlib import Path

import pytest

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


def load_cases() -> list:
    """Every case under the name of its file and its own."""
    return [
        pytest.param(case, id=f"{path.stem}: {case['name']}")
        for path in CASES
        for case in json.loads(path.read_text("utf-8"))
    ]


def ask(port: int, request: dict) -> tuple[int, dict, bytes]:
    """(status, headers, body) of a request of the case files."""
    body = request.get("body", "").encode() or base64.b64decode(request.get("body_base64", ""))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest(request["method"], request["target"], skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **request.get("headers", {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("case", load_cases())
def test_answer(contract_server, case):
    status, headers, body = ask(contract_server.rest_port, case["request"])
    expected = case["expected"]
    assert (status, body) == (expected["status"], body)
    text = body.decode("utf-8", "replace")
    if "text" in expected:
        assert text == expected["text"]
    if "error" in expected:
        assert json.loads(text) == {"error": expected["error"]}
    assert expected.get("has", "") in text
    for name, value in expected.get("headers", {}).items():
        assert headers[name] == value


def test_a_body_over_the_limit_is_refused_and_the_server_lives(contract_server):
    target = {"method": "POST", "target": "/v1/models/affine:predict"}
    status, _, body = ask(contract_server.rest_port, {**target, "body": " " * ((16 << 20) + 1)})
    assert status == 413, body
    status, _, body = ask(contract_server.rest_port, {**target, "body": '{"instances": [[1,2,3]]}'})
    assert status == 200, body


def test_requests_are_counted(contract_server):
    for body in ('{"instances": [[1,2]]}', '{"instances": [[1,2]]}', "{"):
        ask(contract_server.rest_port, {"method": "POST", "target": "/v1/models/shapes:predict", "body": body})
    _, _, page = ask(contract_server.rest_port, {"method": "GET", "target": "/metrics"})
    lines = page.decode().splitlines()
    assert any(
        line.startswith(':tensorflow:serving:request_count{model_name="shapes",status="INVALID_ARGUMENT"}')
        for line in lines
    )
    assert any(
        line.startswith(':tensorflow:serving:runtime_latency_bucket{model_name="shapes",API="Predict",runtime="TF1",')
        for line in lines
    )


def test_models_that_nobody_serves_are_counted_as_one(contract_server):
    for name in ("nobodys", "nobodys-other"):
        ask(contract_server.rest_port, {"method": "GET", "target": f"/v1/models/{name}/metadata"})
    _, _, page = ask(contract_server.rest_port, {"method": "GET", "target": "/metrics"})
    assert b"nobodys" not in page
    assert b':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"}' in page
