"""Runs a load in one process or in several, and tells what became of each request."""

import asyncio
import itertools
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from serving.bench import precise_loop
from serving.bench.loads import Load, Sent, Share
from serving.bench.senders import Target

_START_SECONDS = 120.0  # until all processes are ready, on a machine that is busy


@dataclass(frozen=True)
class Trace:
    """What a load met: an array entry for each request, times in seconds from the start, ``OK`` or an error's code.

    ``busy`` is the share of the time in which the busiest process of the generator computed.
    """

    intended: np.ndarray
    begun: np.ndarray
    ended: np.ndarray
    codes: np.ndarray
    busy: float


@dataclass(frozen=True)
class Job:
    """``load`` on ``target`` for so many ``seconds``; each request ends within ``timeout`` seconds."""

    target: Target
    bodies: Sequence[bytes]
    load: Load
    seconds: float
    timeout: float


def run(job: Job, processes: int = 1) -> Trace:
    """Sends what the job says, from so many processes that start together, and waits for all answers."""
    shares = [_run_share(job, Share())] if processes == 1 else _in_processes(job, processes)
    intended, begun, ended, codes = zip(*itertools.chain.from_iterable(sent for sent, _ in shares), strict=True)
    busy = max(busy for _, busy in shares)
    return Trace(np.array(intended), np.array(begun), np.array(ended), np.array(codes, object), busy)


def _run_share(job: Job, share: Share, when_ready: Callable[[], object] = lambda: None) -> tuple[list[Sent], float]:
    """The requests of a share, and how busy this process was."""
    with asyncio.Runner(loop_factory=precise_loop.new_event_loop) as runner:
        return runner.run(_driven(job, share, when_ready))


async def _driven(job: Job, share: Share, when_ready: Callable[[], object]) -> tuple[list[Sent], float]:
    async with job.target.sender(job.timeout) as send:
        await asyncio.gather(*(send(job.bodies[0]) for _ in range(job.load.connections)))
        when_ready()
        start, computed = time.perf_counter(), time.process_time()
        sent = await job.load.drive(send, job.bodies, job.seconds, share)
        elapsed = max(job.seconds, time.perf_counter() - start)
        return sent, (time.process_time() - computed) / elapsed


def _in_processes(job: Job, processes: int) -> list[tuple[list[Sent], float]]:
    context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    barrier = context.Barrier(processes, timeout=_START_SECONDS)
    with ProcessPoolExecutor(processes, context, initializer=_remember, initargs=(barrier,)) as pool:
        return list(pool.map(_run_share_together, [job] * processes, (Share(i, processes) for i in range(processes))))


_barrier = None  # of a process that is one of several: a barrier can be handed over only when a process is made


def _remember(barrier) -> None:
    global _barrier
    _barrier = barrier


def _run_share_together(job: Job, share: Share) -> tuple[list[Sent], float]:
    return _run_share(job, share, _barrier.wait)
