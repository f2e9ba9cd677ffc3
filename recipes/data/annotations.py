"""What pictures are annotated with: the forms of masks and boxes, and what is wrong with bad ones.

A mask is a PNG of one channel, a class id per pixel; 255 means that a pixel is not judged. Boxes are float32
`(most, 6)`: y_min, x_min, y_max, x_max as shares 0..1 of height and width (TFDS' `BBoxFeature`), the class id, and 1
where a box is not judged, as of a crowd; rows behind a picture's own boxes have the class id -1.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import tensorflow as tf

VOID = 255
MOST_CLASSES = 255
NO_BOX = (0, 0, 0, 0, -1, 0)
FIELDS = len(NO_BOX)
LABEL, IGNORED = 4, 5
TOLERANCE = 1e-3  # of the picture: annotations are rounded
ACCEPTED_BOXES = '{"bbox": (boxes, 4), "label": (boxes,)}, boxes y_min, x_min, y_max, x_max in 0..1 of height and width'


def mask_png(mask: np.ndarray, where: str) -> bytes:
    """Class ids `(h, w)` or `(h, w, 1)` → a PNG.

    Raises:
        ValueError: no whole numbers 0..255, or another shape.
    """
    mask = np.asarray(mask)
    mask = mask[..., 0] if mask.ndim == 3 and mask.shape[-1] == 1 else mask
    if mask.ndim != 2 or mask.dtype.kind not in "iub":
        raise ValueError(
            f"{where} must be class ids, whole numbers (height, width). Received {mask.dtype} of shape {mask.shape}."
        )
    if mask.size and not 0 <= mask.min() <= mask.max() <= VOID:
        raise ValueError(
            f"{where} must hold class ids 0..{MOST_CLASSES - 1}, or {VOID} where nothing is judged. "
            f"Received ids from {mask.min()} to {mask.max()}."
        )
    file = io.BytesIO()
    PIL.Image.fromarray(mask.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def read_mask(png: bytes, size: tuple[int, int], where: str) -> np.ndarray:
    """The class ids of a mask, uint8 `(h, w)`.

    Raises:
        ValueError: it is no picture of one channel, or of another size than its picture.
    """
    try:
        with PIL.Image.open(io.BytesIO(png)) as image:
            mask = np.asarray(image)
    except Exception as error:  # PIL raises SyntaxError, struct.error, zlib.error, … for damaged files
        raise ValueError(f"{where} is no readable picture: {type(error).__name__}.") from None
    if mask.ndim != 2 or mask.dtype not in (np.uint8, np.bool_):
        raise ValueError(f"{where} must have one channel of 8 bits. Received {mask.dtype} of shape {mask.shape}.")
    if mask.shape != tuple(size):
        raise ValueError(
            f"{where} must have the size of its picture as it is stored, {size[0]}x{size[1]}. "
            f"Received: {mask.shape[0]}x{mask.shape[1]}."
        )
    return mask.astype(np.uint8)


def rows_of_boxes(objects: Mapping[str, Any], where: str) -> np.ndarray:
    """Boxes as given → float32 `(boxes, 6)`; those without any area are left out.

    Args:
        objects: `bbox` `(boxes, 4)` and `label` `(boxes,)`; perhaps `is_crowd`, `(boxes,)`, of those not judged.
        where: which picture's, for the message.

    Raises:
        ValueError: another structure, NaN, a box outside of the picture, or one whose end lies before its beginning.
    """
    if not isinstance(objects, Mapping) or not {"bbox", "label"} <= objects.keys():
        found = ", ".join(map(str, objects)) if isinstance(objects, Mapping) else type(objects).__name__
        raise ValueError(f"{where} must have its boxes as {ACCEPTED_BOXES}. Received: {found}.")
    boxes, labels = np.asarray(objects["bbox"], np.float32), np.asarray(objects["label"])
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    labels = labels.astype(np.int64) if labels.size == 0 else labels
    if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{where} must have its boxes as {ACCEPTED_BOXES}. Received: bbox of shape {boxes.shape}, "
            f"label {labels.dtype} of shape {labels.shape}."
        )
    for box in boxes:
        shown = np.array2string(box, precision=4, separator=", ")
        if not np.isfinite(box).all() or box.min() < -TOLERANCE or box.max() > 1 + TOLERANCE:
            hint = " Of pixels, divide by height and width." if np.isfinite(box).all() and box.max() > 2 else ""
            raise ValueError(f"{where} has a box that does not lie in the picture, 0..1. Received: {shown}.{hint}")
        if (box[:2] > box[2:]).any():
            raise ValueError(
                f"{where} has a box whose end lies before its beginning. Received: {shown}. Accepted: y_min, x_min, "
                "y_max, x_max."
            )
    ignored = np.broadcast_to(np.asarray(objects.get("is_crowd", False), bool), labels.shape)
    found = np.concatenate([np.clip(boxes, 0, 1), labels[:, np.newaxis], ignored[:, np.newaxis]], axis=1)
    return found[(boxes[:, :2] < boxes[:, 2:]).all(axis=1)].astype(np.float32)


def padded(boxes: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Rows of boxes of n pictures → float32 `(n, most, 6)`."""
    found = np.broadcast_to(np.float32(NO_BOX), (len(boxes), most, FIELDS)).copy()
    for row, each in zip(found, boxes, strict=True):
        row[: len(each)] = each
    return found


def check_label(lowest: int, highest: int, num_classes: int, where: str) -> None:
    """Raise ValueError unless class ids lie in 0..num_classes-1."""
    if lowest < 0 or highest >= num_classes:
        raise ValueError(
            f"{where} has the class id {lowest if lowest < 0 else highest}. Accepted: 0..{num_classes - 1}, the ids of "
            f"{num_classes} classes."
        )


def padded_in_graph(bbox: tf.Tensor, label: tf.Tensor, is_crowd: tf.Tensor, most: int) -> tf.Tensor:
    """Boxes of one picture as TFDS reads them → float32 `(most, 6)`.

    Args:
        bbox: float `(n, 4)`.
        label: integers `(n,)`.
        is_crowd: bool or integers `(n,)`.
        most: rows.
    """
    corners = tf.clip_by_value(tf.reshape(tf.cast(bbox, tf.float32), [-1, 4]), 0, 1)
    rest = tf.stack([tf.cast(label, tf.float32), tf.cast(is_crowd, tf.float32)], axis=-1)
    rows = tf.concat([corners, tf.reshape(rest, [-1, 2])], axis=1)
    rows = tf.boolean_mask(rows, tf.reduce_all(rows[:, :2] < rows[:, 2:4], axis=1))
    filling = tf.broadcast_to(tf.constant(NO_BOX, tf.float32), [most - tf.shape(rows)[0], FIELDS])
    return tf.ensure_shape(tf.concat([rows, filling], 0), [most, FIELDS])
