"""A run's folder appears whole, or not at all; until then it lies beside, where a training that is killed leaves it."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from recipes.run import HISTORY_FILE, METRICS_FILE

CHECKPOINTS, CHECKPOINT = "checkpoints", "step-*.npz"
KEPT = ("samples*", "judge")
"""What a training that goes on has from the beginning: what the network made, and by what it is judged."""


def staging_of(final: Path) -> Path:
    """The folder in which the Run for `final` is made."""
    return final.with_name(f".{final.name}.training")


def has_checkpoints(folder: Path) -> bool:
    """Whether a training in a folder has come as far as its first checkpoint."""
    return any((folder / CHECKPOINTS).glob(CHECKPOINT))


def is_stopped(final: Path) -> bool:
    """Whether for a run's folder there is a training that was stopped, and can go on."""
    finished = (final / METRICS_FILE).exists()
    return has_checkpoints(staging_of(final)) or (not finished and has_checkpoints(final))


@contextlib.contextmanager
def staged_run(
    final: Path,
    overwrite: bool,
    resume: bool = False,
    resumed: Path | None = None,
    keep_on: tuple[type[BaseException], ...] = (),
) -> Iterator[Path]:
    """Yield a folder beside `final`, which becomes `final` when the block ends.

    It is empty, but for what a training that goes on has from before. When the block fails, a folder with checkpoints
    stays, for another training to go on from.

    Args:
        final: the run's folder.
        overwrite: replace a finished Run, or a training that was stopped.
        resume: go on with such a training.
        resumed: the folder, `final` or the one beside it, of the checkpoint to go on from; None where there is none.
        keep_on: exceptions of the block after which what was written is kept in `final`, unless that holds a finished
            Run.

    Raises:
        ValueError: `final` is taken, or another process is making it.
        OSError: it cannot be written.
    """
    staging = staging_of(final)
    with _locked(staging, final):
        _check_free(final, overwrite, resume)
        _prepare(staging, resumed)
        try:
            yield staging
        except keep_on:
            if (final / METRICS_FILE).exists() or not any(staging.iterdir()):
                _discard(staging)
            else:
                _replace(final, staging)
            raise
        except BaseException:
            _discard(staging)
            raise
        _replace(final, staging)


@contextlib.contextmanager
def _locked(staging: Path, final: Path) -> Iterator[None]:
    """Keep other processes from making the same Run."""
    lock = FileLock(f"{staging}.lock")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(f"Another process is training for {final}. Choose another run_dir, or wait.") from None
    except OSError as error:
        raise type(error)(f"{final.parent} cannot be written: {error.strerror}. Choose another run_dir.") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _prepare(staging: Path, resumed: Path | None) -> None:
    """Make the folder, with what a training that goes on needs from before."""
    if resumed != staging:
        shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(exist_ok=True)
    kept = {path for pattern in (*KEPT, CHECKPOINTS) for path in staging.glob(pattern)}
    for path in set(staging.iterdir()) - kept:
        (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    if resumed not in (None, staging):
        for path in (path for pattern in KEPT for path in resumed.glob(pattern)):
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, staging / path.name)


def _discard(staging: Path) -> None:
    """Remove the folder, unless a training can go on from it."""
    if not has_checkpoints(staging):
        shutil.rmtree(staging, ignore_errors=True)


def _check_free(final: Path, overwrite: bool, resume: bool) -> None:
    if final.exists() and not final.is_dir():
        raise ValueError(f"run_dir {str(final)!r} is a file. Accepted: a folder, or a path where nothing is.")
    finished = (final / METRICS_FILE).exists()
    if not (overwrite or resume):
        others = "begin anew (overwrite=True, --overwrite), or choose another run_dir"
        if is_stopped(final):
            raise ValueError(
                f"A training for {final} was stopped. Go on with it (resume=True, --resume: the same command with "
                f"--resume), {others}."
            )
        if finished:
            raise ValueError(
                f"{final} holds a finished Run. Make it longer (resume=True, --resume, with more epochs), {others}."
            )
    known = finished or (final / HISTORY_FILE).exists() or has_checkpoints(final)
    if final.exists() and not known and any(final.iterdir()):
        raise ValueError(f"{final} holds other files and no Run; they are not overwritten. Choose another run_dir.")


def _replace(final: Path, staging: Path) -> None:
    if final.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{final.name}-old-", dir=final.parent))
        final.rename(old / final.name)
        staging.rename(final)
        shutil.rmtree(old)
    else:
        staging.rename(final)
