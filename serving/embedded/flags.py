"""The command line: TF Serving's flag names, and a few of our own. Needs nothing but the standard library."""

import argparse
import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields

_TRUE = {"true", "1", "yes", "t", "y"}
_FALSE = {"false", "0", "no", "f", "n"}


@dataclass(frozen=True)
class Options:
    """What the server is asked to do; the names are the flags."""

    port: int
    rest_api_port: int
    host: str
    grpc_socket_path: str
    model_name: str
    model_base_path: str
    model_config_file: str
    model_config_file_poll_wait_seconds: float
    file_system_poll_wait_seconds: float
    allow_version_labels_for_unavailable_models: bool
    max_num_load_retries: int
    load_retry_interval_micros: int
    num_load_threads: int
    saved_model_tags: str
    enable_model_warmup: bool
    num_request_iterations_for_warmup: int
    tensorflow_session_parallelism: int
    tensorflow_intra_op_parallelism: int
    tensorflow_inter_op_parallelism: int
    grpc_max_threads: int
    rest_api_num_threads: int
    rest_api_enable_cors_support: bool
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
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, received {text!r}")


def parse(arguments: Sequence[str]) -> Options:
    """The options in ``arguments``. Ends the process with code 2 and a line that says why where they are wrong."""
    parser = _parser()
    known, unknown = parser.parse_known_args(_joined(arguments))
    if unknown:
        parser.error(_unknown_flag(unknown[0], parser))
    if not known.model_base_path and not known.model_config_file:
        parser.error("one of --model_base_path and --model_config_file is needed")
    if not known.port and not known.grpc_socket_path:
        parser.error("at least one of --port and --grpc_socket_path must be set")
    return Options(**{field.name: getattr(known, field.name) for field in fields(Options)})


def _joined(arguments: Sequence[str]) -> list[str]:
    """Flags in TF Serving's spelling, with underscores, where dashes were used."""
    joined = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            name = "--" + name[2:].replace("-", "_")
        joined.append(name + equals + value)
    return joined


def _unknown_flag(argument: str, parser: argparse.ArgumentParser) -> str:
    name = argument.split("=", 1)[0]
    accepted = [option for action in parser._actions for option in action.option_strings]
    nearest = difflib.get_close_matches(name, accepted, n=1, cutoff=0.5)
    return f"unknown flag {name}" + (f"; did you mean {nearest[0]}?" if nearest else "; see --help")


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
    return parser


def _add_addresses(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--port", type=int, default=8500, help="port of gRPC; 0 for none, with --grpc_socket_path")
    group.add_argument("--rest_api_port", type=int, default=0, help="port of REST; 0 for none")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on")
    group.add_argument("--grpc_socket_path", default="", help="Unix socket of gRPC")
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
    cores = os.cpu_count() or 1
    for name, what in (
        ("session", "both of the following"),
        ("intra_op", "threads within an op"),
        ("inter_op", "ops run at a time"),
    ):
        group.add_argument(f"--tensorflow_{name}_parallelism", type=int, default=0, help=f"{what}; 0: as many as cores")
    group.add_argument("--grpc_max_threads", type=int, default=4 * cores, help="gRPC calls answered at a time")
    group.add_argument("--rest_api_num_threads", type=int, default=4 * cores, help="REST calls answered at a time")
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


def _add_switch(group: argparse._ArgumentGroup, name: str, default: bool, text: str) -> None:
    group.add_argument(name, type=boolean, nargs="?", const=True, default=default, metavar="true|false", help=text)
