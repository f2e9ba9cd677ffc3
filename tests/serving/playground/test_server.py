"""What the playground answers to its page, and to others."""

import base64
import json
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from serving.playground.commands import playground as command
from serving.playground.server import LARGEST_BODY, Playground
from tests.serving.playground.scripted_models import HOSTILE

PNG = b"\x89PNG\r\n\x1a\nx"  # what tiny_models.py takes for a picture: a cat, by its length
JSON = {"Content-Type": "application/json"}


def reply(url, body=None, headers=JSON):
    """The status, the headers and the JSON, or text, of an answer."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        text = response.read().decode()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, response.headers, json.loads(text) if is_json else text


@pytest.fixture(params=["rest", "grpc"])
def real(request, server, models):
    """A playground of ``tiny`` on a real engine, over both transports."""
    address = server.rest_url if request.param == "rest" else server.grpc_address
    with Playground(address, {"tiny": models / "tiny"}) as page:
        yield page


def test_a_real_server_is_described_and_asked(real):
    assert reply(f"{real.url}/api/models")[2]["models"] == ["tiny"]
    _, _, found = reply(f"{real.url}/api/models/tiny")
    assert (found["version"], found["labels"]) == (1, ["cat", "dog", "fox"])
    assert {form["name"] for form in found["signatures"]} > {"bytes", "text", "row", "generate", "serving_default"}
    inputs = {"bytes": [{"b64": base64.b64encode(PNG).decode()}]}
    status, _, answer = reply(f"{real.url}/api/models/tiny", {"signature": "bytes", "inputs": inputs})
    assert status == 200
    assert [item["label"] for item in answer["views"][0]["items"] if item["best"]] == ["cat"]
    assert answer["milliseconds"] > 0


def test_the_lines_give_the_same_answer_as_the_page(real, tmp_path):
    (tmp_path / "drawing.png").write_bytes(PNG)
    inputs = {"bytes": [{"b64": base64.b64encode(PNG).decode()}]}
    question = {"signature": "bytes", "inputs": inputs, "files": {"bytes": "drawing.png"}}
    _, _, answer = reply(f"{real.url}/api/models/tiny", question)
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60, "check": True}
    printed = subprocess.run([sys.executable, "-c", answer["python"]], **options).stdout
    assert "array(['cat'], dtype=object)" in printed
    if answer["curl"] is None:
        assert not reply(f"{real.url}/api/models")[2]["address"].startswith("http")
    elif shutil.which("curl") and shutil.which("bash"):
        printed = subprocess.run(["bash", "-c", answer["curl"]], **options).stdout
        assert json.loads(printed)["outputs"]["classes"] == ["cat"]


def test_what_a_real_server_refuses_is_said_in_its_words(real):
    question = {"signature": "bytes", "inputs": {"bytes": ["no picture"]}}
    status, _, answer = reply(f"{real.url}/api/models/tiny", question)
    assert (status, answer["kind"]) == (400, "InvalidInput")
    assert "no picture" in answer["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "A question is JSON with signature and inputs"),
        (b"[]", "A question is JSON with signature and inputs"),
        ({"signature": "bytes"}, "A question is JSON with signature and inputs"),
        ({"signature": 1, "inputs": {}}, "signature is a string"),
        ({"signature": "bytes", "inputs": [1]}, "inputs and files are objects"),
        ({"signature": "bytes", "inputs": {}, "files": {"a": 1}}, "inputs and files are objects"),
        ({"signature": "bites", "inputs": {}}, "Did you mean 'bytes'?"),
        ({"signature": "bytes", "inputs": {"image_byte": ["x"]}}, "Did you mean 'image_bytes'?"),
        ({"signature": "bytes", "inputs": {"image_bytes": [{"b64": "!"}]}}, "no base64"),
        ({"signature": "bytes", "inputs": {"image_bytes": [1]}}, "takes bytes or str. Received: 1"),
    ],
)
def test_a_wrong_question_is_told_what_is_accepted(playground, body, words):
    status, _, answer = reply(f"{playground.url}/api/models/digit", body)
    assert status == 400
    assert words in answer["error"]


def test_models_that_are_not_there(playground):
    status, _, answer = reply(f"{playground.url}/api/models/digits")
    assert (status, answer["error"].endswith("Did you mean 'digit'?")) == (404, True)
    status, _, answer = reply(f"{playground.url}/api/models/gone")
    assert (status, answer["kind"]) == (404, "ModelNotFound")


def test_a_server_that_is_gone_is_said_to_be():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with Playground(f"http://{address}", {"m": None}, timeout=2) as page:
            status, _, answer = reply(f"{page.url}/api/models/m")
    assert (status, answer["kind"]) == (503, "Unavailable")
    assert address in answer["error"]


def test_what_a_server_says_travels_as_json_text(playground):
    question = {"signature": "text", "inputs": {"text": ["x"]}}
    _, headers, answer = reply(f"{playground.url}/api/models/hostile", question)
    assert headers["Content-Type"].startswith("application/json")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert HOSTILE in [item["label"] for item in answer["views"][0]["items"]]


def test_the_page_and_its_files_are_whole_and_load_nothing_from_elsewhere(playground):
    _, headers, page = reply(playground.url)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    files = [
        "playground.css",
        "icon.svg",
        *(f"{name}.js" for name in ("main", "fields", "picture", "answers", "elements")),
    ]
    for file in files:
        status, headers, text = reply(f"{playground.url}/page/{file}")
        assert status == 200
        assert "//cdn" not in text
        assert "innerHTML" not in text
    for name in ("playground.css", "icon.svg", "main.js"):
        assert f"/page/{name}" in page
    for missing in ("/page/server.py", "/page/..%2fserver.py", "/server.py"):
        assert reply(f"{playground.url}{missing}")[0] == 404


@pytest.mark.parametrize("host", ["models.example.org", "127.0.0.1.example.org:80", "10.0.0.1"])
def test_on_loopback_no_other_name_is_answered(playground, host):
    assert reply(playground.url, headers={"Host": host})[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "[::1]:1", "127.0.0.2:1"])
def test_loopback_has_several_names(playground, host):
    assert reply(playground.url, headers={"Host": host})[0] == 200


def test_a_form_of_another_page_asks_nothing(playground, scripted):
    body = {"signature": "text", "inputs": {"text": ["x"]}}
    before = len(scripted.asked["hostile"])
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert reply(f"{playground.url}/api/models/hostile", body, {"Content-Type": kind})[0] == 415
    assert len(scripted.asked["hostile"]) == before


def test_a_body_that_is_too_large_is_refused(playground):
    status, _, answer = reply(f"{playground.url}/api/models/digit", b" " * (LARGEST_BODY + 1))
    assert (status, answer["error"]) == (413, "More than 64 MiB are not sent.")


def test_a_taken_port_and_a_wrong_address_are_said_at_once():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        with pytest.raises(OSError, match="in use"):
            Playground("http://h:1", {"m": None}, port=held.getsockname()[1])
    with pytest.raises(ValueError, match="A target is"):
        Playground("nowhere", {"m": None})


def test_the_port_is_free_again_when_it_has_stopped():
    page = Playground("http://h:1", {"m": None})
    port = int(page.url.rpartition(":")[2])
    page.stop()
    with Playground("http://h:1", {"m": None}, port=port) as again:
        assert again.url == page.url


def test_a_taken_port_is_named_on_the_command_line():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        done = CliRunner().invoke(command, ["http://h:1", "m", "--port", str(port)])
    assert done.exit_code == 1
    assert "does not start" in done.output
    assert f"('127.0.0.1', {port}): address already in use" in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://h:1"], "Name the MODELS of the server"),
        (["nowhere", "m"], "A target is http://host:port"),
        (["http://h:1", "m", "--host", "nowhere"], "'nowhere' does not appear to be an IPv4 or IPv6 address"),
        (["http://h:1", "--input", "nowhere"], "nowhere"),
    ],
)
def test_wrong_usage_is_exit_code_two(arguments, words):
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2
    assert words in done.output
