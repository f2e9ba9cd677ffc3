"""Answers that are pictures: PNGs, compared by their pixels."""

import io

import numpy as np
from PIL import Image

PNG = b"\x89PNG"


def are_pictures(array: np.ndarray) -> bool:
    """Whether strings are PNGs; empty ones fill up."""
    return array.dtype == object and any(array.flat) and all(not one or one.startswith(PNG) for one in array.flat)


def pixels(strings: np.ndarray | bytes) -> np.ndarray:
    """One PNG, or an array of them, as float64 levels 0..255 in one row; b"" has none."""
    found = [np.zeros(0)]
    for png in np.atleast_1d(np.asarray(strings, object)).flat:
        if png:
            with Image.open(io.BytesIO(png)) as image:
                found.append(np.asarray(image, np.float64).ravel())
    return np.concatenate(found)


def sizes(strings: np.ndarray | bytes) -> list[tuple[int, int, str]]:
    """Width, height and mode of each; (0, 0, "") for b"" and for what is no picture."""
    found = []
    for png in np.atleast_1d(np.asarray(strings, object)).flat:
        try:
            with Image.open(io.BytesIO(png)) as image:
                found.append((*image.size, image.mode))
        except OSError:
            found.append((0, 0, ""))
    return found
