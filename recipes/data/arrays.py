"""NumPy arrays: tables [N] or [N, F], pictures [N, H, W] or [N, H, W, C]."""

import hashlib
from collections.abc import Mapping

import numpy as np

from recipes.data import columns, pictures, targets
from recipes.data.parts import Rows
from recipes.data.source import Source


def open_arrays(parts: Mapping[str, tuple], *, task: str, target: str | None = None) -> Source:
    """Open arrays. The fingerprint covers every value.

    Pictures of integers, or of floats above 1, have pixel values 0..255; floats in 0..1 are scaled already.

    Args:
        parts: "train", perhaps "validation" and "test" → `(x, y)`.
        task: fixes what y is: see `targets.class_ids` and `targets.values`.
        target: name of the target.

    Raises:
        ValueError: lengths or shapes that do not agree, NaN, infinities, pixels outside 0..255, or wrong targets.
    """
    x = {part: _inputs(part, pair[0]) for part, pair in parts.items()}
    y = {part: np.asarray(pair[1]) for part, pair in parts.items()}
    check_agreement(x, y)
    kind = "image" if x["train"].ndim > 2 else "table"
    targets.check_kind(kind, task)
    if kind == "image":
        x, pixels = scale(x)
        described = {"pixels": pixels, "image_shape": x["train"].shape[1:]}
    else:
        x = {part: _table(part, array) for part, array in x.items()}
        described = {"columns": columns.numbered(x["train"].shape[1])}
    if targets.is_classification(task):
        y, labels = targets.class_ids(y)
        targets.check_classes("arrays", np.bincount(y["train"], minlength=len(labels)), labels, task)
    else:
        y, labels = {part: targets.values(part, array) for part, array in y.items()}, None
    rows = {part: Rows(x[part], y[part]) for part in x}
    target = target or targets.default_name(task)
    return Source("arrays", kind, rows, target, fingerprint(rows, labels), labels=labels, **described)


def _inputs(part: str, x) -> np.ndarray:
    try:
        array = np.asarray(x)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"x of the {part} part is no array: {error}") from None
    if array.dtype.kind not in "iufb" or array.ndim not in (1, 2, 3, 4):
        raise ValueError(
            "x must be numbers of shape [N] or [N, F] (a table), [N, H, W] or [N, H, W, C] (pictures). "
            f"Received {array.dtype} of shape {array.shape} for the {part} part."
        )
    return array


def pictures_of(part: str, x) -> np.ndarray:
    """Pictures `(n, h, w)` or `(n, h, w, c)`.

    Raises:
        ValueError: anything else.
    """
    array = _inputs(part, x)
    if array.ndim < 3:
        raise ValueError(
            f"x must be pictures, [N, H, W] or [N, H, W, C]. Received {array.dtype} of shape {array.shape} for the "
            f"{part} part."
        )
    return array


def check_agreement(x: Mapping[str, np.ndarray], y: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError unless x and y have one entry per example, and all parts examples of one shape."""
    for part in x:
        if y[part].ndim == 0 or len(x[part]) != len(y[part]):
            raise ValueError(
                f"x and y of the {part} part must have one entry per example. "
                f"Received shapes {x[part].shape} and {y[part].shape}."
            )
        for name, arrays in (("x", x), ("y", y)):
            if arrays[part].shape[1:] != arrays["train"].shape[1:]:
                raise ValueError(
                    f"{name} of all parts must have one shape per example. Received {arrays['train'].shape[1:]} for "
                    f"the train part and {arrays[part].shape[1:]} for the {part} part."
                )


def _table(part: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes an infinity, and is told as one
        x = (x if x.ndim == 2 else x[:, np.newaxis]).astype(np.float32)
    targets.check_finite(f"x of the {part} part", x)
    return x


def scale(x: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """Pictures with a channel axis as uint8 0..255 or float32 0..1, one of the two for all parts; and which."""
    x = {part: array if array.ndim == 4 else array[..., np.newaxis] for part, array in x.items()}
    pictures.check_channels(x["train"].shape[-1], "the last axis of x")
    for part, array in x.items():
        targets.check_finite(f"x of the {part} part", array)
    full = [array for array in x.values() if array.size]
    pixels, divisor = pictures.pixel_range(
        x["train"].dtype,
        float(min((array.min() for array in full), default=0)),
        float(max((array.max() for array in full), default=0)),
    )
    if pixels == "uint8":
        return {part: array.astype(np.uint8) for part, array in x.items()}, pixels
    return {part: (array / divisor).astype(np.float32) for part, array in x.items()}, pixels


def fingerprint(parts: Mapping[str, Rows], *names: tuple[str, ...] | None) -> str:
    """SHA-256 over every value of every part, and over the names of classes or columns."""
    digest = hashlib.sha256(repr(names).encode())
    for part, rows in sorted(parts.items()):
        for array in (rows.x, rows.y):
            digest.update(f"{part} {array.dtype} {array.shape} ".encode())
            if array.dtype == object:  # of bytes
                digest.update(str([len(text) for text in array]).encode())
                digest.update(b"".join(array))
            else:
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
