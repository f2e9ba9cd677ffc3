"""How far a long list is, for who waits for it at a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@contextlib.contextmanager
def bar(what: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Gives ``advance(count)``. Draws on standard error if that is a terminal and rich is installed."""
    progress = _progress() if shown and sys.stderr.isatty() else None
    if progress is None:
        yield lambda count: None
        return
    with progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _progress() -> Progress | None:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:  # the client is installed alone
        return None
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    )
