"""A server's own mean times, from the page that it writes for Prometheus, if it writes one.

The metrics are histograms in microseconds. Sources: tensorflow_serving/servables/tensorflow/util.cc,
tensorflow_serving/batching/batching_session.cc.
"""

import re
from collections.abc import Mapping

import urllib3

from serving.embedded.monitoring_config import DEFAULT_PATH

_METRICS = {
    "queue": ":tensorflow:serving:batching_session:queuing_latency",  # until its batch is run; of all models
    "graph": ":tensorflow:serving:runtime_latency",
    "request": ":tensorflow:serving:request_latency",
}
_SECONDS = 5.0

Totals = Mapping[str, tuple[float, float]]
"""Metric → the sum of all its times in microseconds, and their number."""


def read(rest_url: str, model: str) -> Totals:
    """What the server has counted so far; nothing where it has no such page."""
    try:
        page = urllib3.request("GET", rest_url.rstrip("/") + DEFAULT_PATH, timeout=_SECONDS, retries=False)
    except urllib3.exceptions.HTTPError:
        return {}
    return parse(page.data.decode("utf-8", "replace"), model) if page.status == 200 else {}


def parse(page: str, model: str) -> Totals:
    """The totals of a page, those of other models left out."""
    totals = {}
    for name, metric in _METRICS.items():
        sums = {"sum": 0.0, "count": 0.0}
        for kind, labels, value in re.findall(rf"^{metric}_(sum|count)\{{(.*)\}} (\S+)$", page, re.MULTILINE):
            if "model_name=" not in labels or f'model_name="{model}"' in labels:
                sums[kind] += float(value)
        if sums["count"]:
            totals[name] = sums["sum"], sums["count"]
    return totals


def between(before: Totals, after: Totals) -> dict[str, float]:
    """Mean times in milliseconds of what was counted between two readings."""
    means = {}
    for name, (total, count) in after.items():
        earlier_total, earlier_count = before.get(name, (0.0, 0.0))
        if count > earlier_count:
            means[name] = round((total - earlier_total) / (count - earlier_count) / 1e3, 3)
    return means
