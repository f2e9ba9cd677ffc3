"""How requests are sent: at times of their own (open loop), or each when the one before is answered (closed loop).

Callers who do not know of one another are an open loop. A closed loop asks a server less while it stalls, so that the
stall is one slow request where it would have been many: "coordinated omission" (Gil Tene, How NOT to Measure Latency).
Here a latency counts from the time at which its request was meant to be sent, whenever it was sent.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

ARRIVALS = "poisson", "even"

Send = Callable[[bytes], Awaitable[str]]
"""Sends a request, waits for its answer and gives its code: ``OK`` or the gRPC name of an error."""

_MOST_OPENED = 64  # connections that are opened before the clock starts


class Sent(NamedTuple):
    """One request: its times in seconds from the start, and how it ended."""

    intended: float
    begun: float
    ended: float
    code: str


class Share(NamedTuple):
    """Which part of a load is one process' own."""

    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class OpenLoop:
    """``rate`` requests a second, whether or not earlier ones are answered.

    Their times are ``even``, or those of a Poisson process (the same ones every time) of exactly as many requests.
    """

    rate: float
    arrivals: str = "poisson"

    def __post_init__(self):
        if not 0 < self.rate < math.inf:
            raise ValueError(f"A rate is a positive number of requests per second. Received: {self.rate}")
        if self.arrivals not in ARRIVALS:
            raise ValueError(f"Arrivals are {' or '.join(ARRIVALS)}. Received: {self.arrivals!r}")

    def __str__(self) -> str:
        return f"{self.rate:g}/s"

    @property
    def connections(self) -> int:
        """How many to open before the clock starts: those that are busy if an answer takes 50 ms."""
        return min(_MOST_OPENED, math.ceil(self.rate / 20))

    def times(self, seconds: float) -> np.ndarray:
        """When each request is meant to be sent: seconds from the start, ascending. ValueError where there is none."""
        count = round(self.rate * seconds)
        if count == 0:
            raise ValueError(f"At {self} no request is sent in {seconds:g} s")
        if self.arrivals == "even":
            return np.arange(count) / self.rate
        return np.sort(np.random.default_rng(0).uniform(0.0, seconds, count))

    async def drive(self, send: Send, bodies: Sequence[bytes], seconds: float, share: Share) -> list[Sent]:
        """Sends ``bodies`` in turn for so many seconds, and returns when all are answered."""
        clock = asyncio.get_running_loop().time
        sent: list[Sent] = []

        async def ask(body: bytes, intended: float) -> None:
            begun = clock() - start
            code = await send(body)
            sent.append(Sent(intended, begun, clock() - start, code))

        times = self.times(seconds)[share.index :: share.count].tolist()
        start = clock()
        async with asyncio.TaskGroup() as requests:
            for number, intended in enumerate(times):
                await asyncio.sleep(max(0.0, start + intended - clock()))
                requests.create_task(ask(bodies[number % len(bodies)], intended))
        return sent


@dataclass(frozen=True)
class ClosedLoop:
    """``concurrency`` clients, each of which sends its next request when it has the answer to its last."""

    concurrency: int

    def __post_init__(self):
        if self.concurrency < 1:
            raise ValueError(f"A concurrency is a number of clients, at least 1. Received: {self.concurrency}")

    def __str__(self) -> str:
        return f"{self.concurrency} client{'s' if self.concurrency > 1 else ''}"

    @property
    def connections(self) -> int:
        """How many to open before the clock starts."""
        return self.concurrency

    async def drive(self, send: Send, bodies: Sequence[bytes], seconds: float, share: Share) -> list[Sent]:
        """Sends ``bodies`` in turn for so many seconds, and returns when all are answered."""
        clock = asyncio.get_running_loop().time
        sent: list[Sent] = []

        async def client(number: int) -> None:
            while (begun := clock() - start) < seconds:
                code = await send(bodies[number % len(bodies)])
                sent.append(Sent(begun, begun, clock() - start, code))
                number += self.concurrency

        start = clock()
        async with asyncio.TaskGroup() as clients:
            for number in range(share.index, self.concurrency, share.count):
                clients.create_task(client(number))
        return sent


Load = OpenLoop | ClosedLoop
