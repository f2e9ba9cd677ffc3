"""The command lines, to the letter: what is wrong here starts a server that listens elsewhere, or not at all."""

from pathlib import Path

import pytest

import serving
from serving.base_path import check_base_path
from serving.docker import docker_command
from serving.launching import Options, binary_command, embedded_command

OPTIONS = Options("lenet5", Path("/data/served/lenet5"), "127.0.0.1", 8601, 8600)


def test_the_binary_gets_tensorflow_servings_flags():
    assert binary_command(OPTIONS) == [
        "tensorflow_model_server",
        "--port=8600",
        "--rest_api_port=8601",
        "--model_name=lenet5",
        "--model_base_path=/data/served/lenet5",
        "--enable_profiler=false",
    ]


def test_docker_runs_a_pinned_image_with_no_rights_on_loopback():
    assert docker_command(OPTIONS, "zoo-1", "1000:1000") == [
        "docker",
        "run",
        "--rm",
        "--init",
        "--pull=never",
        "--name=zoo-1",
        "--user=1000:1000",
        "--read-only",
        "--tmpfs=/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--publish=127.0.0.1:8601:8501",
        "--publish=127.0.0.1:8600:8500",
        "--mount=type=bind,source=/data/served/lenet5,target=/models/lenet5,readonly",
        "--entrypoint=tensorflow_model_server",
        "tensorflow/serving:2.20.0",
        "--port=8500",
        "--rest_api_port=8501",
        "--model_name=lenet5",
        "--model_base_path=/models/lenet5",
        "--enable_profiler=false",
    ]


def test_a_comma_in_the_path_does_not_end_the_mount():
    options = Options("m", Path("/data/a,b/m"))
    assert '--mount=type=bind,"source=/data/a,b/m",target=/models/m,readonly' in docker_command(options, "c", "1:1")


def test_the_embedded_server_gets_the_same_flags_and_the_host():
    assert embedded_command(OPTIONS, "python3") == [
        "python3",
        "-m",
        "serving.embedded",
        "--host=127.0.0.1",
        "--port=8600",
        "--rest_api_port=8601",
        "--model_name=lenet5",
        "--model_base_path=/data/served/lenet5",
    ]


SEVERAL = Options(
    None,
    None,
    "127.0.0.1",
    None,
    8600,
    {
        "model_config_file": "/data/models.config",
        "model_config_file_poll_wait_seconds": 5,
        "ssl_config_file": "/data/secret/ssl.pbtxt",
        "grpc_socket_path": "/data/sockets/zoo.sock",
        "enable_batching": True,
    },
    {"a": Path("/data/served/a"), "b": Path("/data/served/b")},
)


def test_a_list_of_models_a_socket_and_certificates_are_flags_of_every_engine():
    flags = [
        "--model_config_file=/data/models.config",
        "--model_config_file_poll_wait_seconds=5",
        "--ssl_config_file=/data/secret/ssl.pbtxt",
        "--grpc_socket_path=/data/sockets/zoo.sock",
        "--enable_batching=true",
    ]
    ports = ["--port=8600", "--rest_api_port=0"]
    assert binary_command(SEVERAL) == ["tensorflow_model_server", *ports, "--enable_profiler=false", *flags]
    embedded = ["python3", "-m", "serving.embedded", "--host=127.0.0.1", *ports, *flags]
    assert embedded_command(SEVERAL, "python3") == embedded


def test_a_container_sees_what_its_flags_name_and_a_list_that_may_be_replaced():
    command = docker_command(SEVERAL, "zoo-1", "1000:1000")
    assert command[command.index("--publish=127.0.0.1:8600:8500") :] == [
        "--publish=127.0.0.1:8600:8500",
        "--mount=type=bind,source=/data/served/a,target=/data/served/a,readonly",
        "--mount=type=bind,source=/data/served/b,target=/data/served/b,readonly",
        "--mount=type=bind,source=/data,target=/etc/serving/model_config_file,readonly",
        "--mount=type=bind,source=/data/secret/ssl.pbtxt,target=/etc/serving/ssl_config_file,readonly",
        "--mount=type=bind,source=/data/sockets,target=/run/serving",
        "--entrypoint=tensorflow_model_server",
        "tensorflow/serving:2.20.0",
        "--port=8500",
        "--rest_api_port=0",
        "--enable_profiler=false",
        "--model_config_file=/etc/serving/model_config_file/models.config",
        "--model_config_file_poll_wait_seconds=5",
        "--ssl_config_file=/etc/serving/ssl_config_file",
        "--grpc_socket_path=/run/serving/zoo.sock",
        "--enable_batching=true",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a/b"}, "Received: 'a/b'"),
        ({"name": ""}, "Received: ''"),
        ({"name": "--flag"}, "Received: '--flag'"),
        ({"name": "a:predict"}, "Received: 'a:predict'"),
        ({"base_path": Path("served/lenet5")}, "absolute"),
        ({"host": "example.org"}, "Received: 'example.org'"),
        ({"rest_port": 70000}, "70000"),
        ({"grpc_port": -1}, "-1"),
        ({"rest_port": 8600, "grpc_port": 8600}, "two ports"),
        ({"grpc_port": None}, "no grpc_socket_path"),
    ],
)
def test_values_that_a_server_would_choke_on_are_refused(change, words):
    values = {"name": "m", "base_path": Path("/data/m"), "rest_port": 8501, "grpc_port": 8500} | change
    with pytest.raises(ValueError) as error:
        Options(**values)
    assert words in str(error.value)


def test_a_base_path_is_checked_before_anything_starts(tmp_path, base_path):
    assert check_base_path(base_path) == base_path.resolve()
    cases = {
        tmp_path / "nowhere": "No such folder",
        base_path.parent: "No version",  # the folder of base paths
        base_path / "1": "is a version, not a base path",
    }
    for path, words in cases.items():
        with pytest.raises(ValueError) as error:
            serving.serve(path)
        assert words in str(error.value)
        assert str(path) in str(error.value)


def test_a_half_written_newest_version_is_named(base_path):
    (base_path / "12").mkdir()
    with pytest.raises(ValueError) as error:
        serving.serve(base_path)
    assert "12 holds no SavedModel" in str(error.value)


def test_folders_that_are_no_numbers_are_no_versions(base_path):
    (base_path / "2.tmp").mkdir()
    (base_path / "-3").mkdir()
    (base_path / "99999999999999999999").mkdir()
    assert check_base_path(base_path) == base_path.resolve()


@pytest.mark.parametrize("arguments", [{"engine": "kubernetes"}, {"name": "a b"}, {"timeout": 0}, {"rest_port": 65536}])
def test_wrong_arguments_are_value_errors(base_path, arguments):
    with pytest.raises(ValueError) as error:
        serving.serve(base_path, **arguments)
    assert str(next(iter(arguments.values()))) in str(error.value)
