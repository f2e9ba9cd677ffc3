"""One machine: TensorFlow Serving behind nginx under Docker Compose, and Prometheus with Grafana beside them.

The server is in a network without a way out; nginx alone listens, on loopback, and caps the size of a REST request.
"""

import os
from pathlib import Path

from serving.deployment import container, dashboard, monitoring, nginx, readme
from serving.deployment.plan import Plan
from serving.deployment.yaml_text import yaml_text
from serving.docker import IMAGE, MODELS
from serving.embedded.monitoring_config import DEFAULT_PATH
from serving.launching import GRPC_PORT, REST_PORT

NGINX = "nginx:1.28.2-alpine"
PROMETHEUS = "prom/prometheus:v3.5.0"
GRAFANA = "grafana/grafana:12.1.1"

_SCRAPE_SECONDS = 15
_LOADING_SECONDS = 600
_CONFINED = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "unless-stopped",
}


def files(plan: Plan, folder: Path, user: str, body_limit: int, slow: float) -> dict[str, str]:
    """The files of a folder that ``docker compose up`` runs.

    Args:
        plan: what is deployed.
        folder: where the files will lie; models are mounted by their path from there.
        user: ``UID:GID`` that may read the models.
        body_limit: of a REST request, in MiB.
        slow: seconds that one request in a hundred may take before an alert fires.
    """
    return {
        "compose.yaml": yaml_text(_compose(plan, folder, user)),
        **container.folder_files(plan),
        "nginx.conf": nginx.config(body_limit),
        "prometheus.yaml": yaml_text(_prometheus(plan)),
        "alerts.yaml": yaml_text({"groups": monitoring.alert_groups(plan.name, slow)}),
        "grafana-source.yaml": yaml_text(_GRAFANA_SOURCE),
        "grafana-dashboards.yaml": yaml_text(_GRAFANA_DASHBOARDS),
        **dashboard.files(),
        "README.md": readme.compose(plan),
    }


def _compose(plan: Plan, folder: Path, user: str) -> dict:
    return {
        "name": plan.name,
        "services": {
            "server": _server(plan, folder, user),
            "nginx": _nginx(user),
            "prometheus": _prometheus_service(),
            "grafana": _grafana_service(),
        },
        "networks": {"inside": {"internal": True}, "outside": {}},
        "volumes": {"prometheus": {}, "grafana": {}},
    }


def _server(plan: Plan, folder: Path, user: str) -> dict:
    program, *flags = container.command(plan)
    mounts = {name: f"{container.CONFIG}/{name}" for name in container.config_files(plan)}
    mounts |= {name: f"{container.TLS}/{name}" for name in container.secret_files(plan)}
    return {
        "image": IMAGE,
        "entrypoint": [program],
        "command": flags,
        "user": user,
        "init": True,  # as process 1 the server would not end on SIGTERM
        **_CONFINED,
        "tmpfs": ["/tmp"],
        "volumes": [
            *(_bound(os.path.relpath(model.base_path, folder), f"{MODELS}/{model.name}") for model in plan.models),
            *(_bound(name, place) for name, place in mounts.items()),
        ],
        "healthcheck": {
            "test": ["CMD", "bash", "-c", _asks(container.ready_path(plan))],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": f"{_LOADING_SECONDS}s",
            "start_interval": "1s",
        },
        "deploy": _resources(plan.cpus, plan.memory),
        "networks": ["inside"],
    }


def _nginx(user: str) -> dict:
    return {
        "image": NGINX,
        "entrypoint": ["nginx", "-e", "stderr", "-g", "daemon off;"],
        "user": user,
        **_CONFINED,
        "tmpfs": ["/tmp"],
        "volumes": [_bound("nginx.conf", "/etc/nginx/nginx.conf")],
        "ports": [_on_loopback(REST_PORT), _on_loopback(GRPC_PORT)],
        "depends_on": {"server": {"condition": "service_healthy", "restart": True}},  # nginx looks its address up once
        "deploy": _resources(1, 128),
        "networks": ["inside", "outside"],
    }


def _prometheus_service() -> dict:
    return {
        "image": PROMETHEUS,
        "profiles": ["monitoring"],
        **_CONFINED,
        "command": ["--config.file=/etc/prometheus/prometheus.yaml", "--storage.tsdb.path=/prometheus"],
        "volumes": [
            _bound("prometheus.yaml", "/etc/prometheus/prometheus.yaml"),
            _bound("alerts.yaml", "/etc/prometheus/alerts.yaml"),
            {"type": "volume", "source": "prometheus", "target": "/prometheus"},
        ],
        "ports": [_on_loopback(9090)],
        "deploy": _resources(1, 1024),
        "networks": ["inside", "outside"],
    }


def _grafana_service() -> dict:
    provisioning = "/etc/grafana/provisioning"
    return {
        "image": GRAFANA,
        "profiles": ["monitoring"],
        **_CONFINED,
        "environment": {"GF_AUTH_ANONYMOUS_ENABLED": "true", "GF_ANALYTICS_REPORTING_ENABLED": "false"},
        "tmpfs": ["/tmp"],
        "volumes": [
            _bound("grafana-source.yaml", f"{provisioning}/datasources/source.yaml"),
            _bound("grafana-dashboards.yaml", f"{provisioning}/dashboards/dashboards.yaml"),
            _bound("dashboard.json", "/etc/grafana/dashboards/dashboard.json"),
            {"type": "volume", "source": "grafana", "target": "/var/lib/grafana"},
        ],
        "ports": [_on_loopback(3000)],
        "deploy": _resources(1, 512),
        "networks": ["inside", "outside"],
    }


def _prometheus(plan: Plan) -> dict:
    return {
        "global": {"scrape_interval": f"{_SCRAPE_SECONDS}s", "evaluation_interval": f"{_SCRAPE_SECONDS}s"},
        "rule_files": ["/etc/prometheus/alerts.yaml"],
        "scrape_configs": [
            {
                "job_name": plan.name,
                "metrics_path": DEFAULT_PATH,
                "static_configs": [{"targets": [f"server:{REST_PORT}"]}],
            }
        ],
    }


_GRAFANA_SOURCE = {
    "apiVersion": 1,
    "datasources": [{"name": "Prometheus", "type": "prometheus", "url": "http://prometheus:9090", "isDefault": True}],
}
_GRAFANA_DASHBOARDS = {
    "apiVersion": 1,
    "providers": [{"name": "serving", "type": "file", "options": {"path": "/etc/grafana/dashboards"}}],
}


def _bound(source: str, target: str) -> dict:
    """A file or folder mounted read-only; no folder is made where it is missing."""
    path = source if source.startswith((".", "/")) else f"./{source}"
    return {
        "type": "bind",
        "source": path.replace("$", "$$"),
        "target": target,
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def _resources(cpus: int, memory: int) -> dict:
    """At most so many processors, and so many MiB, which are kept free for it."""
    amount = {"memory": f"{memory}M"}
    return {"resources": {"limits": {"cpus": str(cpus), **amount}, "reservations": amount}}


def _on_loopback(port: int) -> dict:
    return {"host_ip": "127.0.0.1", "published": str(port), "target": port}


def _asks(path: str) -> str:
    """A command that fails unless ``path`` answers 200. The image has no HTTP client: bash opens the connection."""
    request = f"GET {path} HTTP/1.0\\r\\n\\r\\n"
    return (
        f"exec 3<>/dev/tcp/127.0.0.1/{REST_PORT}; printf '{request}' >&3; read -r -u 3 _ code _; [ \"$$code\" = 200 ]"
    )
