"""The same request from a shell and from Python: the lines are run, and what they send is looked at."""

import base64
import json
import shutil
import subprocess
import sys

import pytest
import trustme

import serving
from serving.lines import LONGEST_ARGUMENT, curl_line, python_lines

PNG = b"\x89PNG\r\n\x1a\n\0 and so on"
AWKWARD = 'it\'s "so" $HOME `id` \\n 100% %s\nnext line ü 😀'


@pytest.fixture
def sent(tmp_path):
    """Runs a line with a ``curl`` that prints its address and its body, which for ``@-`` is its standard input."""
    if shutil.which("bash") is None:
        pytest.skip("no bash on this machine")
    (tmp_path / "curl").write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        "*flags, url, _, body = sys.argv[1:]\n"
        "print(json.dumps([url, json.loads(sys.stdin.read() if body == '@-' else body), flags]))\n"
    )
    (tmp_path / "curl").chmod(0o755)

    def run(line):
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        (tmp_path / "line.sh").write_text(line)
        done = subprocess.run(["bash", "line.sh"], cwd=tmp_path, env=path, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_text_arrives_as_it_was_written(sent):
    url, body, flags = sent(curl_line("http://h:1", "m", "text", {"text": [AWKWARD]}))
    assert flags == []
    assert url == "http://h:1/v1/models/m:predict"
    assert body == {"signature_name": "text", "inputs": {"text": [AWKWARD]}}


def test_a_request_that_is_no_argument_is_piped(sent):
    text = AWKWARD * LONGEST_ARGUMENT
    text = text[: 2 * LONGEST_ARGUMENT]
    assert sent(curl_line("http://h:1", "m", "text", {"text": [text]}))[1]["inputs"] == {"text": [text]}


def test_files_are_read_where_they_lie_whatever_they_are_called(sent, tmp_path):
    files = {"style_bytes": "-my 'own' $file.png", "content_bytes": "a.png"}
    for name in files.values():
        (tmp_path / name).write_bytes(PNG + name.encode())
    inputs = {"text": [AWKWARD], **{name: [{"b64": "as sent"}] for name in files}}
    _, body, _ = sent(curl_line("http://h:1", "m", "both", inputs, files))
    assert body["inputs"]["text"] == [AWKWARD]
    for name, file in files.items():
        (value,) = body["inputs"][name]
        assert base64.b64decode(value["b64"]) == PNG + file.encode()


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What lines of Python, run in ``tmp_path``, ask of a client: its address, its options, and the question."""
    found = []

    class Client:
        def __init__(self, target, **options):
            self.made = target, options

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def predict(self, *arguments, **options):
            found.append((*self.made, arguments, options))

    monkeypatch.setattr("serving.Client", Client)
    monkeypatch.chdir(tmp_path)
    return found


@pytest.mark.parametrize("address", ["http://[::1]:8501", "h:8500"])
def test_the_lines_of_python_ask_the_client_the_same(address, asked, tmp_path):
    (tmp_path / 'a "b".png').write_bytes(PNG)
    inputs = {"text": [AWKWARD], "n": [1], "x": [[0.5, 1e-7]], "flag": [True], "raw": [{"b64": "/wA="}], "image": None}
    exec(python_lines(address, "m", "s", inputs, {"image": 'a "b".png'}), {})
    values = {"text": [AWKWARD], "n": [1], "x": [[0.5, 1e-7]], "flag": [True], "raw": [b"\xff\0"], "image": [PNG]}
    assert asked == [(address, {}, ("m", values), {"signature": "s"})]


def test_certificates_are_named_as_curl_and_the_client_take_them(sent, asked, tmp_path):
    authority = trustme.CA()
    pem = {name: str(tmp_path / f"{name} of h.pem") for name in ("ca", "certificate", "key")}
    issued = authority.issue_cert("h")
    authority.cert_pem.write_to_path(pem["ca"])
    issued.cert_chain_pems[0].write_to_path(pem["certificate"])
    issued.private_key_pem.write_to_path(pem["key"])
    tls = serving.Tls(**pem)
    _, _, flags = sent(curl_line("https://h", "m", "s", {"x": [1]}, tls=tls))
    assert flags == ["--cacert", pem["ca"], "--cert", pem["certificate"], "--key", pem["key"]]
    exec(python_lines("grpcs://h:1", "m", "s", {"x": [1]}, tls=serving.Tls(ca=pem["ca"])), {})
    assert asked == [("grpcs://h:1", {"tls": serving.Tls(ca=pem["ca"])}, ("m", {"x": [1]}), {"signature": "s"})]
