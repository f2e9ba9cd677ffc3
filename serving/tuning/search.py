"""The search: how many requests a second each setting answers within the latency that is allowed.

What a setting can do is the highest rate of an open loop (Poisson arrivals) at which the 99th percentile holds. It is
found by doubling or halving the rate and then between, to a tenth. A rate counts as too high when it fails twice: a
hiccup of the machine is not the server's. A gain counts if it is more than a tenth, and if fresh servers show it again:
at a rate between the two, the best setting holds and the server as it comes does not.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from serving.bench.cases import Case
from serving.bench.loads import ClosedLoop, Load, OpenLoop
from serving.errors import ServingError
from serving.tuning.settings import Setting, with_batching, with_threads

Measure = Callable[[Load], Case]
Start = Callable[[Setting], AbstractContextManager[Measure]]
"""Starts a server with a setting, and gives what puts a load on it. ServingError where it does not start."""

PERCENTILE = "p99"

_RESOLUTION = 1.1
_LEAST = 1 / 8  # of the rate at which the search begins: below it nothing is looked for
_MOST_STEPS = 12


@dataclass(frozen=True)
class Found:
    """What a setting did: the highest ``rate`` that it held (0: none) and all ``cases``, or why it was ``refused``."""

    setting: Setting
    rate: float = 0.0
    cases: Sequence[Case] = ()
    refused: str = ""


@dataclass(frozen=True)
class Outcome:
    """Everything that was ``found``, the server as it comes first.

    ``candidate`` is the setting that seemed better, None where none did. ``confirmation`` are the cases in which that
    was looked for again, of the candidate and of the server as it comes; ``is_gain`` says whether it was seen.
    """

    found: Sequence[Found]
    candidate: Found | None = None
    confirmation: Sequence[Case] = ()
    is_gain: bool = False

    @property
    def best(self) -> Found | None:
        """The setting to serve with; None for the server as it comes."""
        return self.candidate if self.is_gain else None


def tune(start: Start, limit_ms: float, cores: int, told: Callable[[Found], None]) -> Outcome:
    """Tries settings and confirms the best one.

    ``told`` is called with what each setting did. Raises ServingError if the server does not start as it comes,
    ValueError if it is too slow for the time that it is measured.
    """
    with start(Setting()) as measure:
        first = measure(ClosedLoop(1)).rate
        if first == 0:
            raise ValueError("No request was answered in the time that the server was measured. Give it longer")
        plain = _held(Setting(), measure, limit_ms, first)
    found = [plain]
    told(plain)

    def explore(settings: Iterable[Setting]) -> Found:
        """The best so far, after these were tried as well."""
        for setting in settings:
            found.append(_tried(start, setting, limit_ms, _best(found).rate or first))
            told(found[-1])
        return _best(found)

    best = explore(with_threads(cores))
    best = explore(with_batching(best.setting, cores, limit_ms))
    if best.rate <= _RESOLUTION * plain.rate:
        return Outcome(found)
    rate = _rounded(math.sqrt(best.rate * max(plain.rate, best.rate / 2)))
    with start(best.setting) as measure:
        ours = _asked(measure, rate, limit_ms)
    with start(Setting()) as measure:
        plain_again = _asked(measure, rate, limit_ms)
    is_gain = holds_limit(ours[-1], limit_ms) and not holds_limit(plain_again[-1], limit_ms)
    return Outcome(found, best, (ours[-1], plain_again[-1]), is_gain)


def holds_limit(case: Case, limit_ms: float) -> bool:
    """Whether the percentile is known and within the limit, and every request was answered."""
    latency = case.latency_ms[PERCENTILE]
    return latency is not None and latency <= limit_ms and not case.errors


def _tried(start: Start, setting: Setting, limit_ms: float, rate: float) -> Found:
    try:
        with start(setting) as measure:
            return _held(setting, measure, limit_ms, rate)
    except ServingError as error:
        return Found(setting, refused=str(error))


def _held(setting: Setting, measure: Measure, limit_ms: float, start: float) -> Found:
    """The highest rate at which the limit is held, looked for from ``start`` on."""
    rate, low, high, cases = start, 0.0, math.inf, []
    for _ in range(_MOST_STEPS):
        cases += _asked(measure, rate, limit_ms)
        if holds_limit(cases[-1], limit_ms):
            low = rate
        else:
            high = rate
        if high <= low * _RESOLUTION or high <= start * _LEAST:
            break
        rate = _rounded(low * 2 if high == math.inf else high / 2 if low == 0 else math.sqrt(low * high))
    return Found(setting, low, cases)


def _asked(measure: Measure, rate: float, limit_ms: float) -> list[Case]:
    """The case of a rate, and one more where the first does not hold the limit. The last one counts."""
    first = measure(OpenLoop(rate))
    return [first] if holds_limit(first, limit_ms) else [first, measure(OpenLoop(rate))]


def _rounded(rate: float) -> float:
    """Three digits of a rate: more are noise."""
    return float(f"{rate:.3g}")


def _best(found: Iterable[Found]) -> Found:
    return max(found, key=lambda each: each.rate)
