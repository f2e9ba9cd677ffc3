"""Servers that need no time: what each setting makes of a load is computed."""

import contextlib
from collections import Counter
from collections.abc import Callable

from serving.bench.cases import Case
from serving.bench.loads import OpenLoop
from serving.errors import EngineError
from serving.tuning.settings import Setting

SERVICE_MS = 10.0


class Servers:
    """``capacity`` gives the requests per second that a setting can answer; 0 for a server that does not start.

    The 99th percentile grows as a queue does: ten milliseconds, over the share of the capacity that is free. The
    loads in ``hiccups``, counted from one, take long whatever the load.
    """

    def __init__(self, capacity: Callable[[Setting], float]):
        self.capacity = capacity
        self.starts: Counter[str] = Counter()
        self.hiccups: set[int] = set()
        self._asked = 0

    @contextlib.contextmanager
    def start(self, setting: Setting):
        self.starts[str(setting)] += 1
        if not (capacity := self.capacity(setting)):
            raise EngineError("the binary server ended with exit code 255\nIts last lines:")
        yield lambda load: self._case(load, capacity)

    def _case(self, load, capacity: float) -> Case:
        asked = load.rate if isinstance(load, OpenLoop) else capacity / 4
        self._asked += 1
        free = 0 if self._asked in self.hiccups else 1 - asked / capacity
        p99 = SERVICE_MS / free if free > 0 else 5000.0
        latency = {"p50": p99 / 2, "p90": p99, "p95": p99, "p99": p99, "p99.9": None}
        return Case("gRPC", load, round(min(asked, capacity), 1), 1000, 1000, latency, {}, 5.0, 0.0, 0.1, {})
