"""The life of versions: start, load, serve, let go.

A source says which versions of a model it aspires to; the manager gets there without a gap. It loads a new version
before it lets go of the old one (TF Serving's availability_preserving_policy.cc), and lets go of a version only when
the last request on it has been answered. A version that failed to load stays failed until the source drops it.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from serving.embedded.status import Code, ServingError
from serving.protos import serving_pb2 as pb

log = logging.getLogger(__name__)

State = pb.ModelVersionStatus.State
"""START, LOADING, AVAILABLE, UNLOADING, END"""

LOOK_SECONDS = 0.5

Loader = Callable[[str, int, Path], object]
"""(model, version, folder) -> a servable with ``close()``; raises ServingError."""


@dataclass
class VersionStatus:
    """Where a version stands, and why it ended if it did not end well."""

    version: int
    state: int
    error: ServingError | None = None


@dataclass(eq=False)
class LoadedVersion:
    """A servable with its name, and a count of the requests that are using it."""

    model: str
    version: int
    servable: object
    _requests: int = 0
    _closing: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def acquire(self) -> bool:
        """Keeps the servable loaded until ``release``; False when it is being let go already."""
        with self._changed:
            self._requests += not self._closing
            return not self._closing

    def release(self) -> None:
        """Ends what ``acquire`` began."""
        with self._changed:
            self._requests -= 1
            if self._closing:
                self._changed.notify_all()

    def close(self) -> None:
        """Takes no new requests, waits for those under way, frees the servable."""
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: self._requests == 0)
        self.servable.close()


@dataclass
class _Version:
    """What the manager knows of one version. ``path`` is None when no source aspires to it any more."""

    status: VersionStatus
    path: Path | None
    loaded: LoadedVersion | None = None


class Manager:
    """Loads and lets go of versions in threads of its own; look-ups never wait for them."""

    def __init__(self, load: Loader, num_load_threads: int = 2, max_num_retries: int = 0, retry_interval: float = 60.0):
        self._load = load
        self._max_num_retries = max_num_retries
        self._retry_interval = retry_interval
        self._models: dict[str, dict[int, _Version]] = {}
        self._serving: Mapping[str, Mapping[int, LoadedVersion]] = {}  # replaced as a whole, read without a lock
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._workers = ThreadPoolExecutor(max(1, num_load_threads), thread_name_prefix="loader")

    def aspire(self, model: str, versions: Mapping[int, Path]) -> None:
        """Sets the versions of ``model`` that should be served, with their folders; none to serve it no longer."""
        with self._changed:
            known = self._models.setdefault(model, {})
            for version in known.keys() - versions.keys():
                known[version].path = None
            for version, path in versions.items():
                if version not in known or (known[version].path is None and known[version].status.state == State.END):
                    known[version] = _Version(VersionStatus(version, State.START), path)
                    log.info("%s: version %d found in %s", model, version, path)
                elif known[version].path is None:
                    known[version].path = path
            self._advance(model)

    def find(self, model: str, version: int | None = None) -> LoadedVersion | None:
        """The version being served, or the newest one; None where there is none."""
        versions = self._serving.get(model)
        if not versions:
            return None
        return versions.get(max(versions) if version is None else version)

    def statuses(self, model: str) -> list[VersionStatus]:
        """Where each known version of ``model`` stands, the newest first."""
        with self._changed:
            return [
                VersionStatus(version, known.status.state, known.status.error)
                for version, known in sorted(self._models.get(model, {}).items(), reverse=True)
            ]

    def models(self) -> list[str]:
        """The models that were ever aspired to."""
        with self._changed:
            return sorted(self._models)

    def knows(self, model: str) -> bool:
        """Whether the model was ever aspired to."""
        return model in self._models

    def is_settled(self, model: str) -> bool:
        """Whether every aspired version of ``model`` is available or has failed, and there is at least one."""
        with self._changed:
            aspired = [known for known in self._models.get(model, {}).values() if known.path is not None]
            return bool(aspired) and all(known.status.state in (State.AVAILABLE, State.END) for known in aspired)

    def wait_for(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        """Waits until ``condition`` holds, which may be about more than versions: it is looked at now and then.

        False when time ran out or the manager stopped.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not condition() and not self._stopping.is_set():
                left = LOOK_SECONDS if end is None else min(LOOK_SECONDS, end - time.monotonic())
                if left <= 0:
                    break
                self._changed.wait(left)
            return condition()

    def stop(self) -> None:
        """Lets go of everything, without waiting for loads under way."""
        self._stopping.set()
        with self._changed:
            self._serving = {}
            loaded = [known.loaded for versions in self._models.values() for known in versions.values() if known.loaded]
            self._changed.notify_all()
        self._workers.shutdown(wait=False, cancel_futures=True)
        for version in loaded:
            version.close()

    # What follows is called with the lock held, but for the two methods that the workers run.

    def _advance(self, model: str) -> None:
        """Takes every step that the policy allows now."""
        versions = self._models[model]
        for version in sorted(versions, reverse=True):
            known = versions[version]
            if known.path is not None and known.status.state == State.START:
                self._set_state(model, known, State.LOADING)
                self._workers.submit(self._load_version, model, known, known.path)
        for version in self._dispensable(versions):
            known = versions[version]
            self._set_state(model, known, State.UNLOADING)
            self._workers.submit(self._unload_version, model, known)

    @staticmethod
    def _dispensable(versions: Mapping[int, _Version]) -> list[int]:
        """Available versions that nobody aspires to; one is kept back while no aspired one is available."""
        aspired = [known for known in versions.values() if known.path is not None]
        unwanted = sorted(
            version
            for version, known in versions.items()
            if known.path is None and known.status.state == State.AVAILABLE
        )
        covered = not aspired or any(known.status.state == State.AVAILABLE for known in aspired)
        return unwanted if covered else unwanted[:-1]

    def _set_state(self, model: str, known: _Version, state: int, error: ServingError | None = None) -> None:
        known.status.state, known.status.error = state, error
        serving = {
            version: other.loaded
            for version, other in self._models[model].items()
            if other.status.state == State.AVAILABLE
        }
        self._serving = {**self._serving, model: serving}
        self._changed.notify_all()

    def _load_version(self, model: str, known: _Version, path: Path) -> None:
        version = known.status.version
        started = time.monotonic()
        servable, error = self._try_to_load(model, known, path)
        with self._changed:
            if servable is None:
                log.error("%s: version %d cannot be loaded: %s", model, version, error)
                self._set_state(model, known, State.END, error)
            else:
                log.info("%s: version %d loaded in %.2f s", model, version, time.monotonic() - started)
                known.loaded = LoadedVersion(model, version, servable)
                self._set_state(model, known, State.AVAILABLE)
            if not self._stopping.is_set():
                self._advance(model)

    def _try_to_load(self, model: str, known: _Version, path: Path) -> tuple[object | None, ServingError | None]:
        for attempt in range(self._max_num_retries + 1):
            try:
                return self._load(model, known.status.version, path), None
            except ServingError as fault:
                error = fault
            except Exception as fault:  # whatever a damaged folder makes a loader raise, the others must go on serving
                error = ServingError(Code.INTERNAL, f"{type(fault).__name__}: {fault}")
            if attempt == self._max_num_retries or known.path is None or self._stopping.is_set():
                break
            log.warning("%s: version %d failed, trying again: %s", model, known.status.version, error)
            self._stopping.wait(self._retry_interval)
        return None, error

    def _unload_version(self, model: str, known: _Version) -> None:
        known.loaded.close()
        with self._changed:
            log.info("%s: version %d unloaded", model, known.status.version)
            known.loaded = None
            is_wanted_again = known.path is not None  # since the unloading began
            self._set_state(model, known, State.START if is_wanted_again else State.END)
            if not self._stopping.is_set():
                self._advance(model)
