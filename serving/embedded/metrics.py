"""Counters and histograms in Prometheus' text format, under the names and labels of TF Serving.

Sources: servables/tensorflow/util.cc and batching/batching_{session,util}.{cc,h} (names, buckets),
util/prometheus_exporter.cc (format).
"""

import bisect
import threading
from dataclasses import dataclass, field

_LATENCY_BOUNDS = tuple(10 * 1.8**power for power in range(33))
"""Microseconds, from 10 to about 20 minutes."""

_QUEUING_BOUNDS = tuple(100 * 1.2**power for power in range(52))
"""Microseconds, from 100 to about a second."""

_SIZE_BOUNDS = tuple(2**power for power in range(14))
"""Rows, from 1 to 8192."""

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})


@dataclass
class Counter:
    """A number that only grows, for each combination of label values."""

    name: str
    labels: tuple[str, ...]
    _values: dict[tuple[str, ...], int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *values: str, by: int = 1) -> None:
        """Adds ``by`` for these label values."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + by

    def lines(self) -> list[str]:
        """The metric as Prometheus reads it."""
        points = sorted(self._values.copy().items())
        return [f"# TYPE {self.name} counter"] + [
            f"{self.name}{{{_labels_text(self.labels, values)}}} {count}" for values, count in points
        ]


@dataclass
class Histogram:
    """How often a value fell below each bound, for each combination of label values."""

    name: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = _LATENCY_BOUNDS
    _counts: dict[tuple[str, ...], list[int]] = field(default_factory=dict)
    _sums: dict[tuple[str, ...], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, *labels: str, value: float) -> None:
        """Adds one observation for these label values."""
        bucket = bisect.bisect_right(self.bounds, value)
        with self._lock:
            counts = self._counts.setdefault(labels, [0] * (len(self.bounds) + 1))
            counts[bucket] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> list[str]:
        """The metric as Prometheus reads it."""
        with self._lock:
            points = [(values, list(counts), self._sums[values]) for values, counts in sorted(self._counts.items())]
        lines = [f"# TYPE {self.name} histogram"]
        for values, counts, total in points:
            labels = _labels_text(self.labels, values)
            running = 0
            for bound, count in zip([*self.bounds, None], counts, strict=True):
                running += count
                limit = "+Inf" if bound is None else f"{bound:g}"
                within = ",".join(filter(None, (labels, f'le="{limit}"')))
                lines.append(f"{self.name}_bucket{{{within}}} {running}")
            lines += [f"{self.name}_sum{{{labels}}} {total:g}", f"{self.name}_count{{{labels}}} {running}"]
        return lines


def _labels_text(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, values, strict=True))


class Metrics:
    """What one server counts."""

    def __init__(self):
        self.load_attempts = Counter(":tensorflow:cc:saved_model:load_attempt_count", ("model_path", "status"))
        self.load_latency = Counter(":tensorflow:cc:saved_model:load_latency", ("model_path",))
        self.warmup_records = Counter(":tensorflow:serving:model_warmup_records_read", ("model_path", "status"))
        self.requests = Counter(":tensorflow:serving:request_count", ("model_name", "status"))
        self.request_latency = Histogram(":tensorflow:serving:request_latency", ("model_name", "API", "entrypoint"))
        self.runtime_latency = Histogram(":tensorflow:serving:runtime_latency", ("model_name", "API", "runtime"))
        session = ":tensorflow:serving:batching_session"
        self.queuing_latency = Histogram(f"{session}:queuing_latency", ("thread_pool_name",), _QUEUING_BOUNDS)
        self.input_batch_size = Histogram(f"{session}:input_batch_size", (), _SIZE_BOUNDS)
        self.processed_batch_size = Histogram(f"{session}:processed_batch_size", (), _SIZE_BOUNDS)
        self.padding_size = Histogram(f"{session}:padding_size", ("execution_batch_size",), _SIZE_BOUNDS)
        self.wrapped_runs = Counter(f"{session}:wrapped_run_count", ())

    def page(self) -> bytes:
        """All of them as Prometheus scrapes them."""
        metrics = sorted(vars(self).values(), key=lambda metric: metric.name)
        return "".join(f"{line}\n" for metric in metrics for line in metric.lines()).encode()
