"""How far a check is, for who waits for it at a terminal."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def shown(items: Iterable[Item], total: int | None, what: str, verbose: bool) -> Iterator[Item]:
    """The items, with a bar on standard error if that is a terminal."""
    console = Console(stderr=True)
    disable = not (verbose and console.is_terminal)
    return track(items, what, total, console=console, transient=True, disable=disable)
