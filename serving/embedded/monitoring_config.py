"""``--monitoring_config_file``: MonitoringConfig in protobuf's text format (config/monitoring_config.proto)."""

from pathlib import Path

from google.protobuf import text_format

from serving.embedded.status import invalid_argument, not_found
from serving.protos import serving_pb2 as pb

DEFAULT_PATH = "/monitoring/prometheus/metrics"


def metrics_path(path: str | Path) -> str | None:
    """Where Prometheus scrapes; None when the file turns it off. NOT_FOUND and INVALID_ARGUMENT name the file."""
    try:
        config = text_format.Parse(Path(path).read_text("utf-8"), pb.MonitoringConfig())
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise invalid_argument(f"Invalid protobuf file: '{path}': {error}") from None
    prometheus = config.prometheus_config
    return (prometheus.path or DEFAULT_PATH) if prometheus.enable else None
