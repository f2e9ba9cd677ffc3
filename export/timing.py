"""How long versions take to load and to answer: in one process, in turns, so that they meet the same machine."""

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from export import golden, loading, memory
from recipes.arrays import Arrays

LOAD, FIRST = "load", "first"
WARM_CALLS = 2
LEAST_ROUNDS, MOST_ROUNDS = 7, 300
SECONDS = 2.0
"""For the rounds of a signature at a batch size, all versions that are timed together."""


def key(signature: str, batch_size: int) -> str:
    """By which `measure` names what a signature takes at a batch size."""
    return f"{signature}@{batch_size}"


def measure(
    paths: Mapping[str, str | Path], examples: str | Path, batch_sizes: Sequence[int], seconds: float = SECONDS
) -> dict[str, Arrays]:
    """Load versions and companions, and ask them golden inputs.

    Args:
        paths: what to call a version or companion → its folder or file.
        examples: the version folder that holds the golden inputs.
        batch_sizes: how many of them to ask at once; from the top again where there are fewer.
        seconds: for the rounds of a signature at a batch size.

    Returns:
        Version → times in seconds: `load` and `first` (the first request of all), `(1,)`, and for every signature that
        it has and every batch size, by `key`, one for every round.
    """
    times: dict[str, dict[str, list[float]]] = {name: {} for name in paths}
    questions = {name: of_signature.inputs for name, of_signature in golden.load(Path(examples)).items()}
    with contextlib.ExitStack() as stack:
        signatures = {}
        for version, path in paths.items():
            load = functools.partial(stack.enter_context, loading.loaded(Path(path)))
            signatures[version] = _timed(times[version], LOAD, load)
            calls = [
                functools.partial(signatures[version][name], golden.rows(inputs, 1))
                for name, inputs in questions.items()
                if name in signatures[version]
            ]
            _timed(times[version], FIRST, calls[0])
            for call in calls[1:]:
                call()
            memory.give_back()  # what optimizing a graph held, before the next one is
        for name, inputs in questions.items():
            for size in batch_sizes:
                batch = golden.rows(inputs, size)
                those = [version for version in paths if name in signatures[version]]
                calls = {version: functools.partial(signatures[version][name], batch) for version in those}
                for version, found in _in_turns(calls, seconds).items():
                    times[version][key(name, size)] = found
    return {version: {name: np.array(found) for name, found in of.items()} for version, of in times.items()}


def _in_turns(calls: Mapping[str, Callable], seconds: float) -> dict[str, list[float]]:
    """What calls take, in seconds: each as often, one after the other."""
    times = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(WARM_CALLS):
            call()
    started, rounds = time.perf_counter(), 0
    while rounds < MOST_ROUNDS and (rounds < LEAST_ROUNDS or time.perf_counter() - started < seconds):
        # Whoever comes first differs from round to round, as does what the one before left in the caches.
        for name in list(calls) if rounds % 2 else list(calls)[::-1]:
            began = time.perf_counter()
            calls[name]()
            times[name].append(time.perf_counter() - began)
        rounds += 1
    return times


def _timed(times: dict[str, list[float]], name: str, call: Callable):
    started = time.perf_counter()
    result = call()
    times.setdefault(name, []).append(time.perf_counter() - started)
    return result
