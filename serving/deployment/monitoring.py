"""What Prometheus is asked about a deployment: queries, and the alerts made of them.

TensorFlow Serving counts by model, not by version or label. Latencies are in microseconds and of successful requests
only. Sources: servables/tensorflow/util.cc, cc/saved_model/loader.cc.
"""

REQUESTS = ":tensorflow:serving:request_count"  # model_name, status
LATENCY = ":tensorflow:serving:request_latency"  # model_name, API, entrypoint
RUNTIME = ":tensorflow:serving:runtime_latency"  # model_name, API, runtime
LOADS = ":tensorflow:cc:saved_model:load_attempt_count"  # model_path, status

IN_FLIGHT = "tensorflow_serving_requests_in_flight"
"""The name under which prometheus-adapter passes ``in_flight`` on."""

_CALLERS_FAULT = "INVALID_ARGUMENT|NOT_FOUND|FAILED_PRECONDITION|OUT_OF_RANGE"


def _share(selector: str, statuses: str) -> str:
    """The share of a model's requests whose status matches, 0 to 1."""
    return (
        f"sum by (namespace, model_name) (rate({REQUESTS}{{{selector},{statuses}}}[5m]))"
        f" / sum by (namespace, model_name) (rate({REQUESTS}{{{selector}}}[5m]))"
    )


def servers_fault(selector: str) -> str:
    """The share of requests that failed through no fault of the caller."""
    return _share(selector, f'status!~"OK|{_CALLERS_FAULT}"')


def callers_fault(selector: str) -> str:
    """The share of requests that asked for what there is not, or in a wrong form."""
    return _share(selector, f'status=~"{_CALLERS_FAULT}"')


def quantile(selector: str, which: float) -> str:
    """A quantile of the seconds that requests took within the server, without the network and the wait for a thread."""
    buckets = f"sum by (namespace, model_name, le) (rate({LATENCY}_bucket{{{selector}}}[5m]))"
    return f"histogram_quantile({which}, {buckets}) / 1e6"


def in_flight(selector: str, by: str) -> str:
    """How many requests were in the server at a time, on average over a minute.

    TensorFlow Serving does not export it. By Little's law it is the rate of requests times the time that each took,
    which is how fast the sum of all latencies grows. A request counts when it has ended; one that failed never does.
    """
    return f"sum by ({by}) (rate({LATENCY}_sum{{{selector}}}[1m])) / 1e6"


def alert_groups(job: str, slow: float) -> list[dict]:
    """Prometheus' groups of rules for the deployment that is scraped as ``job``; ``slow``: seconds."""
    ours = f'job="{job}"'
    loaded = f'{LOADS}{{{ours},status="success"}}'
    of_model = "of the requests to {{ $labels.model_name }}"
    rules = [
        _alert("ServingDown", "critical", "2m", f"absent(up{{{ours}}} == 1)", f"No server of {job} is up."),
        _alert(
            "ServingFails",
            "critical",
            "10m",
            f"{servers_fault(ours)} > 0.01",
            f"{{{{ $value | humanizePercentage }}}} {of_model} fail, and not through their callers.",
        ),
        _alert(
            "ServingSlow",
            "warning",
            "10m",
            f"{quantile(ours, 0.99)} > {slow:g}",
            f"One in a hundred {of_model} takes more than {{{{ $value | humanizeDuration }}}}.",
        ),
        _alert(
            "ServingVersionFailed",
            "critical",
            "1m",
            f'{LOADS}{{{ours},status!="success"}} unless on (instance, model_path) {loaded}',
            "{{ $labels.model_path }} does not load at {{ $labels.instance }}.",
        ),
        _alert(
            "ServingRefusesCallers",
            "warning",
            "15m",
            f"{callers_fault(ours)} > 0.1",
            f"{{{{ $value | humanizePercentage }}}} {of_model} are refused for what callers send.",
        ),
    ]
    return [{"name": job, "rules": rules}]


def _alert(name: str, severity: str, lasting: str, expression: str, summary: str) -> dict:
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary},
    }
