"""What every kind of source hands over: its parts as they are, before anything is split off."""

from collections.abc import Mapping
from dataclasses import dataclass

from recipes.data.parts import Part


@dataclass(frozen=True)
class Source:
    """A data source that was opened and checked. The attributes mean what they mean in `recipes.data.Data`."""

    name: str
    kind: str
    parts: Mapping[str, Part]
    target: str
    fingerprint: str
    labels: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    image_shape: tuple[int | None, int | None, int] | None = None
    pixels: str | None = None
    continuous: bool = False
    license: str | None = None
