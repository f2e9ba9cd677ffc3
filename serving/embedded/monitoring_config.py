"""``--monitoring_config_file``: MonitoringConfig in protobuf's text format (config/monitoring_config.proto)."""

from pathlib import Path

from serving.embedded import proto_file
from serving.protos import serving_pb2 as pb

DEFAULT_PATH = "/monitoring/prometheus/metrics"


def metrics_path(path: str | Path) -> str | None:
    """Where Prometheus scrapes; None when the file turns it off. NOT_FOUND and INVALID_ARGUMENT name the file."""
    prometheus = proto_file.read(path, pb.MonitoringConfig()).prometheus_config
    return (prometheus.path or DEFAULT_PATH) if prometheus.enable else None
