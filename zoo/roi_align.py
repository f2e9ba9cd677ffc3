"""Features of boxes: what a map, or a pyramid of maps, holds inside of each, as grids of one size. Backend-neutral.

He, Gkioxari, Dollár, Girshick, "Mask R-CNN", ICCV (2017), §3 (RoIAlign), with torchvision's conventions:

- every box is divided into bins, and in each bin the map is read at `sampling_ratio` squared points, between its cells
  (bilinear); a bin's answer is their average;
- a point up to one cell outside of the map reads the border; what lies farther out reads zero;
- without `aligned`, a box is at least one cell high and wide, and a cell's number is read at its upper left corner,
  with it in its middle.

The same numbers come about in two ways, and which one is faster depends on the map: of a small one every row and column
gets its weight, and two products of matrices give the answer; of a large one only the cells that bear on a bin are
gathered.
"""

import math

import keras
import numpy as np
from keras import layers, ops

from zoo import boxes as bx

_SMALL = 2048
"""Cells up to which a map is multiplied as a whole."""


def roi_align(maps, boxes, output_size, sampling_ratio=2, aligned=False):
    """Features of boxes of one map.

    Args:
        maps: float `(batch, height, width, channels)`.
        boxes: float `(batch, n, 4)`, `(y_min, x_min, y_max, x_max)` in cells of the map: pixels divided by its stride.
            n may be unknown when the call is traced.
        output_size: bins of each box, a number or (down, across).
        sampling_ratio: points of a bin, in each of its two directions.
        aligned: whether a cell's number is read at the cell's middle: without a shift of half a cell.

    Returns:
        `(batch, n, *output_size, channels)` in the dtype of the maps, whose gradient it has; boxes get none.
    """
    down, across = _pair(output_size)
    _check(sampling_ratio)
    level = ops.zeros(ops.shape(boxes)[:2], "int32")
    return _align([maps], boxes, level, [1], (down, across), sampling_ratio, aligned)


def _align(pyramid, boxes, level, strides, output_size, samples, aligned):
    """Features of boxes in pixels, of which each is read off the level whose index it is given."""
    boxes = ops.stop_gradient(ops.cast(boxes, "float32"))
    large = [i for i, maps in enumerate(pyramid) if not _is_small(maps)]
    read = [
        _read_whole(maps, boxes / strides[i], ops.equal(level, i), output_size, samples, aligned)
        for i, maps in enumerate(pyramid)
        if i not in large
    ]
    if large:
        chosen = [pyramid[i] for i in large], [strides[i] for i in large]
        index = sum(position * ops.cast(ops.equal(level, i), "int32") for position, i in enumerate(large))
        mine = sum(ops.cast(ops.equal(level, i), "int32") for i in large) > 0
        read.append(_read_cells(*chosen, boxes, index, mine, output_size, samples, aligned))
    return sum(read[1:], read[0])


def _is_small(maps):
    return None not in maps.shape[1:3] and math.prod(maps.shape[1:3]) <= _SMALL


def _read_whole(maps, boxes, mine, output_size, samples, aligned):
    """Every cell of the map has a weight for every bin, most of them 0; boxes that are not `mine` get zeros."""
    batch, count = ops.shape(boxes)[:2]
    height, width, channels = maps.shape[1:]
    down, across = output_size
    y_min, x_min, y_max, x_max = ops.unstack(boxes, 4, axis=-1)

    def weights(start, end, length, bins):
        at, weight = _points(start, end, length, bins, samples, aligned)
        near = ops.maximum(1 - ops.abs(at[..., None] - np.arange(length, dtype="float32")), 0)
        return ops.sum(near * weight[..., None], axis=-2)  # (batch, n, bins, length)

    rows = ops.cast(weights(y_min, y_max, height, down) * ops.cast(mine, "float32")[:, :, None, None], maps.dtype)
    columns = ops.cast(weights(x_min, x_max, width, across), maps.dtype)
    of_rows = ops.matmul(
        ops.reshape(rows, (batch, count * down, height)), ops.reshape(maps, (batch, height, width * channels))
    )
    return ops.matmul(columns[:, :, None], ops.reshape(of_rows, (batch, count, down, width, channels)))


def _read_cells(pyramid, strides, boxes, index, mine, output_size, samples, aligned):
    """For every bin the cells that bear on it are gathered; boxes that are not `mine` get zeros."""
    batch, count = ops.shape(boxes)[:2]
    channels = pyramid[0].shape[-1]
    down, across = output_size
    sizes = [ops.shape(maps)[1:3] for maps in pyramid]
    height, width = (_of_level([size[axis] for size in sizes], index) for axis in (0, 1))
    stride = ops.cast(_of_level(strides, index), "float32")[..., None]
    y_min, x_min, y_max, x_max = ops.unstack(boxes / stride, 4, axis=-1)

    def corners(start, end, length, bins):
        at, weight = _points(start, end, ops.cast(length, "float32")[..., None, None], bins, samples, aligned)
        low = ops.floor(at)
        weight = ops.stack([weight * (low + 1 - at), weight * (at - low)], axis=-1)
        low = ops.cast(low, "int32")
        ids = ops.stack([low, ops.minimum(low + 1, length[..., None, None] - 1)], axis=-1)
        flat = (batch, count, bins, 2 * samples)
        return ops.reshape(ids, flat), ops.reshape(weight, flat)

    rows, row_weights = corners(y_min, y_max, height, down)
    columns, column_weights = corners(x_min, x_max, width, across)
    # All cells of the batch lie in one long list: of one picture after the other all of its levels.
    cells = [size[0] * size[1] for size in sizes]
    first = _of_level([sum(cells[:i]) for i in range(len(cells))], index)
    first = first + ops.arange(batch, dtype="int32")[:, None] * sum(cells)
    rows = first[..., None, None] + rows * width[..., None, None]
    flat = (batch, count, down * across, 4 * samples**2)
    ids = ops.reshape(rows[:, :, :, None, :, None] + columns[:, :, None, :, None, :], flat)
    row_weights = row_weights * ops.cast(mine, "float32")[..., None, None]
    weights = ops.reshape(row_weights[:, :, :, None, :, None] * column_weights[:, :, None, :, None, :], flat)
    listed = ops.concatenate([ops.reshape(m, (batch, -1, channels)) for m in pyramid], axis=1)
    gathered = ops.take(ops.reshape(listed, (-1, channels)), ids, axis=0)  # (batch, n, bins, cells, channels)
    answer = ops.matmul(ops.cast(weights, gathered.dtype)[..., None, :], gathered)
    return ops.reshape(answer, (batch, count, down, across, channels))


def _of_level(numbers, index):
    """For every box the number of its level, int32 like `index`."""
    return sum(number * ops.cast(ops.equal(index, i), "int32") for i, number in enumerate(numbers))


def _points(start, end, length, bins, samples, aligned):
    """Where an axis is read, in cells, and with which weight: twice `(batch, n, bins, samples)`."""
    if aligned:
        start, end = start - 0.5, end - 0.5
    extent = end - start if aligned else ops.maximum(end - start, 1)
    steps = (np.arange(bins * samples, dtype="float32") + 0.5).reshape(bins, samples) / (bins * samples)
    at = start[..., None, None] + extent[..., None, None] * steps
    weight = ops.cast((at >= -1) & (at <= length), "float32") / samples
    return ops.minimum(ops.maximum(at, 0), length - 1), weight


def _pair(output_size):
    pair = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"output_size must be a positive number, or two. Received: {output_size!r}.")
    return pair


def _check(sampling_ratio):
    if sampling_ratio < 1:
        raise ValueError(f"sampling_ratio must be 1 or more. Received: {sampling_ratio!r}.")


@keras.saving.register_keras_serializable("zoo")
class MultiScaleRoIAlign(layers.Layer):
    """Features of boxes, each read off the level of a pyramid that suits its size.

    Lin et al., "Feature Pyramid Networks for Object Detection", CVPR (2017), eq. 1: a box of height h and width w, in
    pixels, is read off level `canonical_level + log2(sqrt(h w) / canonical_size)`, rounded down, or the nearest one
    there is. Level k has the stride 2^k.

    It takes the levels, a list of `(batch, height, width, channels)`, the largest first, and boxes float32
    `(batch, n, 4)` in 0..1 of the picture's height and width; n may be None. It gives
    `(batch, n, *output_size, channels)`, in the dtype of the levels.

    Args:
        output_size: bins of each box, a number or (down, across).
        strides: pixels from one cell to the next of each level, powers of two, each twice the one before.
        picture_size: height and width of the picture, in pixels.
        sampling_ratio: points of a bin, in each of its two directions.
        canonical_size: what is as large as this, in pixels, is read off `canonical_level`.
        canonical_level: see above.
        aligned: see `roi_align`.
    """

    def __init__(
        self,
        output_size,
        strides,
        picture_size,
        sampling_ratio=2,
        canonical_size=224,
        canonical_level=4,
        aligned=False,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # boxes are not to be rounded to 16 bits
        self.output_size = _pair(output_size)
        self.strides = tuple(strides)
        lowest = int(math.log2(min(self.strides)))
        if self.strides != tuple(2 ** (lowest + i) for i in range(len(self.strides))):
            raise ValueError(
                "The strides of a pyramid must be powers of two, each twice the one before. "
                f"Received: {self.strides!r}. Accepted for instance: (4, 8, 16, 32)."
            )
        _check(sampling_ratio)
        self.picture_size = tuple(picture_size)
        self.sampling_ratio = sampling_ratio
        self.canonical_size, self.canonical_level = canonical_size, canonical_level
        self.aligned = aligned
        self.built = True

    def level_of(self, boxes):
        """Index of the level, from 0, that each of `boxes` `(..., 4)` in 0..1 is read off: int32 `(...)`."""
        size = ops.sqrt(ops.maximum(bx.area(self._in_pixels(boxes)), 1e-6))
        # torchvision adds the small number, for boxes whose size is the bound of a level.
        level = ops.floor(self.canonical_level + ops.log2(size / self.canonical_size) + 1e-6)
        lowest = int(math.log2(self.strides[0]))
        return ops.cast(ops.clip(level - lowest, 0, len(self.strides) - 1), "int32")

    def _in_pixels(self, boxes):
        return ops.cast(boxes, "float32") * np.array([*self.picture_size, *self.picture_size], "float32")

    def call(self, levels, boxes):
        if len(levels) != len(self.strides):
            raise ValueError(
                f"{self.name!r} reads {len(self.strides)} levels, of the strides {self.strides}. "
                f"Received: {len(levels)} levels."
            )
        return _align(
            levels,
            self._in_pixels(boxes),
            self.level_of(boxes),
            self.strides,
            self.output_size,
            self.sampling_ratio,
            self.aligned,
        )

    def compute_output_shape(self, levels_shape, boxes_shape):
        return (*boxes_shape[:2], *self.output_size, levels_shape[0][-1])

    def compute_output_spec(self, levels, boxes):
        shape = self.compute_output_shape([maps.shape for maps in levels], boxes.shape)
        return keras.KerasTensor(shape, dtype=levels[0].dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "output_size": self.output_size,
            "strides": self.strides,
            "picture_size": self.picture_size,
            "sampling_ratio": self.sampling_ratio,
            "canonical_size": self.canonical_size,
            "canonical_level": self.canonical_level,
            "aligned": self.aligned,
        }
