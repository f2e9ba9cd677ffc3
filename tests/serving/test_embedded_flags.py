"""A Compose file written for TF Serving must start this server, and a slip in it must be named."""

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving import tf_serving_flags
from serving.embedded import flags


def test_defaults_are_tf_servings():
    options = flags.parse(["--model_base_path=/m"])
    assert (options.port, options.rest_api_port, options.model_name) == (8500, 0, "default")
    assert options.enable_model_warmup is True
    assert options.host == "127.0.0.1"


@pytest.mark.parametrize(
    "spelling",
    [
        ["--enable_model_warmup=false"],
        ["--enable_model_warmup", "false"],
        ["--enable_model_warmup=False"],
        ["--enable-model-warmup=0"],
    ],
)
def test_switches_are_spelled_as_one_likes(spelling):
    assert flags.parse(["--model_base_path=/m", *spelling]).enable_model_warmup is False


def test_a_bare_switch_is_on():
    options = flags.parse(["--allow_version_labels_for_unavailable_models", "--model_base_path", "/m"])
    assert options.allow_version_labels_for_unavailable_models is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model_base_pth=/m"], "unknown flag --model_base_pth; did you mean --model_base_path?"),
        (["--port=abc", "--model_base_path=/m"], "argument --port: invalid int value: 'abc'"),
        (["--enable_model_warmup=maybe", "--model_base_path=/m"], "expected true or false, received 'maybe'"),
        (["--port=8500"], "one of --model_base_path and --model_config_file is needed"),
        (["--model_base_path=/m", "--port=0"], "at least one of --port and --grpc_socket_path must be set"),
        (["--model_base_path=/m", "--port=8501", "--rest_api_port=8501"], "REST and gRPC need two ports"),
        (["--model_base_path=/m", "--prefer_tflite_model"], "--prefer_tflite_model=true: the embedded server has no"),
        (["--model_base_path=/m", "--mixed_precision=bfloat16"], "--mixed_precision=bfloat16"),
        (["--model_base_path=/m", "--grpc_channel_arguments=x"], "NAME=VALUE, by commas. Received: 'x'"),
    ],
)
def test_a_wrong_flag_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        flags.parse(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_every_flag_of_tf_serving_is_known():
    values = {bool: "false", int: "3", float: "0.5", str: "", Path: ""}
    arguments = [f"--{name}={values[kind]}" for name, kind in tf_serving_flags.FLAGS.items()]
    options = flags.parse([*arguments, "--port=1", "--rest_api_port=2", "--model_base_path=/m"])
    assert (options.port, options.num_load_threads, options.per_process_gpu_memory_fraction) == (1, 3, 0.5)


def test_a_flag_that_changes_no_answer_is_passed_over_and_said_so(caplog):
    with caplog.at_level(logging.INFO):
        flags.parse(["--model_base_path=/m", "--enable_profiler=false", "--use_alts_credentials=false"])
    assert [record.getMessage() for record in caplog.records] == [
        "--enable_profiler=false has no effect on the embedded server"
    ]


def test_channel_arguments_are_names_with_numbers_or_words():
    assert flags.channel_arguments("grpc.max_connection_age_ms=2000,grpc.user=me,") == [
        ("grpc.max_connection_age_ms", 2000),
        ("grpc.user", "me"),
    ]


def test_a_wrong_flag_does_not_wait_for_tensorflow():
    code = "import sys; from serving.embedded.__main__ import main\ntry: main(['--x'])\nfinally: print(*sys.modules)"
    start = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "tensorflow" not in result.stdout.split()
    assert time.monotonic() - start < 10
