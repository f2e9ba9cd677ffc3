"""TensorFlow Serving's own flags: their names, what each takes, and how they may be spelled.

Source: tensorflow_serving/model_servers/main.cc. Needs nothing but the standard library.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

TRUE = frozenset({"true", "1", "yes", "t", "y"})
FALSE = frozenset({"false", "0", "no", "f", "n"})

Value = str | int | float | bool

FLAGS: Mapping[str, type] = {
    # addresses
    "port": int,
    "rest_api_port": int,
    "grpc_socket_path": str,
    "ssl_config_file": Path,
    "use_alts_credentials": bool,
    "grpc_channel_arguments": str,
    "grpc_max_threads": int,
    "enable_grpc_healthcheck_service": bool,
    "rest_api_num_threads": int,
    "rest_api_timeout_in_ms": int,
    "rest_api_enable_cors_support": bool,
    # models
    "model_name": str,
    "model_base_path": str,
    "model_config_file": Path,
    "model_config_file_poll_wait_seconds": int,
    "file_system_poll_wait_seconds": int,
    "allow_version_labels_for_unavailable_models": bool,
    "enable_signature_method_name_check": bool,
    "monitoring_config_file": Path,
    # loading
    "num_load_threads": int,
    "num_unload_threads": int,
    "max_num_load_retries": int,
    "load_retry_interval_micros": int,
    "saved_model_tags": str,
    "enable_model_warmup": bool,
    "num_request_iterations_for_warmup": int,
    "flush_filesystem_caches": bool,
    "remove_unused_fields_from_bundle_metagraph": bool,
    # execution
    "enable_batching": bool,
    "batching_parameters_file": Path,
    "enable_per_model_batching_parameters": bool,
    "tensorflow_session_parallelism": int,
    "tensorflow_intra_op_parallelism": int,
    "tensorflow_inter_op_parallelism": int,
    "tensorflow_session_config_file": Path,
    "platform_config_file": Path,
    "thread_pool_factory_config_file": Path,
    "per_process_gpu_memory_fraction": float,
    "mixed_precision": str,
    "prefer_tflite_model": bool,
    "num_tflite_pools": int,
    "num_tflite_interpreters_per_pool": int,
    "xla_cpu_compilation_enabled": bool,
    "xla_gpu_compilation_enabled": bool,
    "skip_initialize_tpu": bool,
    "enable_serialization_as_tensor_content": bool,
    "enable_profiler": bool,
}


def as_options(arguments: Sequence[str], option: str = "--flag") -> list[str]:
    """A command line in which each of TensorFlow Serving's flags stands as ``--flag NAME=VALUE``, the rest untouched.

    A flag has underscores or dashes, its value behind a ``=`` or in the next argument; a bare boolean is true.
    """
    options, left = [], list(arguments)
    while left:
        argument = left.pop(0)
        if argument == "--":
            return [*options, argument, *left]
        if argument == option:
            options += [argument, *left[:1]]
            del left[:1]
            continue
        name, equals, value = argument.partition("=")
        name = name.removeprefix("--").replace("-", "_")
        if not argument.startswith("--") or name not in FLAGS:
            options.append(argument)
            continue
        if not equals:
            value = _next_value(name, left)
        options += [option, f"{name}={value}"]
    return options


def _next_value(name: str, left: list[str]) -> str:
    if FLAGS[name] is not bool:
        if not left:
            raise ValueError(f"The flag --{name} needs a value")
        return left.pop(0)
    return left.pop(0) if left and left[0].lower() in TRUE | FALSE else "true"


def underscored(arguments: Iterable[str]) -> list[str]:
    """A command line in whose options underscores stand where dashes may."""
    parts = (argument.partition("=") for argument in arguments)
    return [
        ("--" + name[2:].replace("-", "_") if name.startswith("--") else name) + equals + value
        for name, equals, value in parts
    ]


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the flag that was meant, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""


def check_value(name: str, value: Value | Path) -> None:
    """ValueError for a value that TensorFlow Serving would end at, or that is no file where it reads one."""
    kind = FLAGS[name]
    if kind is bool and not isinstance(value, bool) and str(value).lower() not in TRUE | FALSE:
        raise ValueError(f"The flag {name} is true or false. Received: {value!r}")
    if kind in (int, float):
        try:
            kind(str(value))
        except ValueError:
            raise ValueError(f"The flag {name} is a number. Received: {value!r}") from None
    if kind is Path and not Path(value).is_file():
        raise ValueError(f"The flag {name} names a file, and there is none: {value}")


def placed(
    flags: Mapping[str, str], friendly: Mapping[str, object], environment: Mapping[str, str]
) -> dict[str, object]:
    """The arguments of ``serve`` that these flags mean: those that have an option of ours are taken for it.

    ``friendly`` are our options by name, which ``port``, ``rest_api_port``, ``model_name`` and ``model_base_path``
    stand in for. A port of 0 is none, as TensorFlow Serving has it. Where nothing says what is served, MODEL_NAME and
    MODEL_BASE_PATH do, as in TensorFlow Serving's image. ValueError for a base path that is given twice.
    """
    left = {name: value for name, value in flags.items() if value}
    options = dict(friendly)
    for flag, option in (("port", "grpc_port"), ("rest_api_port", "rest_port")):
        if flag in left:
            check_value(flag, left[flag])
            options[option] = int(left.pop(flag)) or None
    name, base_path = left.pop("model_name", None), left.pop("model_base_path", None)
    if "model_config_file" in left:  # then TensorFlow Serving looks at neither
        return {**options, "flags": left}
    if base_path and options["base_path"]:
        raise ValueError(f"Give one base path. Received: {options['base_path']} and {base_path}")
    if not base_path and not options["base_path"] and "MODEL_NAME" in environment:
        name = name or environment["MODEL_NAME"]
        base_path = f"{environment.get('MODEL_BASE_PATH', '/models')}/{environment['MODEL_NAME']}"
    options["base_path"] = options["base_path"] or base_path
    options["name"] = options["name"] or name
    return {**options, "flags": left}
