"""What a person sees and a program reads of ``zoo serve`` and ``zoo query``."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from click.testing import CliRunner

import serving
from serving import questions
from serving.commands import curl_line, serve
from serving.query_commands import query

PNG = b"\x89PNG\r\n\x1a\n"
CAT, DOG = PNG + b"x", PNG + b"xx"  # by their lengths, 9 and 10: see tiny_models.py


def run(command, *arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(params=["--rest", "--grpc"])
def where(request, server) -> list[str]:
    return [request.param, server.rest_url if request.param == "--rest" else server.grpc_address]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for name, data in {"cat/a.png": CAT, "cat/b.png": DOG, "dog/c.png": DOG}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


# --- query ---------------------------------------------------------------------------------------------------------


def test_a_picture_is_answered_with_its_probability(where, tmp_path):
    (tmp_path / "seven.png").write_bytes(DOG)
    code, out, _ = run(query, "tiny", tmp_path / "seven.png", *where)
    assert code == 0
    assert "dog" in out
    assert "0.750" in out
    assert "truth" not in out


def test_a_folder_of_classes_is_marked_against_its_names(where, pictures):
    code, out, _ = run(query, "tiny", pictures, *where)
    assert code == 0
    assert out.count("✓") == 2
    assert out.count("✗") == 1
    assert out.strip().splitlines()[-1] == "2/3 right"


def test_json_is_for_programs(where, pictures):
    code, out, _ = run(query, "tiny", pictures, "--json", "--top", 2, "--limit", 2, *where)
    assert code == 0
    reply = json.loads(out)
    assert (reply["model"], reply["version"], reply["signature"]) == ("tiny", 1, "bytes")
    assert reply["summary"] == "1/2 right"
    first = reply["answers"][0]
    assert (first["input"], first["answer"], first["truth"], first["right"]) == ("cat/a.png", "cat", "cat", True)
    assert first["top"] == [{"answer": "cat", "probability": 0.75}, {"answer": "class 1", "probability": 0.125}]


def test_labels_of_a_base_path_name_the_runners_up(where, pictures, models):
    code, out, _ = run(query, models / "tiny", pictures, "--json", "--top", 3, *where)
    assert code == 0
    assert [guess["answer"] for guess in json.loads(out)["answers"][0]["top"]] == ["cat", "dog", "fox"]


def test_a_csv_names_pictures_beside_itself(where, pictures):
    (pictures / "list.csv").write_text("file,label\ncat/a.png,cat\ndog/c.png,fox\n")
    code, out, _ = run(query, "tiny", pictures / "list.csv", *where)
    assert code == 0
    assert out.strip().splitlines()[-1] == "1/2 right"


def test_a_csv_of_numbers_is_matched_by_name(where, tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("age,BMI,progression\n50,20,91\n60,30,120\n")
    code, out, _ = run(query, "tiny", table, "--json", *where)
    assert code == 0
    reply = json.loads(out)
    assert [answer["answer"] for answer in reply["answers"]] == ["90", "120"]
    assert [answer["truth"] for answer in reply["answers"]] == ["91", "120"]
    assert reply["summary"] == "mean absolute error 0.5 over 2"


def test_rows_come_from_the_command_line(where):
    code, out, _ = run(query, "tiny", "--row", "bmi=32.1,age=59", *where)
    assert code == 0
    assert "123.2" in out


def test_outputs_of_any_model_are_shown(where, tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    code, out, _ = run(query, "tiny", tmp_path / "a.txt", "--signature", "text", "--json", *where)
    assert code == 0
    answer = json.loads(out)["answers"][0]["answer"]
    assert answer == r"binary: abc\udcfe; length: 3; raw_bytes: b'abc\xff\x00'; upper: ABC"


def answers(out):
    return [answer["answer"] for answer in json.loads(out)["answers"]]


def test_texts_come_from_the_command_line(where):
    code, out, _ = run(query, "tiny", "--text", "a sentence", "--text", "naïve,\nor not", *where)
    assert code == 0
    assert "a sentence" in out
    assert "upper: A SENTENCE" in out
    assert "naïve," in out
    assert "upper: NAïVE, OR NOT" in " ".join(out.split())


def test_texts_of_a_file_are_its_lines(where, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"first\r\n\nsecond, with a comma\nno UTF-8 \xff")
    code, out, _ = run(query, "tiny", tmp_path / "a.txt", "--json", *where)
    assert code == 0
    reply = json.loads(out)
    assert reply["signature"] == "text"
    assert [answer["input"] for answer in reply["answers"]] == ["first", "second, with a comma", r"no UTF-8 \udcff"]
    code, out, _ = run(query, "tiny", tmp_path / "a.txt", "--json", "--limit", 1, *where)
    assert len(answers(out)) == 1


def test_texts_of_a_csv_are_read_as_they_were_written(where, tmp_path):
    """With commas, quotes, line breaks, blanks before and after, and nothing at all."""
    texts = ["a, b", 'she said "no"', "two\nlines", "  blanks  ", "", "x\0y"]
    with (tmp_path / "examples.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("text", "label"), *((text, "y") for text in texts)])
    code, out, _ = run(query, "tiny", tmp_path / "examples.csv", "--json", *where)
    assert code == 0
    reply = json.loads(out)
    assert reply["signature"] == "text"
    assert [answer["input"] for answer in reply["answers"]] == texts
    assert {answer["truth"] for answer in reply["answers"]} == {"y"}
    lengths = [int(re.search(r"length: (\d+)", answer)[1]) for answer in answers(out)]
    assert lengths == list(map(len, texts))
    code, out, _ = run(query, "tiny", tmp_path / "examples.csv", *where)
    assert code == 0
    assert "she said" in out
    assert r"x\x00y" in out


def test_what_is_written_is_told_how_by_settings(where):
    asked = ["tiny", "--text", "once", "--text", "twice", "--signature", "generate", "--json"]
    code, out, _ = run(query, *asked, *where)
    assert code == 0
    assert answers(out) == ["once 64 0.0 0", "twice 64 0.0 0"]
    code, out, _ = run(query, *asked, "--set", "temperature=0.8", "--set", "max_new_tokens=7", *where)
    assert code == 0
    assert answers(out) == ["once 7 0.8 0", "twice 7 0.8 0"]


def test_settings_may_be_columns_too(where, tmp_path):
    (tmp_path / "prompts.csv").write_text("text,seed,target\nonce,3,once 9 0.0 3\ntwice,4,other\n")
    asked = ["tiny", tmp_path / "prompts.csv", "--signature", "generate", "--set", "max_new_tokens=9"]
    code, out, _ = run(query, *asked, "--json", *where)
    assert code == 0
    reply = json.loads(out)
    assert answers(out) == ["once 9 0.0 3", "twice 9 0.0 4"]
    assert [answer["right"] for answer in reply["answers"]] == [True, False]
    assert reply["summary"] == "1/2 right"


def test_running_text_has_no_truth(where, tmp_path):
    (tmp_path / "examples.csv").write_text('text,target\nonce,""\ntwice,""\n')
    code, out, _ = run(query, "tiny", tmp_path / "examples.csv", "--signature", "generate", *where)
    assert code == 0
    assert "once 64" in out
    assert "truth" not in out


def test_models_say_what_they_take_when_they_are_asked_otherwise():
    """A text at pictures, a picture at texts, a row at texts."""
    text, number = serving.TensorSpec("string", (None,)), serving.TensorSpec("int64", (None,))

    def model(name, **signatures):
        return serving.ModelMetadata(name, 1, {k: serving.Signature(v, {}) for k, v in signatures.items()})

    pictures = model("digits", bytes={"image_bytes": text}, serving_default={"image": number})
    texts = model("reviews", text={"text": text}, serving_default={"tokens": number})
    with pytest.raises(ValueError, match=r"digits has no signature that takes texts\. It has bytes \(image_bytes: str"):
        questions.text_signature(pictures)
    with pytest.raises(ValueError, match=r"'bytes' takes image_bytes: string\[\?\], not texts"):
        questions.text_signature(pictures, "bytes")
    with pytest.raises(ValueError, match=r"no signature that takes the bytes of a picture\. It has text \(text: s"):
        questions.picture_signature(texts)
    with pytest.raises(ValueError, match=r"No signature of reviews takes bmi by name\. It has text \(text: string"):
        questions.row_signature(texts, ["bmi"])


def test_the_picture_at_fault_is_named(where, pictures):
    (pictures / "cat" / "z.png").write_bytes(b"BM, as bitmaps begin")
    code, _, err = run(query, "tiny", pictures, *where)
    assert code == 1
    assert "cat/z.png" in err
    assert "no picture" in err


def test_a_file_that_is_no_picture_is_named_before_anything_is_asked(where, pictures):
    (pictures / "cat" / "z.png").write_bytes(b"<html>")
    code, _, err = run(query, "tiny", pictures, *where)
    assert code == 2
    assert "cat/z.png is no picture: it begins with b'<html>'. Accepted: PNG" in err


def test_what_goes_wrong_is_exit_code_one(where, server):
    code, _, err = run(query, "tiney", "--row", "bmi=1,age=2", *where)
    assert code == 1
    assert "tiney" in err
    assert where[1] in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny"], "Give INPUTS"),
        (["tiny", "--row", "a=1", "--rest", "http://h:1", "--grpc", "h:1"], "not both"),
        (["tiny", "--row", "bmi=1"], "also takes age"),
        (["tiny", "--row", "bmi"], "name=value"),
        (["tiny", "--row", "bmi=tall,age=3"], "'tall' is no float32"),
        (["tiny", "--row", "bmi=1,age=2", "--row", "bmi=1"], "same names"),
        (["tiny", "--row", "bmi=1,age=2", "--signature", "nope"], "no signature 'nope'"),
        (["tiny", "--text", "a", "--row", "bmi=1,age=2"], "only one"),
        (["tiny", "--text", "a", "--signature", "row"], "takes age: float32[?], bmi: float32[?], not texts"),
        (["tiny", "--text", "a", "--signature", "generate", "--set", "seed"], "name=value"),
        (["tiny", "--text", "a", "--signature", "generate", "--set", "seed=x"], "setting seed: 'x' is no int64"),
        (["tiny", "--text", "a", "--signature", "generate", "--set", "seeds=1"], "Did you mean 'seed'?"),
        (["tiny", "--text", "a", "--signature", "generate", "--set", "text=b"], "the questions have it already"),
        (["tiny", "--text", "a", "--set", "seed=1"], "'text' takes text: string[?]"),
        (["tiny", "--row", "text=a", "--signature", "translate"], "also takes mood"),
        (["tiny", "nowhere.png"], "does not exist"),
        (["served/typo", "--row", "a=1"], "No such base path: served/typo"),
        (["tiny", "--row", "a=1", "--rest", "h:p"], "Received: 'h:p'"),
    ],
)
def test_wrong_usage_is_exit_code_two(server, arguments, words):
    if "--rest" not in arguments:
        arguments = [*arguments, "--rest", server.rest_url]
    code, _, err = run(query, *arguments)
    assert code == 2
    assert words in " ".join(err.split())


def test_without_a_server_the_way_to_one_is_said(monkeypatch):
    monkeypatch.setattr("serving.query_commands.DEFAULT_REST", "http://127.0.0.1:1")
    code, _, err = run(query, "tiny", "--row", "bmi=1,age=2")
    assert code == 1
    assert "Connection refused" in err
    assert "zoo serve" in err


def test_a_ragged_csv_is_named_with_its_line(server, tmp_path):
    (tmp_path / "bad.csv").write_text("bmi,age\n1,2\n3\n")
    code, _, err = run(query, "tiny", tmp_path / "bad.csv", "--rest", server.rest_url)
    assert code == 2
    assert "bad.csv, line 3" in err


def test_a_base_path_is_served_for_the_query_alone(models, pictures, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr("serving.query_commands.DEFAULT_REST", f"http://127.0.0.1:{free.getsockname()[1]}")
    code, out, err = run(query, models / "tiny", pictures, "--top", 2)
    assert code == 0
    assert "starting one for this query" in err
    assert "fox" not in out
    assert "2/3 right" in out


# --- serve ---------------------------------------------------------------------------------------------------------


def ours(base_path, folder) -> list[str]:
    return [str(base_path), "--engine", "embedded", "--rest-port", "0", "--grpc-port", "0"]


def tf_servings(base_path, folder) -> list[str]:
    """As a Compose file starts TensorFlow Serving."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    addresses = ["--port=0", f"--grpc_socket_path={folder / 's.sock'}", "--rest-api-port", str(port)]
    return [*addresses, "--model_name=tiny", f"--model_base_path={base_path}", "--enable_profiler", "--engine=embedded"]


@pytest.mark.parametrize(("number", "spelled"), [(signal.SIGTERM, ours), (signal.SIGINT, tf_servings)])
def test_serve_announces_itself_and_ends_when_told(models, tmp_path, number, spelled):
    # a shell that runs the tests in the background would hand on an ignored SIGINT
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from serving.commands import serve; serve(prog_name='zoo serve')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, *spelled(models / "tiny", tmp_path), "--playground", "--playground-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    while "Ctrl-C stops it.\n" not in lines:
        lines.append(process.stdout.readline())
        assert lines[-1], process.stderr.read()
    printed = "".join(lines)
    assert "tiny version 1, served by the engine: embedded" in printed
    rest, grpc = re.search(r"REST  (\S+)", printed)[1], re.search(r"(?:gRPC|socket)  (\S+)", printed)[1]
    for target in (rest, grpc):
        with serving.Client(target) as client:
            assert client.predict("tiny", [[0, 0, 0]])["y"].shape == (1, 2)
    page = re.search(r"page  (\S+)", printed)[1]
    with urllib.request.urlopen(f"{page}/api/models/tiny", timeout=30) as reply:
        assert json.load(reply)["labels"] == ["cat", "dog", "fox"]
    _run_curl(next(line for line in lines if "curl" in line), models)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err.rstrip().endswith("stopped")
    _assert_nobody_listens(rest)


def _run_curl(line: str, folder) -> None:
    """The printed line, with a picture where it wants one, answers."""
    import shutil

    if shutil.which("curl") is None:
        return
    (folder / "picture.png").write_bytes(DOG)
    done = subprocess.run(["bash", "-c", line.strip()], cwd=folder, capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout)["outputs"]["classes"] == ["dog"], done


def _assert_nobody_listens(url: str) -> None:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))):
                return
        time.sleep(0.05)
    raise AssertionError(f"the server at {url} outlived zoo serve")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "No such folder: nowhere"),
        ([os.devnull], "No such folder"),
        (["s3://models/m"], "s3://models/m is a URL. The engines serve folders of this machine"),
        (["nowhere", "--engine", "podman"], "podman"),
        (["nowhere", "--rest-port", "99999"], "99999"),
        ([], "Give a base path, or a model_config_file"),
        (["nowhere", "--port=x"], "The flag port is a number. Received: 'x'"),
        (["nowhere", "--model_base_path=/models/m"], "Give one base path. Received: nowhere and /models/m"),
        (["nowhere", "--rest_api_port"], "--rest_api_port needs a value"),
        (["--model_config_file=nowhere"], "model_config_file names a file, and there is none"),
        (["nowhere", "--tls-key", __file__], "--tls-certificate and --tls-key go together"),
        (["nowhere", "--tls-key", __file__, "--tls-certificate", __file__], "is no PEM file"),
        (["nowhere", "--flag", "enable_batching"], "A flag is written NAME=VALUE. Received: 'enable_batching'"),
    ],
)
def test_serve_refuses_before_it_starts(arguments, words):
    code, _, err = run(serve, *arguments)
    assert code == 2
    assert words in err


def test_equal_ports_are_refused(base_path):
    code, _, err = run(serve, base_path, "--rest-port", "8500")
    assert code == 2
    assert "two ports" in err


def test_serve_says_the_last_words_of_a_server_that_dies(base_path, on_path):
    on_path("tensorflow_model_server", "import sys; print(sys.argv, 'Error: NO MODEL'); raise SystemExit(255)")
    ports = ["--rest-port", "0", "--grpc-port", "0"]
    code, _, err = run(serve, base_path, "--engine", "binary", *ports, "--flag", "--enable_batching=true")
    assert code == 1
    assert "Error: NO MODEL" in err
    assert "'--enable_batching=true'" in err


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ({"x": serving.TensorSpec("float32", (None, 2))}, '{"x": [[0.0, 0.0]]}'),
        ({"i": serving.TensorSpec("int64", (None,)), "b": serving.TensorSpec("bool", ())}, '{"i": [0], "b": false}'),
        ({"text": serving.TensorSpec("string", (None,))}, '{"text": ["some text"]}'),
    ],
)
def test_the_curl_line_fits_the_signature(inputs, body):
    metadata = serving.ModelMetadata("m", 1, {"serving_default": serving.Signature(inputs, {})})
    line = curl_line("http://h:1", metadata)
    assert (
        line
        == f"""curl http://h:1/v1/models/m:predict -d '{{"signature_name": "serving_default", "inputs": {body}}}'"""
    )


def test_an_input_too_large_for_a_line_gets_the_metadata_instead():
    signature = serving.Signature({"x": serving.TensorSpec("float32", (None, 224, 224, 3))}, {})
    assert (
        curl_line("http://h:1", serving.ModelMetadata("m", 1, {"s": signature}))
        == "curl http://h:1/v1/models/m/metadata"
    )


@pytest.mark.parametrize("command", [serve, query])
def test_help_has_an_example(command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "Example:" in out
    assert f"zoo {command.name} " in out


def test_the_commands_modules_import_only_click():
    script = (
        "import sys, serving.commands, serving.query_commands; "
        "print(*{'numpy', 'grpc', 'urllib3', 'rich', 'tensorflow'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == ""
