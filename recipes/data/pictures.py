"""Pictures: whether their bytes can be read, their sizes and channels, the range of their pixels."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import PIL.Image
import tensorflow as tf

CHANNELS = (1, 3, 4)
FORMATS = ("PNG", "JPEG")
GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B"}
ALPHA_MODES = {"RGBA", "PA", "RGBa"}


@dataclass(frozen=True)
class Picture:
    """Size in pixels and number of channels (1 grey, 3 colour, 4 colour with alpha) of an encoded picture."""

    height: int
    width: int
    channels: int


def examine(content: bytes) -> Picture:
    """Read a picture wholly, as `decoded` does; its pixels are not kept."""
    return decoded(content)[0]


def decoded(content: bytes) -> tuple[Picture, np.ndarray]:
    """A picture and its pixels, uint8 `(height, width, channels)`, by the decoder that training and serving use.

    Raises:
        ValueError: empty, neither PNG nor JPEG, or corrupt; says which.
    """
    if not content:
        raise ValueError("empty")
    try:
        with PIL.Image.open(io.BytesIO(content)) as image:
            encoding, picture = image.format, _described(image)
            image.verify()
    except Exception as error:  # PIL raises SyntaxError, struct.error, zlib.error, … for damaged files
        raise ValueError(f"no readable picture: {type(error).__name__}") from None
    if encoding not in FORMATS:
        raise ValueError(f"{encoding}, neither PNG nor JPEG")
    try:
        pixels = tf.io.decode_image(content, channels=picture.channels, expand_animations=False)
    except tf.errors.OpError:
        raise ValueError(f"damaged {encoding}") from None
    return picture, pixels.numpy()


def _described(image: PIL.Image.Image) -> Picture:
    if image.mode in GREY_MODES:
        channels = 1
    elif image.mode in ALPHA_MODES or (image.mode == "P" and "transparency" in image.info):
        channels = 4
    else:
        channels = 3
    return Picture(image.height, image.width, channels)


def common_shape(seen: Iterable[Picture]) -> tuple[int | None, int | None, int]:
    """Height, width (None where they differ) and channels of all pictures: 1 or 4 if all have them, else 3."""
    seen = set(seen)
    heights, widths, channels = ({getattr(p, name) for p in seen} for name in ("height", "width", "channels"))
    return (
        heights.pop() if len(heights) == 1 else None,
        widths.pop() if len(widths) == 1 else None,
        channels.pop() if len(channels) == 1 else 3,
    )


def check_channels(channels: int | None, where: str) -> None:
    """Raise ValueError unless there are 1, 3 or 4 channels."""
    if channels not in CHANNELS:
        raise ValueError(f"Pictures must have 1, 3 or 4 channels, in the last axis. Received {channels} in {where}.")


def pixel_range(dtype: np.dtype, lowest: float, highest: float) -> tuple[str, float]:
    """What the pixels are, "uint8" or "float", and what to divide floats by to have them in 0..1.

    Raises:
        ValueError: a value outside 0..255.
    """
    if lowest < 0 or highest > 255:
        raise ValueError(f"Pixels must be in 0..255, or in 0..1. Received values from {lowest:g} to {highest:g}.")
    if np.dtype(dtype).kind in "iu":
        return "uint8", 1.0
    return "float", 255.0 if highest > 1 else 1.0
