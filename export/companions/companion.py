"""What a companion is."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recipes.arrays import Arrays

if TYPE_CHECKING:  # it takes Keras, which those who ask a companion do without
    from export.rewriting.freezing import Frozen


class Unavailable(ValueError):
    """A model that a companion cannot express; the message says why."""


@dataclass(frozen=True)
class Companion:
    """A form of a model, and what runs it.

    Attributes:
        name: its name, which is also that of the extra that brings its packages.
        file: its name in a version folder.
        runs, makes: the package on PyPI that answers it, and those that it takes besides to make it.
        make: a graph whose one signature is `serving_default` → the file's bytes; raises `Unavailable`.
        load: the file → what answers inputs by name with outputs by name.
        example: lines of Python that ask it golden inputs, with `{inputs}` for the inputs by name.
        served: what to know of servers that load it, where there are any.
    """

    name: str
    file: str
    runs: str
    makes: tuple[str, ...]
    make: Callable[["Frozen"], bytes]
    load: Callable[[Path], Callable[[Arrays], Arrays]]
    example: str
    served: str = ""

    @property
    def packages(self) -> tuple[str, ...]:
        """All that it takes to make it, and to prove it."""
        return (self.runs, *self.makes)

    def lacks(self, packages: Sequence[str]) -> str | None:
        """A sentence that says which of these packages are not installed; None where all are."""
        missing = [package for package in packages if not installed(package)]
        if not missing:
            return None
        return (
            f"companion {self.name!r} takes {', '.join(packages)}. "
            f"Missing: {', '.join(missing)}. Accepted: pip install servable-zoo[{self.name}]."
        )


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package.replace("-", "_")) is not None
