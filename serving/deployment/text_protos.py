"""The text files that TensorFlow Serving reads its configuration from, as pure functions.

The server checks little: some values end the process, others start it and fail every request. What would do either is
a ValueError here. Sources: tensorflow_serving/config/*.proto and servables/tensorflow/session_bundle_config.proto.
"""

import re
from collections.abc import Mapping

from google.protobuf import text_format

from serving.docker import MODELS
from serving.embedded.monitoring_config import DEFAULT_PATH
from serving.protos import serving_pb2 as pb
from serving.served_models import ServedModel, server_config

_BLOCK = "-----BEGIN {0}-----\n.*?-----END {0}-----"
_CERTIFICATE = re.compile(_BLOCK.format("CERTIFICATE"), re.DOTALL)
_KEY = re.compile(_BLOCK.format("(?:RSA |EC )?PRIVATE KEY"), re.DOTALL)


def model_config(labels: Mapping[str, Mapping[str, int]], root: str = MODELS) -> str:
    """``--model_config_file``: the models by name, each with its labels and the versions behind them, and no others.

    The base path of a model is its folder under ``root``. A version without a label is not loaded.
    """
    if not labels:
        raise ValueError("Give at least one model: a server with an empty list answers nothing")
    for name, versions in labels.items():
        if not versions:
            raise ValueError(
                f"The model {name!r} has no version: the server would wait for one for ever, with no port open"
            )
    models = {
        name: ServedModel(f"{root}/{name}", sorted(set(versions.values())), versions)
        for name, versions in labels.items()
    }
    return text_format.MessageToString(server_config(models))


def monitoring_config(path: str = DEFAULT_PATH) -> str:
    """``--monitoring_config_file``: metrics for Prometheus at ``path`` of the REST port."""
    if not re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", path) or path.startswith("/v1"):
        raise ValueError(f"A path of metrics is like {DEFAULT_PATH}, and none of the REST API's. Received: {path!r}")
    return text_format.MessageToString(
        pb.MonitoringConfig(prometheus_config=pb.PrometheusConfig(enable=True, path=path))
    )


def ssl_config(certificate: str, key: str, client_ca: str = "") -> str:
    """``--ssl_config_file``: TLS of the gRPC port. The file holds the private key.

    ``certificate`` (with what it is signed by), ``key`` and ``client_ca`` are the texts of PEM files. With
    the last only callers who have a certificate of that authority are heard.
    """
    for what, text, block in (
        ("certificate", certificate, _CERTIFICATE),
        ("key", key, _KEY),
        ("client_ca", client_ca, _CERTIFICATE),
    ):
        if not block.search(text) and (text or what != "client_ca"):
            raise ValueError(f"The {what} is no unencrypted PEM text. It begins with: {text.partition(chr(10))[0]!r}")
    return text_format.MessageToString(
        pb.SSLConfig(server_key=key, server_cert=certificate, custom_ca=client_ca, client_verify=bool(client_ca))
    )


def batching_config(
    max_batch_size: int, batch_timeout_micros: int, num_batch_threads: int, max_enqueued_batches: int = 100
) -> str:
    """``--batching_parameters_file``: rows of one batch, and how long the first of them waits for others.

    A request of more rows than ``max_batch_size`` is refused, and so is any while ``max_enqueued_batches`` wait.
    """
    least = {"max_batch_size": 1, "batch_timeout_micros": 0, "num_batch_threads": 1, "max_enqueued_batches": 1}
    values = {
        "max_batch_size": max_batch_size,
        "batch_timeout_micros": batch_timeout_micros,
        "num_batch_threads": num_batch_threads,
        "max_enqueued_batches": max_enqueued_batches,
    }
    for name, value in values.items():
        if not least[name] <= value < 2**31:  # zero rows or a negative time end the server
            raise ValueError(f"{name} is a whole number from {least[name]} on. Received: {value}")
    return text_format.MessageToString(
        pb.BatchingParameters(**{name: pb.Int64Value(value=value) for name, value in values.items()})
    )
