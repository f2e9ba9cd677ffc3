"""A run's folder appears whole, or not at all."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recipes.run import HISTORY_FILE, METRICS_FILE

KEPT = ("samples*", "judge")
"""What a training that goes on has from the beginning: what the network made, and by what it is judged."""


@contextlib.contextmanager
def staged_run(
    final: Path,
    overwrite: bool,
    resumed: Path | None = None,
    keep_on: tuple[type[BaseException], ...] = (),
) -> Iterator[Path]:
    """Yield an empty folder beside `final`, which becomes `final` when the block ends.

    Args:
        final: the run's folder.
        overwrite: replace a finished Run that is there.
        resumed: the folder, `final` or that of a training that was killed, whose training goes on.
        keep_on: exceptions of the block after which what was written is kept all the same: in `final`, or, where that
            holds a finished Run, beside it.

    Raises:
        ValueError: `final` is taken.
        OSError: it cannot be written.
    """
    _check_free(final, overwrite or resumed is not None)
    final.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        for path in (path for pattern in KEPT for path in resumed.glob(pattern)) if resumed else ():
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, staging / path.name)
        yield staging
    except keep_on:
        if any(staging.iterdir()):
            if (final / METRICS_FILE).exists():
                raise  # without the cleaning below
            _replace(final, staging)
        shutil.rmtree(staging, ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _replace(final, staging)
    if resumed not in (None, final):
        shutil.rmtree(resumed, ignore_errors=True)


def _check_free(final: Path, overwrite: bool) -> None:
    if not final.exists():
        return
    if not final.is_dir():
        raise ValueError(f"run_dir {str(final)!r} is a file. Accepted: a folder, or a path where nothing is.")
    if (final / METRICS_FILE).exists():
        if not overwrite:
            raise ValueError(
                f"{final} holds a finished Run. Choose another run_dir, or overwrite it (overwrite=True, --overwrite)."
            )
    elif not (final / HISTORY_FILE).exists() and any(final.iterdir()):
        raise ValueError(f"{final} holds other files and no Run; they are not overwritten. Choose another run_dir.")


def _replace(final: Path, staging: Path) -> None:
    staging.chmod(0o755)  # mkdtemp makes it private
    if final.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{final.name}-old-", dir=final.parent))
        final.rename(old / final.name)
        staging.rename(final)
        shutil.rmtree(old)
    else:
        staging.rename(final)
