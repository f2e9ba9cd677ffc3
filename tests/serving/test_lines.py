"""The same request from a shell and from Python: the lines are run, and what they send is looked at."""

import base64
import json
import shutil
import subprocess
import sys

import pytest

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
        "body = sys.argv[3] if sys.argv[3] != '@-' else sys.stdin.read()\n"
        "print(json.dumps([sys.argv[1], json.loads(body)]))\n"
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
    url, body = sent(curl_line("http://h:1", "m", "text", {"text": [AWKWARD]}))
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
    _, body = sent(curl_line("http://h:1", "m", "both", inputs, files))
    assert body["inputs"]["text"] == [AWKWARD]
    for name, file in files.items():
        (value,) = body["inputs"][name]
        assert base64.b64decode(value["b64"]) == PNG + file.encode()


@pytest.mark.parametrize("address", ["http://[::1]:8501", "h:8500"])
def test_the_lines_of_python_ask_the_client_the_same(address, tmp_path, monkeypatch):
    asked = []

    class Client:
        def __init__(self, target):
            self.target = target

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def predict(self, *arguments, **options):
            asked.append((self.target, arguments, options))

    monkeypatch.setattr("serving.Client", Client)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a "b".png').write_bytes(PNG)
    inputs = {"text": [AWKWARD], "n": [1], "x": [[0.5, 1e-7]], "flag": [True], "raw": [{"b64": "/wA="}], "image": None}
    exec(python_lines(address, "m", "s", inputs, {"image": 'a "b".png'}), {})
    values = {"text": [AWKWARD], "n": [1], "x": [[0.5, 1e-7]], "flag": [True], "raw": [b"\xff\0"], "image": [PNG]}
    assert asked == [(address, ("m", values), {"signature": "s"})]
