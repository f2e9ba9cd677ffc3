"""Which engine is chosen, what its failures say, and that the real ones answer."""

import json
import logging
import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import serving
from serving.docker import IMAGE
from serving.engines import ENGINES

STUB = Path(__file__).with_name("stub_server.py")
AS_BINARY = f"import os, sys; os.execv({sys.executable!r}, ['python', {str(STUB)!r}, *sys.argv[1:]])"

# Writes down each call; `docker run` becomes the server that the mount, the ports and the flags describe.
DOCKER = f"""
import json, os, sys
arguments = sys.argv[1:]
with open(os.environ["DOCKER_CALLS"], "a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
mode = os.environ.get("DOCKER_MODE", "")
if mode == "no-engine":
    print("Client:")
    sys.exit("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
if arguments[0] == "image":
    sys.exit("Error: No such image" if mode else 0)
if arguments[0] == "pull" and mode == "no-image":
    sys.exit("Error response from daemon: Get https://registry-1.docker.io/v2/: no route to host")
if arguments[0] == "run":
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    ports = dict(reversed(a.split("127.0.0.1:")[1].split(":")) for a in arguments if a.startswith("--publish="))
    flags = ["--rest_api_port=" + ports["8501"], "--port=" + ports["8500"], "--model_name=" + options["--model_name"]]
    os.execv({sys.executable!r}, ["python", {str(STUB)!r}, *flags])
"""


@pytest.fixture
def docker(on_path, tmp_path, monkeypatch):
    """A fake docker; gives the list of its calls so far."""
    calls = tmp_path / "docker-calls"
    monkeypatch.setenv("DOCKER_CALLS", str(calls))
    on_path("docker", DOCKER)
    return lambda: [json.loads(line) for line in calls.read_text().splitlines()]


def test_docker_comes_first_and_is_removed_by_name(docker, on_path, base_path):
    on_path("tensorflow_model_server", AS_BINARY)
    with serving.serve(base_path) as server:
        assert (server.engine, server.name) == ("docker", "m")
        assert urllib.request.urlopen(f"{server.rest_url}/v1/models/m/metadata").status == 200
    run = next(call for call in docker() if call[0] == "run")
    container = next(argument.removeprefix("--name=") for argument in run if argument.startswith("--name="))
    assert IMAGE in run
    assert f"--mount=type=bind,source={base_path},target=/models/m,readonly" in run
    user = next(argument for argument in run if argument.startswith("--user="))
    assert not user.startswith("--user=0:")
    assert docker()[-1] == ["rm", "--force", container]


def test_flags_reach_the_server_and_files_the_container(docker, on_path, base_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batching.pbtxt").write_text("max_batch_size { value: 8 }")
    flags = {"enable_batching": True, "batching_parameters_file": "batching.pbtxt"}
    serving.serve(base_path, flags=flags).stop()
    run = next(call for call in docker() if call[0] == "run")
    inside = "/etc/serving/batching_parameters_file"
    assert f"--mount=type=bind,source={tmp_path / 'batching.pbtxt'},target={inside},readonly" in run
    assert run[-2:] == ["--enable_batching=true", f"--batching_parameters_file={inside}"]
    on_path("tensorflow_model_server", AS_BINARY)
    with serving.serve(base_path, engine="binary", flags=flags) as server:
        assert f"'--batching_parameters_file={tmp_path / 'batching.pbtxt'}'" in server.logs()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"--enable_batching": True}, "without dashes. Received: '--enable_batching'"),
        ({"rest_api_port": 80}, "The flag rest_api_port cannot be chosen"),
        ({"batching_parameters_file": "nowhere"}, "The flag batching_parameters_file names a file, and there is none"),
        ({"batching_parameters_file": __file__}, "goes with enable_batching"),
        ({"enable_batchin": True}, "no flag of TensorFlow Serving, .*; did you mean enable_batching?"),
        ({"enable_batching": "maybe"}, "The flag enable_batching is true or false. Received: 'maybe'"),
        ({"num_load_threads": "two"}, "The flag num_load_threads is a number. Received: 'two'"),
        ({"grpc_socket_path": "/nowhere/s"}, "No such folder: /nowhere"),
        ({"grpc_socket_path": __file__}, "is there already, and is no socket"),
        ({"grpc_socket_path": "/tmp/" + 108 * "s"}, "at most 107 bytes"),
        ({"monitoring_config_file": __file__}, "The monitoring_config_file is wrong: Invalid protobuf file"),
        ({"model_config_file": __file__}, "give no other"),
    ],
)
def test_flags_that_cannot_be_given_are_refused(base_path, flags, words):
    with pytest.raises(ValueError, match=words):
        serving.serve(base_path, flags=flags)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("no-engine", "no docker: a docker client with no engine behind it (Cannot connect to the Docker daemon"),
        ("no-image", f"no docker: the image {IMAGE} cannot be had (Error response from daemon"),
    ],
)
def test_a_docker_that_cannot_run_the_image_counts_as_none(
    docker, on_path, base_path, monkeypatch, caplog, mode, words
):
    monkeypatch.setenv("DOCKER_MODE", mode)
    on_path("tensorflow_model_server", AS_BINARY)
    with caplog.at_level(logging.INFO, "serving"), serving.serve(base_path) as server:
        assert server.engine == "binary"
    line = next(record.getMessage() for record in caplog.records if "no docker" in record.getMessage())
    assert line.startswith(words)
    assert "\n" not in line


def test_an_image_that_is_not_there_is_pulled(docker, base_path, monkeypatch):
    monkeypatch.setenv("DOCKER_MODE", "pullable")
    with serving.serve(base_path) as server:
        assert server.engine == "docker"
    assert ["pull", "--quiet", IMAGE] in docker()


def test_an_engine_that_was_asked_for_and_is_not_there_is_an_error(docker, base_path, monkeypatch):
    monkeypatch.setenv("DOCKER_MODE", "no-engine")
    with pytest.raises(serving.EngineError) as error:
        serving.serve(base_path, engine="docker")
    assert "'docker' cannot be used here: a docker client with no engine" in str(error.value)
    with pytest.raises(serving.EngineError) as error:
        serving.serve(base_path, engine="binary")
    assert "no tensorflow_model_server on the PATH" in str(error.value)


def test_without_docker_and_binary_the_embedded_server_is_chosen(on_path):
    from serving.engines import choose_engine

    assert choose_engine("auto") is ENGINES["embedded"]


def test_a_server_that_dies_at_the_start_leaves_its_last_words(on_path, base_path, monkeypatch):
    monkeypatch.setenv("STUB", "dies")
    on_path("tensorflow_model_server", AS_BINARY)
    with pytest.raises(serving.EngineError) as error:
        serving.serve(base_path, engine="binary", timeout=20)
    assert "the binary server ended with exit code 255" in str(error.value)
    assert "1 servable(s) did not become available" in str(error.value)


def test_a_server_that_dies_later_says_why(on_path, base_path):
    on_path("tensorflow_model_server", AS_BINARY)
    with serving.serve(base_path, engine="binary", timeout=20) as server:
        assert server.running
        assert server.exit_reason is None
        os.kill(int(server.logs().split()[2]), signal.SIGKILL)
        assert server.wait(10)
        assert server.exit_code == 128 + signal.SIGKILL
        assert server.exit_reason.startswith("the binary server was ended by signal 9\nIts last lines:\n  stub process")


def test_a_port_that_somebody_took_meanwhile_is_chosen_anew(on_path, base_path, tmp_path, monkeypatch):
    monkeypatch.setenv("STUB", "taken-once")
    monkeypatch.setenv("STUB_MEMORY", str(tmp_path / "memory"))
    on_path("tensorflow_model_server", AS_BINARY)
    with serving.serve(base_path, engine="binary", timeout=20) as server:
        assert "taken" not in server.logs()
        assert server.running


def test_a_chosen_port_that_is_taken_is_named_before_a_start(on_path, base_path):
    on_path("tensorflow_model_server", AS_BINARY)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(serving.EngineError) as error:
            serving.serve(base_path, engine="binary", rest_port=port)
    assert f"127.0.0.1:{port}: Address already in use" in str(error.value)


def test_a_server_that_ignores_sigterm_is_ended_all_the_same(on_path, base_path, monkeypatch):
    monkeypatch.setenv("STUB", "deaf")
    on_path("tensorflow_model_server", AS_BINARY)
    server = serving.serve(base_path, engine="binary", timeout=20, grace=0.1)
    server.stop()
    assert not server.running
    assert server.exit_reason == "stopped"
    server.stop()


def test_each_line_of_the_log_reaches_the_caller(on_path, base_path):
    on_path("tensorflow_model_server", AS_BINARY)
    lines = []
    with serving.serve(base_path, engine="binary", timeout=20, log=lines.append) as server:
        pass
    assert lines[0].startswith("stub process")
    assert "--enable_profiler=false" in lines[0]
    assert server.logs() == "\n".join(lines)


# --- the real engines ----------------------------------------------------------------------------------------------


def test_every_engine_here_answers_over_both_transports(server):
    for target in (server.rest_url, server.grpc_address):
        with serving.Client(target) as client:
            answer = client.predict(server.name, [[1.0, 2.0, 3.0]])
        np.testing.assert_allclose(answer["y"], [[14.1, -0.95]], rtol=1e-5)


def test_a_real_server_behind_the_binarys_name_answers_and_ends_on_sigterm(on_path, models):
    """The whole road of the binary, with the embedded server standing in for it."""
    on_path(
        "tensorflow_model_server",
        "import os, sys\n"
        "flags = [flag for flag in sys.argv[1:] if not flag.startswith('--enable_profiler')]\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'serving.embedded', *flags])",
    )
    with serving.serve(models / "tiny", name="renamed", engine="binary") as server:
        with serving.Client(server.grpc_address) as client:
            assert client.predict("renamed", [[0.0, 0.0, 0.0]])["y"].shape == (1, 2)
        server.stop()
    assert server.exit_reason == "stopped"
    assert server._process.exit_code in (0, 128 + signal.SIGTERM)


def test_a_model_that_cannot_be_loaded_is_an_error_with_the_servers_words(base_path):
    (base_path / "1" / "saved_model.pb").write_bytes(b"no SavedModel at all")
    with pytest.raises(serving.ServingError) as error:
        serving.serve(base_path, engine="embedded", timeout=60)
    assert isinstance(error.value, (serving.EngineError, serving.ModelFailed))
