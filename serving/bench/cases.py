"""What a load came to: percentiles of the latency, errors, the rate that was kept, and whom the figures are about."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from serving.bench.generator import Trace
from serving.bench.loads import ClosedLoop, Load, OpenLoop
from serving.bench.senders import OK, TIMED_OUT

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}

_MUCH_LATE = 0.01  # share of requests
_BUSY = 0.9  # share of the time
_KEPT = 0.95  # share of the asked rate


@dataclass(frozen=True)
class Case:
    """What one load on one API came to.

    ``rate`` counts the good answers within the duration, per second. ``latency_ms`` is that of good answers, and the
    time that was waited for those that did not come in time; other errors are left out, as one that comes at once would
    flatter the server. A percentile is None where too few requests are there to tell it. ``late_share`` of the requests
    were sent more than ``late_ms`` after their time, by the generator's own fault; it computed ``busy_share`` of the
    time. ``server_ms`` are the server's own mean times, where it tells them.
    """

    api: str
    load: Load
    rate: float
    sent: int
    answered: int
    latency_ms: Mapping[str, float | None]
    errors: Mapping[str, int]
    late_ms: float
    late_share: float | None
    busy_share: float
    server_ms: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.api}, {self.load}"

    @property
    def asked_rate(self) -> float | None:
        return self.load.rate if isinstance(self.load, OpenLoop) else None

    @property
    def generator_is_slow(self) -> bool:
        """Whether these figures are the generator's as much as the server's."""
        return self._sent_late or self._computed_always

    @property
    def warnings(self) -> list[str]:
        """What to know before these figures are believed."""
        found = []
        if self._sent_late:
            found.append(f"the generator sent {self.late_share:.1%} of the requests more than {self.late_ms:g} ms late")
        if self._computed_always:
            found.append(f"the generator computed {min(self.busy_share, 1.0):.0%} of the time")
        if not found and self.asked_rate is not None and self.rate < _KEPT * self.asked_rate:
            found.append(f"the server answered {self.rate:g} of {self.asked_rate:g} requests a second")
        return found

    def as_json(self) -> dict:
        fields = asdict(self) | {"warnings": self.warnings}
        concurrency = self.load.concurrency if isinstance(self.load, ClosedLoop) else None
        del fields["load"]
        return {"asked_rate": self.asked_rate, "concurrency": concurrency, **fields}

    @property
    def _sent_late(self) -> bool:
        return (self.late_share or 0.0) > _MUCH_LATE

    @property
    def _computed_always(self) -> bool:
        return self.busy_share > _BUSY


def case_of(api: str, load: Load, seconds: float, trace: Trace, late_ms: float, server_ms: Mapping[str, float]) -> Case:
    """The case that ``load`` made in so many ``seconds``."""
    good = trace.codes == OK
    counted = good | (trace.codes == TIMED_OUT)
    late = (trace.begun - trace.intended) * 1e3 > late_ms
    return Case(
        api=api,
        load=load,
        rate=round(float(np.count_nonzero(good & (trace.ended <= seconds)) / seconds), 1),
        sent=len(good),
        answered=int(good.sum()),
        latency_ms=percentiles((trace.ended - trace.intended)[counted] * 1e3),
        errors=dict(sorted(Counter(trace.codes[~good].tolist()).items())),
        late_ms=late_ms,
        late_share=round(float(late.mean()), 4) if isinstance(load, OpenLoop) else None,
        busy_share=round(trace.busy, 3),
        server_ms=server_ms,
    )


def percentiles(latencies: np.ndarray) -> dict[str, float | None]:
    """The percentiles by name; None for one that fewer than one of these many latencies lies beyond."""
    return {
        name: round(float(np.percentile(latencies, q)), 3) if len(latencies) * (100 - q) >= 100 - 1e-6 else None
        for name, q in PERCENTILES.items()
    }
