"""Settings of a server that are worth trying: how many threads an op may take, and what is batched."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from serving.deployment import text_protos

BATCHING_FILE = "batching_params.pbtxt"

_BATCH_SIZES = 8, 32
_WAITS = 0, 1000  # microseconds, and a tenth of the latency that is allowed


@dataclass(frozen=True)
class Batching:
    """Requests of up to ``rows`` rows together are computed at once; the first waits ``wait_micros`` for others."""

    rows: int
    wait_micros: int
    threads: int

    def __str__(self) -> str:
        return f"batches of {self.rows}, waiting {self.wait_micros / 1e3:g} ms"


@dataclass(frozen=True)
class Setting:
    """How a server is started; as it comes, where nothing is set. ``op_threads`` is how many threads an op may take."""

    op_threads: int | None = None
    batching: Batching | None = None

    def __str__(self) -> str:
        threads = f"{self.op_threads} thread{'s' * (self.op_threads > 1)} an op" if self.op_threads else ""
        return ", ".join(filter(None, (threads, str(self.batching or "")))) or "as it comes"

    def flags(self, batching_file: str = BATCHING_FILE) -> dict[str, str | int | bool]:
        """The server's flags; ``batching_file`` is where ``files`` are."""
        flags: dict[str, str | int | bool] = {}
        if self.op_threads:
            flags["tensorflow_intra_op_parallelism"] = self.op_threads
        if self.batching:
            flags |= {"enable_batching": True, "batching_parameters_file": batching_file}
        return flags

    def files(self) -> dict[str, str]:
        """What the flags refer to: the text of each file by name."""
        if self.batching is None:
            return {}
        asked = self.batching
        return {BATCHING_FILE: text_protos.batching_config(asked.rows, asked.wait_micros, asked.threads)}


def with_threads(cores: int) -> Iterator[Setting]:
    """Fewer threads for an op than there are cores: several requests compute side by side."""
    for threads in dict.fromkeys((1, cores // 2)):
        if 0 < threads < cores:
            yield Setting(op_threads=threads)


def with_batching(best: Setting, cores: int, limit_ms: float) -> Iterator[Setting]:
    """The best setting so far, and batches of several sizes and waits beside it."""
    waits = dict.fromkeys((*_WAITS, round(limit_ms * 100)))
    for rows in _BATCH_SIZES:
        for wait in waits:
            yield replace(best, batching=Batching(rows, wait, cores))
