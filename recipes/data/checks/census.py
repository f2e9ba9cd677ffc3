"""Which examples are the same: a digest of each is kept, and nothing else of it."""

import hashlib
from array import array
from collections.abc import Iterator, Sequence

import numpy as np

DIGEST = 16
"""Bytes of a digest: of a million examples two differ and share one with a probability of 1e-27."""


def digest(*contents) -> bytes:
    """BLAKE2b of some bytes, or of what has a buffer."""
    found = hashlib.blake2b(digest_size=DIGEST)
    for content in contents:
        found.update(content)
    return found.digest()


def groups(digests: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of examples that share a digest, int64, ascending, for every digest that several have.

    Args:
        digests: `(n,)` of fixed-length bytes.
    """
    if not len(digests):
        return
    order = np.argsort(digests, kind="stable")
    is_first = np.concatenate([[True], digests[order][1:] != digests[order][:-1]])
    starts = np.flatnonzero(is_first)
    ends = np.append(starts[1:], len(order))
    several = ends - starts > 1
    found = [order[start:end] for start, end in zip(starts[several], ends[several], strict=True)]
    yield from sorted(found, key=lambda group: group[0])


def repeats(parts: np.ndarray, count: int, same: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of every part, how many examples are copies of one before it, and how many are in an earlier part as well.

    Args:
        parts: number of each example's part.
        count: of parts.
        same: what `groups` gives.
    """
    copies, leaks = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for group in same:
        of_part = np.bincount(parts[group], minlength=count)
        copies += np.maximum(of_part - 1, 0)
        leaks[np.flatnonzero(of_part)[1:]] += of_part[of_part > 0][1:]
    return copies, leaks


class Census:
    """The examples of all parts, at about 50 bytes each."""

    def __init__(self):
        self._contents, self._stored = bytearray(), bytearray()
        self._parts, self._labels, self._numbers = array("b"), array("i"), array("q")

    def add(self, part: int, label: int, number: int, content: bytes, stored: bytes) -> None:
        """Count an example.

        Args:
            part: its number.
            label: its number, -1 for none.
            number: where the example stands in its source.
            content: digest of what training sees.
            stored: digest of how that is stored.
        """
        self._contents += content
        self._stored += stored
        self._parts.append(part)
        self._labels.append(label)
        self._numbers.append(number)

    @property
    def contents(self) -> np.ndarray:
        """Digests of what training sees, `(n,)`."""
        return np.frombuffer(self._contents, f"S{DIGEST}")

    @property
    def stored(self) -> np.ndarray:
        """Digests of how it is stored, `(n,)`."""
        return np.frombuffer(self._stored, f"S{DIGEST}")

    @property
    def parts(self) -> np.ndarray:
        """Numbers of the parts, `(n,)`."""
        return np.frombuffer(self._parts, np.int8)

    @property
    def labels(self) -> np.ndarray:
        """Numbers of the labels, `(n,)`."""
        return np.frombuffer(self._labels, np.int32)

    @property
    def numbers(self) -> np.ndarray:
        """Where the examples stand in their source, `(n,)`."""
        return np.frombuffer(self._numbers, np.int64)
