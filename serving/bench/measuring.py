"""Loads on a served model, one after the other."""

import math
from collections.abc import Callable, Iterator, Sequence

from serving.bench import generator, server_times
from serving.bench.cases import Case, case_of
from serving.bench.generator import Job
from serving.bench.inputs import Inputs
from serving.bench.loads import ClosedLoop, Load, OpenLoop
from serving.bench.senders import Target
from serving.client import Client
from serving.errors import Failure

_MOST_BYTES = 64 << 20  # of encoded requests; what is over is not sent
_WARM_UP = ClosedLoop(4), 0.3  # and its seconds


def measure(
    target: Target,
    inputs: Inputs,
    loads: Sequence[Load],
    *,
    seconds: float = 10.0,
    timeout: float = 10.0,
    late_ms: float = 5.0,
    processes: int = 1,
    rest_url: str | None = None,
    before_each: Callable[[Load], None] = lambda load: None,
) -> Iterator[Case]:
    """The case of each load.

    Args:
        seconds: for how long each is sent.
        timeout: seconds that a request may take.
        late_ms: milliseconds after its time from which on a request counts as sent late.
        processes: that send a load together.
        rest_url: where the server's own times are looked up; the target itself if that is REST.
        before_each: called before a load begins.

    Raises ValueError for what cannot be sent, and the errors of ``Client.predict`` if the first request fails.
    """
    _check(seconds, timeout, late_ms, processes)
    for load in loads:
        if isinstance(load, OpenLoop):
            load.times(seconds)
    bodies = _encoded(target, inputs)
    _ask_once(target, inputs, timeout)
    rest_url = target.address if target.api == "REST" else rest_url
    generator.run(Job(target, bodies, *_WARM_UP, timeout))
    for load in loads:
        before_each(load)
        earlier = server_times.read(rest_url, target.model.name) if rest_url else {}
        trace = generator.run(Job(target, bodies, load, seconds, timeout), processes)
        later = server_times.read(rest_url, target.model.name) if earlier else {}
        yield case_of(target.api, load, seconds, trace, late_ms, server_times.between(earlier, later))


def _check(seconds: float, timeout: float, late_ms: float, processes: int) -> None:
    for name, value in {"seconds": seconds, "timeout": timeout, "late_ms": late_ms}.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is a positive number. Received: {value}")
    if processes < 1:
        raise ValueError(f"processes is a number from 1 on. Received: {processes}")


def _encoded(target: Target, inputs: Inputs) -> list[bytes]:
    """The requests as they travel: all of them, or as many as there is room for."""
    bodies, size = [], 0
    for request in inputs.requests:
        try:
            bodies.append(target.encode(inputs.signature, request))
        except Failure as failure:
            raise ValueError(f"{target.api}: {failure.words}") from None
        size += len(bodies[-1])
        if size > _MOST_BYTES:
            break
    return bodies


def _ask_once(target: Target, inputs: Inputs, timeout: float) -> None:
    """One request as any client would send it, for its error's words."""
    with Client(target.address, timeout=timeout, retries=0) as client:
        model = target.model
        client.predict(model.name, inputs.requests[0], signature=inputs.signature, version=model.version)
