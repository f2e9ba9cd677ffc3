"""What a check keeps of one example: digests and sizes."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from recipes.data.checks.census import digest
from recipes.data.pictures import decoded

Item = TypeVar("Item")

AT_ONCE = 256
"""Items that are given to the threads together."""


class Unusable(ValueError):
    """An example that training cannot use.

    Attributes:
        kind: a key of `report.ERRORS`.
        reason: in words.
    """

    def __init__(self, kind: str, reason: str = ""):
        super().__init__(reason)
        self.kind, self.reason = kind, reason


@dataclass(frozen=True)
class Seen:
    """What is kept of an example.

    Attributes:
        content: digest of what training sees.
        stored: digest of how that is stored.
        measures: name → number.
        remarks: keys of `report.REMARKS`.
    """

    content: bytes
    stored: bytes
    measures: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def picture(content: bytes) -> Seen:
    """A PNG or JPEG file, decoded as training does.

    Raises:
        Unusable: empty, or not decoded.
    """
    try:
        size, pixels = decoded(content)
    except ValueError as error:
        raise Unusable("corrupt" if content else "empty", str(error) if content else "") from None
    measures = {"height": size.height, "width": size.width, "channels": size.channels, "bytes": len(content)}
    return Seen(_of_pixels(pixels), digest(content), measures)


def pixels(array: np.ndarray) -> Seen:
    """A picture in memory, `(height, width, channels)`."""
    found = _of_pixels(array)
    return Seen(found, found, dict(zip(("height", "width", "channels"), array.shape, strict=True)))


def _of_pixels(array: np.ndarray) -> bytes:
    """Of the same pixels in grey and in colour, the same digest."""
    colour = np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array
    return digest(str(colour.shape).encode(), np.ascontiguousarray(colour))


def text(content: bytes, target: bytes = b"", may_be_empty: bool = False) -> Seen:
    """A text; blanks around it do not count.

    Args:
        content: the text.
        target: what belongs to it, where that is no class.
        may_be_empty: as a line of running text may.

    Raises:
        Unusable: nothing but blanks.
    """
    if not content.strip() and not may_be_empty:
        raise Unusable("empty", f"{len(content)} blanks" if content else "")
    try:
        characters, remarks = len(content.decode()), ()
    except UnicodeDecodeError:
        characters, remarks = len(content.decode(errors="replace")), ("encoding",)
    measures = {"characters": characters, "words": len(content.split())}
    behind = b"\0" + target if target else b""
    return Seen(digest(content.strip(), behind), digest(content, behind), measures, remarks)


def row(values: bytes, target: bytes = b"") -> Seen:
    """A row of a table.

    Args:
        values: its columns, as training sees them.
        target: what belongs to it, where that is no class.
    """
    found = digest(values, target)
    return Seen(found, found)


def several(items: Iterable[Item], inspect: Callable[[Item], Seen]) -> Iterator[tuple[Item, Seen | Unusable]]:
    """Every item and what is seen of it, in their order; several threads look at them."""

    def look(item: Item) -> tuple[Item, Seen | Unusable]:
        try:
            return item, inspect(item)
        except Unusable as unusable:
            return item, unusable

    items = iter(items)
    with ThreadPoolExecutor() as threads:
        while some := list(itertools.islice(items, AT_ONCE)):
            yield from threads.map(look, some)
