"""The command line: TF Serving's flag names, and a few of our own. Needs nothing but the standard library."""

import argparse
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from serving import tf_serving_flags

log = logging.getLogger(__name__)

_WITHOUT_EFFECT = (
    *("flush_filesystem_caches", "num_unload_threads", "remove_unused_fields_from_bundle_metagraph"),
    *("num_tflite_pools", "num_tflite_interpreters_per_pool", "skip_initialize_tpu"),
    *("xla_cpu_compilation_enabled", "xla_gpu_compilation_enabled", "enable_profiler"),
)
"""Flags that change how TensorFlow Serving works, but not what it answers. There is no profiler to be turned on."""

_REFUSED = (
    *("use_alts_credentials", "platform_config_file", "thread_pool_factory_config_file"),
    *("mixed_precision", "prefer_tflite_model"),
)
"""Flags without which a server would answer otherwise, or to others, than it was told."""


@dataclass(frozen=True)
class Options:
    """What the server is asked to do; the names are the flags."""

    port: int
    rest_api_port: int
    host: str
    grpc_socket_path: str
    ssl_config_file: str
    grpc_channel_arguments: str
    enable_grpc_healthcheck_service: bool
    model_name: str
    model_base_path: str
    model_config_file: str
    model_config_file_poll_wait_seconds: float
    require_signature: str
    file_system_poll_wait_seconds: float
    allow_version_labels_for_unavailable_models: bool
    max_num_load_retries: int
    load_retry_interval_micros: int
    num_load_threads: int
    saved_model_tags: str
    enable_model_warmup: bool
    num_request_iterations_for_warmup: int
    enable_signature_method_name_check: bool
    tensorflow_session_config_file: str
    per_process_gpu_memory_fraction: float
    tensorflow_session_parallelism: int
    tensorflow_intra_op_parallelism: int
    tensorflow_inter_op_parallelism: int
    grpc_max_threads: int
    rest_api_num_threads: int
    rest_api_enable_cors_support: bool
    enable_batching: bool
    batching_parameters_file: str
    enable_per_model_batching_parameters: bool
    enable_serialization_as_tensor_content: bool
    monitoring_config_file: str
    rest_api_timeout_in_ms: int
    max_request_bytes: int
    max_connections: int
    connection_idle_seconds: float
    request_head_seconds: float
    min_body_bytes_per_second: int


def boolean(text: str) -> bool:
    """``true`` or ``false`` in any of the usual spellings."""
    if text.lower() in tf_serving_flags.TRUE:
        return True
    if text.lower() in tf_serving_flags.FALSE:
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, received {text!r}")


def parse(arguments: Sequence[str]) -> Options:
    """The options in ``arguments``. Ends the process with code 2 and a line that says why where they are wrong."""
    parser = _parser()
    known, unknown = parser.parse_known_args(tf_serving_flags.underscored(arguments))
    if unknown:
        parser.error(_unknown_flag(unknown[0], parser))
    if not known.model_base_path and not known.model_config_file:
        parser.error("one of --model_base_path and --model_config_file is needed")
    if not known.port and not known.grpc_socket_path:
        parser.error("at least one of --port and --grpc_socket_path must be set")
    if known.port and known.port == known.rest_api_port:
        parser.error(f"REST and gRPC need two ports, received {known.port} for both")
    try:
        channel_arguments(known.grpc_channel_arguments)
    except ValueError as error:
        parser.error(str(error))
    _check_foreign({name: text for name, text in vars(known).items() if isinstance(text, str)}, parser)
    return Options(**{field.name: getattr(known, field.name) for field in fields(Options)})


def channel_arguments(text: str) -> list[tuple[str, str | int]]:
    """``--grpc_channel_arguments``: ``name=value,…``, numbers as such. ValueError for one without a value."""
    arguments = []
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise ValueError(f"--grpc_channel_arguments are NAME=VALUE, by commas. Received: {part!r}")
        arguments.append((name, int(value) if re.fullmatch(r"-?\d+", value) else value))
    return arguments


def _unknown_flag(argument: str, parser: argparse.ArgumentParser) -> str:
    name = argument.split("=", 1)[0]
    accepted = [option for action in parser._actions for option in action.option_strings]
    return f"unknown flag {name}" + (tf_serving_flags.nearest(name, accepted) or "; see --help")


def _check_foreign(values: Mapping[str, str], parser: argparse.ArgumentParser) -> None:
    """Says which flags of TensorFlow Serving are not heeded, and ends at those that must not be passed over."""
    for name in _REFUSED:
        if values.get(name, "").lower() not in ("", *tf_serving_flags.FALSE):
            parser.error(f"--{name}={values[name]}: the embedded server has no such thing; TensorFlow Serving does")
    for name in _WITHOUT_EFFECT:
        if name in values:
            log.info("--%s=%s has no effect on the embedded server", name, values[name])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.embedded",
        description="A model server that answers as TensorFlow Serving does, over REST and gRPC.",
        epilog="example: python -m serving.embedded --model_name=lenet5 --model_base_path=/srv/lenet5 "
        "--rest_api_port=8501",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_addresses(parser.add_argument_group("addresses"))
    _add_models(parser.add_argument_group("models"))
    _add_loading(parser.add_argument_group("loading"))
    _add_execution(parser.add_argument_group("execution"))
    _add_limits(parser.add_argument_group("limits"))
    _add_batching(parser.add_argument_group("batching"))
    _add_foreign(parser.add_argument_group("flags of TensorFlow Serving without a meaning here"))
    return parser


def _add_addresses(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--port", type=int, default=8500, help="port of gRPC; 0 for none, with --grpc_socket_path")
    group.add_argument("--rest_api_port", type=int, default=0, help="port of REST; 0 for none")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on")
    group.add_argument("--grpc_socket_path", default="", help="Unix socket of gRPC")
    group.add_argument("--ssl_config_file", default="", help="text file with certificates: gRPC over TLS")
    group.add_argument("--grpc_channel_arguments", default="", help="NAME=VALUE,… of gRPC's server")
    _add_switch(group, "--enable_grpc_healthcheck_service", False, "answer grpc.health.v1, always with SERVING")
    _add_switch(group, "--rest_api_enable_cors_support", False, "let web pages of any origin ask")


def _add_models(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model_name", default="default", help="name of the one model")
    group.add_argument("--model_base_path", default="", help="folder with the one model's version folders")
    group.add_argument("--model_config_file", default="", help="text file that lists models, in place of the one")
    group.add_argument(
        "--model_config_file_poll_wait_seconds", type=float, default=0, help="read the list again so often; 0: never"
    )
    group.add_argument(
        "--file_system_poll_wait_seconds",
        type=float,
        default=1,
        help="look for versions so often; 0: only at the start",
    )
    group.add_argument(
        "--require_signature", default="", help="PEM file of public keys: load only versions that one of them signed"
    )
    _add_switch(
        group,
        "--allow_version_labels_for_unavailable_models",
        False,
        "accept a new label on a version that is not loaded yet",
    )
    group.add_argument("--monitoring_config_file", default="", help="text file that turns Prometheus metrics on")


def _add_loading(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--max_num_load_retries", type=int, default=0, help="further attempts to load a version")
    group.add_argument("--load_retry_interval_micros", type=int, default=60_000_000, help="pause between attempts")
    group.add_argument("--num_load_threads", type=int, default=0, help="versions loaded at a time; 0: two")
    group.add_argument("--saved_model_tags", default="serve", help="tags of the graph to load, by commas")
    _add_switch(group, "--enable_model_warmup", True, "run a version's warm-up requests before it answers")
    group.add_argument("--num_request_iterations_for_warmup", type=int, default=1, help="runs of each warm-up request")


def _add_execution(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--tensorflow_session_config_file", default="", help="text file with a ConfigProto")
    group.add_argument("--per_process_gpu_memory_fraction", type=float, default=0, help="0: as TensorFlow likes")
    for name, what in (
        ("session", "both of the following"),
        ("intra_op", "threads within an op"),
        ("inter_op", "ops run at a time"),
    ):
        group.add_argument(f"--tensorflow_{name}_parallelism", type=int, default=0, help=f"{what}; 0: as many as cores")
    many = "0: four for each core, with batching 256"
    group.add_argument("--grpc_max_threads", type=int, default=0, help=f"gRPC calls answered at a time; {many}")
    group.add_argument("--rest_api_num_threads", type=int, default=0, help=f"REST calls answered at a time; {many}")
    _add_switch(
        group,
        "--enable_signature_method_name_check",
        False,
        "classify and regress only where a signature says that it is for that",
    )
    _add_switch(group, "--enable_serialization_as_tensor_content", False, "answer predict over gRPC in tensor_content")


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--rest_api_timeout_in_ms", type=int, default=30_000, help="longest wait for an answer over REST; 0: no end"
    )
    group.add_argument(
        "--max_request_bytes", type=int, default=1 << 27, help="largest body over REST and message over gRPC"
    )
    group.add_argument(
        "--max_connections", type=int, default=4096, help="connections held at a time, over REST and over gRPC each"
    )
    group.add_argument(
        "--connection_idle_seconds", type=float, default=300, help="a connection without a request is closed after it"
    )
    group.add_argument(
        "--request_head_seconds", type=float, default=20, help="longest time for the head of a request to come"
    )
    group.add_argument(
        "--min_body_bytes_per_second", type=int, default=500, help="a body that comes more slowly is refused"
    )


def _add_batching(group: argparse._ArgumentGroup) -> None:
    _add_switch(group, "--enable_batching", False, "compute requests that come at the same time together")
    group.add_argument("--batching_parameters_file", default="", help="text file that says how: BatchingParameters")
    _add_switch(
        group,
        "--enable_per_model_batching_parameters",
        False,
        "batch those versions that have a batching_params.pbtxt, as it says",
    )


def _add_foreign(group: argparse._ArgumentGroup) -> None:
    for name in (*_WITHOUT_EFFECT, *_REFUSED):
        is_switch = tf_serving_flags.FLAGS[name] is bool
        how = {"nargs": "?", "const": "true", "metavar": "true|false"} if is_switch else {}
        text = "no effect" if name in _WITHOUT_EFFECT else "refused"
        group.add_argument(f"--{name}", default=argparse.SUPPRESS, help=text, **how)


def _add_switch(group: argparse._ArgumentGroup, name: str, default: bool, text: str) -> None:
    group.add_argument(name, type=boolean, nargs="?", const=True, default=default, metavar="true|false", help=text)
