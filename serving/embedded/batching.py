"""Requests that are computed together: one run of the graph for the rows of many.

The rules are those of TF Serving (batching/batching_session.cc) and its scheduler (TensorFlow's core/kernels/
batching_util/shared_batch_scheduler.h): a batch is run when it is full, or when its first request has waited long
enough, as soon as one of so many slots is free; until then others join it. There are no threads for it: the request
that opens a batch runs it, in the thread that it came in.

Unlike TF Serving's: a request without rows is run apart, requests that cannot be put together are not, and when a run
of several requests fails, each is run alone, so that only the bad one fails.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from serving.embedded import batching_config
from serving.embedded.batching_config import Batching
from serving.embedded.inference import Servable
from serving.embedded.metrics import Metrics
from serving.embedded.status import Code, ServingError, failed_precondition, invalid_argument

Arrays = Mapping[str, np.ndarray]

_NO_POOL_NAME = ""  # TF Serving does not tell it either


class Batcher:
    """The batching of one server: its parameters, or those of each version folder, and the slots that all share."""

    def __init__(self, batching: Batching, is_per_model: bool, metrics: Metrics):
        self._batching = batching
        self._is_per_model = is_per_model
        self._slots = _Slots(batching.num_threads)
        self._metrics = metrics

    def wrap(self, servable: Servable, folder: Path) -> Servable:
        """The servable with batching; as it is, where each version has its own parameters and this one has none.

        INVALID_ARGUMENT where they are wrong.
        """
        batching = self._batching
        if self._is_per_model:
            file = folder / batching_config.FILE
            if not file.is_file():
                return servable
            batching = batching_config.read(file)
        return BatchingServable(servable, batching, self._slots, self._metrics)


class BatchingServable:
    """A servable whose ``run`` waits for others to be run with it."""

    def __init__(self, servable: Servable, batching: Batching, slots: "_Slots", metrics: Metrics):
        self.signatures = servable.signatures
        self._servable = servable
        self._batching = batching
        self._slots = slots
        self._metrics = metrics
        self._queues: dict[tuple, _Queue] = {}

    def run(self, feeds: Arrays, fetches: Sequence[str]) -> list[np.ndarray]:
        """The fetched tensors of these rows. All feeds and all outputs have one first dimension.

        Raises ServingError: INVALID_ARGUMENT for feeds that have not, or too many rows; FAILED_PRECONDITION for such
        outputs; UNAVAILABLE while too many batches wait; and what the graph says of this request.
        """
        size = _num_rows(feeds)
        for _ in feeds:
            self._metrics.input_batch_size.record(value=size)
        if not size:
            return self._servable.run(feeds, fetches)
        queue = self._queue(feeds, fetches)
        parts, opened = queue.join(feeds, size)
        for batch in opened:
            self._lead(queue, batch)
        outputs = [part.result() for part in parts]
        return [_stack([output[name] for output in outputs]) for name in fetches]

    def close(self) -> None:
        """Frees the servable. No request may be under way."""
        self._servable.close()

    def _queue(self, feeds: Arrays, fetches: Sequence[str]) -> "_Queue":
        key = frozenset(feeds), frozenset(fetches)
        return self._queues.get(key) or self._queues.setdefault(key, _Queue(self._batching, sorted(key[1])))

    def _lead(self, queue: "_Queue", batch: "_Batch") -> None:
        """Waits until ``batch`` may be run, and runs it."""
        batch.wait_until_due()
        with self._slots:
            queue.take(batch)
            started = time.perf_counter()
            for part in batch.parts:
                self._metrics.queuing_latency.record(_NO_POOL_NAME, value=(started - part.came) * 1e6)
            self._run_together(batch.parts, queue.fetches)

    def _run_together(self, parts: Sequence["_Part"], fetches: Sequence[str]) -> None:
        try:
            self._run(parts, fetches)
        except Exception as error:  # whatever it is, whoever waits must hear of it
            if len(parts) == 1:
                parts[0].outcome.put(error)
                return
            for part in parts:
                self._run_together([part], fetches)

    def _run(self, parts: Sequence["_Part"], fetches: Sequence[str]) -> None:
        size = sum(part.size for part in parts)
        run_size = self._batching.run_size(size)
        self._metrics.padding_size.record(str(run_size), value=run_size - size)
        self._metrics.processed_batch_size.record(value=run_size)
        feeds = _merge([part.feeds for part in parts], run_size - size)
        self._metrics.wrapped_runs.add()
        outputs = dict(zip(fetches, self._servable.run(feeds, fetches), strict=True))
        _check_outputs(outputs.values(), run_size)
        start = 0
        for part in parts:
            part.outcome.put({name: array[start : start + part.size] for name, array in outputs.items()})
            start += part.size


@dataclass(eq=False)
class _Part:
    """A request, or some rows of one that is split. ``outcome`` gets its outputs or what went wrong, once."""

    feeds: Arrays
    size: int
    came: float
    outcome: SimpleQueue = field(default_factory=SimpleQueue)

    def result(self) -> Arrays:
        """Its outputs, waited for. Raises what went wrong."""
        outcome = self.outcome.get()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@dataclass(eq=False)
class _Batch:
    """Requests that will be run together, all of one ``kind``; ``due`` is when the first has waited long enough."""

    kind: tuple
    due: float
    parts: list[_Part] = field(default_factory=list)
    size: int = 0
    full: threading.Event = field(default_factory=threading.Event)

    def add(self, part: _Part) -> None:
        self.parts.append(part)
        self.size += part.size

    def wait_until_due(self) -> None:
        """Waits until nothing more fits in, or for the time that its first request may wait."""
        seconds = self.due - time.perf_counter()
        if seconds > 0:
            self.full.wait(min(seconds, threading.TIMEOUT_MAX))


class _Queue:
    """The batches of one signature that are not yet run. Only requests of one kind are put together."""

    def __init__(self, batching: Batching, fetches: Sequence[str]):
        self.fetches = fetches
        self._batching = batching
        self._open: dict[tuple, _Batch] = {}
        self._num_waiting = 0
        self._lock = threading.Lock()

    def join(self, feeds: Arrays, size: int) -> tuple[list[_Part], list[_Batch]]:
        """Puts a request into batches; its parts, and the batches that it opened and has to run.

        INVALID_ARGUMENT if it is too large, UNAVAILABLE if there is no room.
        """
        if size > self._batching.max_request_size:
            raise invalid_argument(
                f"Task size {size} is larger than maximum input batch size {self._batching.max_request_size}"
            )
        kind, came, opened = self._kind(feeds), time.perf_counter(), []
        with self._lock:
            self._check_room(size, kind)
            parts = self._parts(feeds, size, came, kind)
            for part in parts:
                if part.size > self._room(kind):
                    opened.append(self._start(kind, came))
                batch = self._open[kind]
                batch.add(part)
                if batch.size == self._batching.max_run_size:
                    batch.full.set()
        return parts, opened

    def take(self, batch: _Batch) -> None:
        """Nothing joins ``batch`` any more."""
        with self._lock:
            self._num_waiting -= 1
            if self._open.get(batch.kind) is batch:
                del self._open[batch.kind]

    def _kind(self, feeds: Arrays) -> tuple:
        shapes = {name: array.ndim if self._batching.pads_inputs else array.shape[1:] for name, array in feeds.items()}
        return tuple(shapes[name] for name in sorted(shapes))

    def _room(self, kind: tuple) -> int:
        """The rows that still fit into the open batch; none where there is no such batch."""
        return self._batching.max_run_size - self._open[kind].size if kind in self._open else 0

    def _start(self, kind: tuple, came: float) -> _Batch:
        if kind in self._open:
            self._open[kind].full.set()
        self._open[kind] = _Batch(kind, came + self._batching.timeout_seconds)
        self._num_waiting += 1
        return self._open[kind]

    def _parts(self, feeds: Arrays, size: int, came: float, kind: tuple) -> list[_Part]:
        room, most = self._room(kind), self._batching.max_run_size
        if not self._batching.splits or size <= room:
            return [_Part(feeds, size, came)]
        bounds = [0, *range(room or most, size, most), size]
        return [
            _Part({name: array[start:end] for name, array in feeds.items()}, end - start, came)
            for start, end in pairwise(bounds)
        ]

    def _check_room(self, size: int, kind: tuple) -> None:
        room, most, waiting = self._room(kind), self._batching.max_run_size, self._num_waiting
        capacity = (self._batching.max_waiting - waiting) * most + room
        if self._batching.splits and size > capacity:
            raise _full(
                f"task size is {size} but scheduling capacity is only {capacity} (num_enqueued_batches={waiting}, "
                f"max_enqueued_batches={self._batching.max_waiting}, open_batch_size={most - room}, "
                f"max_execution_batch_size={most})"
            )
        if size > room and waiting >= self._batching.max_waiting:
            raise _full(
                f"currently {waiting} batches enqueued and max_enqueued_batches is {self._batching.max_waiting}"
            )


class _Slots:
    """How many batches are run at a time: ``with`` waits for one to be free. Who comes first goes first."""

    def __init__(self, count: int):
        self._free = count
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Event()
            self._waiting.append(turn)
        turn.wait()

    def __exit__(self, *_) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1


def _full(message: str) -> ServingError:
    return ServingError(
        Code.UNAVAILABLE, f"The batch scheduling queue to which this task was submitted is full; {message}"
    )


def _num_rows(feeds: Arrays) -> int:
    if not feeds:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    if not all(array.ndim for array in feeds.values()):
        raise invalid_argument("Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in feeds.values()}
    if len(sizes) > 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _check_outputs(outputs: Sequence[np.ndarray], size: int) -> None:
    for array in outputs:
        if not array.ndim:
            raise failed_precondition("Batched output tensor has 0 dimensions")
        if len(array) != size:
            raise failed_precondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors"
            )


def _merge(requests: Sequence[Arrays], num_padding: int) -> dict[str, np.ndarray]:
    """The rows of all requests, and the first row of the last one again as often as there is room to fill."""
    return {name: _stack([feeds[name] for feeds in requests], num_padding) for name in requests[0]}


def _stack(arrays: Sequence[np.ndarray], num_padding: int = 0) -> np.ndarray:
    if len(arrays) == 1 and not num_padding:
        return arrays[0]
    shape = tuple(map(max, zip(*(array.shape[1:] for array in arrays), strict=True)))
    arrays = [_widened(array, shape) for array in arrays]
    return np.concatenate([*arrays, *[arrays[-1][:1]] * num_padding])


def _widened(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The rows of ``array`` in ``shape``, filled up with its first element."""
    if array.shape[1:] == shape:
        return array
    if not array.size:
        raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
    wide = np.empty((len(array), *shape), array.dtype)
    wide[...] = array.flat[0]
    wide[tuple(map(slice, array.shape))] = array
    return wide
