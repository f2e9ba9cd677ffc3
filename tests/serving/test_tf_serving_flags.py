"""A Compose file for TensorFlow Serving must start ours: its flags, in every spelling, mean what they mean there."""

import pytest

from serving.tf_serving_flags import as_options, placed

OURS = {"base_path": None, "name": None, "rest_port": 8501, "grpc_port": 8500}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["--port=8600"], ["--flag", "port=8600"]),
        (["--port", "8600", "served/m"], ["--flag", "port=8600", "served/m"]),
        (["--rest-api-port=8601"], ["--flag", "rest_api_port=8601"]),
        (["--enable_batching=true"], ["--flag", "enable_batching=true"]),
        (["--enable_batching", "False", "served/m"], ["--flag", "enable_batching=False", "served/m"]),
        (["--enable-batching", "served/m"], ["--flag", "enable_batching=true", "served/m"]),
        (["--enable_batching"], ["--flag", "enable_batching=true"]),
        (["--model_base_path=/a=b"], ["--flag", "model_base_path=/a=b"]),
        (["--flag", "--port=1", "--rest-port", "2", "--json"], ["--flag", "--port=1", "--rest-port", "2", "--json"]),
        (["--", "--port=1"], ["--", "--port=1"]),
    ],
)
def test_a_flag_may_be_spelled_as_one_likes(written, read):
    assert as_options(written) == read


def test_a_flag_without_its_value_is_named():
    with pytest.raises(ValueError, match="--port needs a value"):
        as_options(["served/m", "--port"])


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        ({"port": "8600", "rest_api_port": "0"}, {"grpc_port": 8600, "rest_port": None}),
        ({"port": "0", "grpc_socket_path": "/s"}, {"grpc_port": None, "flags": {"grpc_socket_path": "/s"}}),
        ({"model_name": "m", "model_base_path": "/models/m"}, {"name": "m", "base_path": "/models/m"}),
        ({"model_config_file": "c", "model_name": "m", "model_base_path": "/m"}, {"flags": {"model_config_file": "c"}}),
        ({"monitoring_config_file": ""}, {}),
    ],
)
def test_what_has_an_option_of_ours_is_taken_for_it(flags, changed):
    assert placed(flags, OURS, {}) == {**OURS, "flags": {}, **changed}


def test_the_images_environment_says_what_is_served_where_nothing_else_does():
    assert placed({}, OURS, {"MODEL_NAME": "m"}) == {**OURS, "name": "m", "base_path": "/models/m", "flags": {}}
    environment = {"MODEL_NAME": "m", "MODEL_BASE_PATH": "/data"}
    assert placed({}, OURS, environment)["base_path"] == "/data/m"
    assert placed({}, {**OURS, "base_path": "served/x"}, environment)["base_path"] == "served/x"


def test_a_base_path_is_given_once():
    with pytest.raises(ValueError, match=r"one base path\. Received: served/m and /models/m"):
        placed({"model_base_path": "/models/m"}, {**OURS, "base_path": "served/m"}, {})
