"""A Grafana dashboard for any number of models: ``dashboard.json``, imported as it is."""

import json

from serving.deployment import monitoring

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_MODEL = 'model_name=~"$model"'
_WIDTH, _HEIGHT = 12, 8  # of the 24 columns


def files() -> dict[str, str]:
    """``dashboard.json``. It asks for the data source and the models."""
    return {"dashboard.json": json.dumps(_dashboard(), indent=1) + "\n"}


def _dashboard() -> dict:
    mean = "sum by (model_name) (rate({0}_sum{{{1}}}[5m])) / sum by (model_name) (rate({0}_count{{{1}}}[5m])) / 1e6"
    panels = [
        _panel(
            "Requests by status",
            "reqps",
            {"{{model_name}} {{status}}": f"sum by (model_name, status) (rate({monitoring.REQUESTS}{{{_MODEL}}}[5m]))"},
        ),
        _panel(
            "Failed requests",
            "percentunit",
            {
                "{{model_name}}: the server's fault": monitoring.servers_fault(_MODEL),
                "{{model_name}}: the caller's fault": monitoring.callers_fault(_MODEL),
            },
        ),
        _panel(
            "Time of a request in the server",
            "s",
            {f"{{{{model_name}}}} p{which * 100:g}": monitoring.quantile(_MODEL, which) for which in (0.5, 0.95, 0.99)},
        ),
        _panel(
            "Mean time: request, and TensorFlow's part of it",
            "s",
            {
                "{{model_name}} request": mean.format(monitoring.LATENCY, _MODEL),
                "{{model_name}} TensorFlow": mean.format(monitoring.RUNTIME, _MODEL),
            },
        ),
        _panel(
            "Requests in flight, by Little's law",
            "short",
            {"{{instance}}": monitoring.in_flight(_MODEL, "instance")},
        ),
        _panel(
            "Attempts to load a version",
            "short",
            {"{{model_path}} {{status}}": f"sum by (model_path, status) ({monitoring.LOADS})"},
        ),
    ]
    return {
        "title": "TensorFlow Serving",
        "uid": "servable-zoo",
        "schemaVersion": 39,
        "tags": ["tensorflow-serving"],
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus"},
                {
                    "name": "model",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": f"label_values({monitoring.REQUESTS}, model_name)",
                    "refresh": 2,
                    "multi": True,
                    "includeAll": True,
                    "current": {"text": ["All"], "value": ["$__all"]},
                },
            ]
        },
        "panels": [panel | _place(number) for number, panel in enumerate(panels)],
    }


def _panel(title: str, unit: str, queries: dict[str, str]) -> dict:
    targets = [
        {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        for number, (legend, query) in enumerate(queries.items())
    ]
    return {
        "type": "timeseries",
        "title": title,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _place(number: int) -> dict:
    column, row = number % 2, number // 2
    return {"id": number + 1, "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}}
