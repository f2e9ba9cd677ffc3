"""Boxes around what is seen in a picture: area and overlap, their codes, anchors, suppression of those that overlap.

A box is `(y_min, x_min, y_max, x_max)`, as TFDS writes it, in any unit: 0..1 of the picture's height and width, or
pixels. Where two sets of boxes meet, both are in the same unit. A box without height or width is empty: its area is 0,
it overlaps with nothing, and it serves as padding where a number of boxes has to be fixed. Backend-neutral.
"""

import math

import numpy as np
from keras import ops

LONGEST_STEP = math.log(1000 / 16)
"""Most that a code may make a side grow, as a logarithm: what is 16 pixels long becomes 1000 at most."""
SECOND_STAGE = (10.0, 10.0, 5.0, 5.0)
"""Weights of `encode` where boxes correct proposals, as in the code of Girshick, "Fast R-CNN" (2015)."""
_BLOCK = (32, 256)
"""Least and most boxes that are compared with one another at once."""


def area(boxes):
    """Area of every box, `(..., 4)` → `(...)`, in the square of its unit."""
    y_min, x_min, y_max, x_max = ops.unstack(boxes, 4, axis=-1)
    return ops.maximum(y_max - y_min, 0) * ops.maximum(x_max - x_min, 0)


def intersection_over_union(boxes, others):
    """How much every box has in common with every other one: the area of both together that both share, 0..1.

    Args:
        boxes: float `(..., n, 4)`.
        others: float `(..., m, 4)`, in the same unit; leading axes are broadcast.

    Returns:
        Float `(..., n, m)`; 0 where one of the two is empty.
    """
    shared = _intersection(boxes[..., :, None, :], others[..., None, :, :])
    return _ratio(shared, area(boxes)[..., :, None] + area(others)[..., None, :])


def overlap_in_pairs(boxes, others):
    """Intersection over union of each box with the one at the same place, `(..., 4)` and `(..., 4)` → `(...)`."""
    return _ratio(_intersection(boxes, others), area(boxes) + area(others))


def _intersection(boxes, others):
    y_min, x_min, y_max, x_max = ops.unstack(boxes, 4, axis=-1)
    their_y_min, their_x_min, their_y_max, their_x_max = ops.unstack(others, 4, axis=-1)
    height = ops.minimum(y_max, their_y_max) - ops.maximum(y_min, their_y_min)
    width = ops.minimum(x_max, their_x_max) - ops.maximum(x_min, their_x_min)
    return ops.maximum(height, 0) * ops.maximum(width, 0)


def _overlap(boxes, others, threshold):
    """Whether intersection over union is above a threshold, `(..., n, 4)` and `(..., m, 4)` → bool `(..., n, m)`."""
    shared = _intersection(boxes[..., :, None, :], others[..., None, :, :])
    return shared > threshold * (area(boxes)[..., :, None] + area(others)[..., None, :] - shared)


def _ratio(shared, both):
    return ops.where(shared > 0, shared / ops.where(shared > 0, both - shared, 1), 0)


def clip(boxes, height=1.0, width=1.0):
    """The part of every box, `(..., 4)`, that lies in a picture of the given size, in the unit of the boxes."""
    return ops.clip(boxes, 0, np.array([height, width, height, width], "float32"))


def encode(boxes, anchors, weights=(1.0, 1.0, 1.0, 1.0)):
    """Boxes as what has to be done to anchors to get them.

    Girshick's parametrisation, in Ren et al., "Faster R-CNN" (2015), §3.1.2, eq. 2: how far the centre moves, in
    heights and widths of the anchor, and the logarithm of how much height and width grow.

    Args:
        boxes: float `(..., 4)`.
        anchors: float `(..., 4)`, in the same unit.
        weights: what the four numbers are multiplied by, in the order of the result: (10, 10, 5, 5) makes the small
            corrections of a second stage as large as those of a first one.

    Returns:
        `(t_y, t_x, t_h, t_w)` float `(..., 4)`. Finite also where a box or an anchor is empty.
    """
    y, x, height, width = _centres(boxes)
    anchor_y, anchor_x, anchor_height, anchor_width = _centres(anchors)
    moves = [(y - anchor_y) / anchor_height, (x - anchor_x) / anchor_width]
    growth = [ops.log(height / anchor_height), ops.log(width / anchor_width)]
    return ops.stack([*moves, *growth], axis=-1) * np.array(weights, "float32")


def decode(deltas, anchors, weights=(1.0, 1.0, 1.0, 1.0)):
    """The boxes that `encode` wrote: its inverse.

    Args:
        deltas: float `(..., 4)`.
        anchors: float `(..., 4)`; leading axes are broadcast.
        weights: what was given to `encode`.

    Returns:
        Float `(..., 4)`, in the unit of the anchors. No side grows more than 62.5 times, `LONGEST_STEP`, as in
        torchvision: a network's first answers may be anything.
    """
    t_y, t_x, t_height, t_width = ops.unstack(deltas / np.array(weights, "float32"), 4, axis=-1)
    anchor_y, anchor_x, anchor_height, anchor_width = _centres(anchors)
    y, x = anchor_y + t_y * anchor_height, anchor_x + t_x * anchor_width
    height = anchor_height * ops.exp(ops.minimum(t_height, LONGEST_STEP))
    width = anchor_width * ops.exp(ops.minimum(t_width, LONGEST_STEP))
    return ops.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], axis=-1)


def _centres(boxes):
    """Centre, height and width; no side is shorter than 1e-6, so that it can be divided by."""
    y_min, x_min, y_max, x_max = ops.unstack(boxes, 4, axis=-1)
    height, width = ops.maximum(y_max - y_min, 1e-6), ops.maximum(x_max - x_min, 1e-6)
    return (y_min + y_max) / 2, (x_min + x_max) / 2, height, width


def encode_in_cells(boxes):
    """Boxes as what is to be said of them in the cells of a grid that lies over the picture.

    Redmon et al., "You Only Look Once" (2016), §2 and §2.2: the centre from the cell's upper left corner on, in widths
    and heights of the cell, and the square roots of width and height.

    Args:
        boxes: float `(batch, rows, columns, n, 4)` in 0..1 of the picture's height and width.

    Returns:
        `(x, y, root of the width, root of the height)` of the paper, float `(batch, rows, columns, n, 4)`. x and y are
        in 0..1 where the centre lies in the cell.
    """
    y, x, height, width = _centres(boxes)
    row, column, rows, columns = _cells(boxes)
    return ops.stack([x * columns - column, y * rows - row, ops.sqrt(width), ops.sqrt(height)], axis=-1)


def decode_in_cells(numbers):
    """The boxes that `encode_in_cells` wrote, in 0..1 of the picture's height and width: its inverse."""
    x, y, root_width, root_height = ops.unstack(numbers, 4, axis=-1)
    row, column, rows, columns = _cells(numbers)
    y, x = (row + y) / rows, (column + x) / columns
    height, width = ops.square(root_height), ops.square(root_width)
    return ops.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], axis=-1)


def _cells(numbers):
    """Row and column of every cell, ready to be broadcast, and how many there are."""
    rows, columns = numbers.shape[1:3]
    row = np.arange(rows, dtype="float32").reshape(rows, 1, 1)
    return row, np.arange(columns, dtype="float32").reshape(columns, 1), rows, columns


def anchors(map_size, stride, sizes, aspect_ratios):
    """The boxes that a network starts from: at every place of a feature map one of each size and aspect ratio.

    Ren et al., "Faster R-CNN" (2015), §3.1.1, as torchvision has it: they are centred on the upper left corner of the
    place, and their sides are rounded to even pixels.

    Args:
        map_size: height and width of the map, in places.
        stride: pixels from one place to the next.
        sizes: square roots of the anchors' areas, in pixels.
        aspect_ratios: height divided by width.

    Returns:
        NumPy float32 `(height * width * len(aspect_ratios) * len(sizes), 4)`, in pixels: row by row, place by place,
        aspect ratio by aspect ratio.
    """
    roots = np.sqrt(np.array(aspect_ratios, "float32"))[:, None]
    scales = np.array(sizes, "float32")
    half = np.stack([roots * scales, scales / roots], axis=-1).reshape(-1, 2) / 2
    around_zero = np.concatenate([-half, half], axis=1).round()
    y, x = np.meshgrid(*(np.arange(count, dtype="float32") * stride for count in map_size), indexing="ij")
    places = np.stack([y, x, y, x], axis=-1).reshape(-1, 1, 4)
    return (places + around_zero).reshape(-1, 4)


def non_max_suppression(boxes, scores, max_outputs, iou_threshold=0.5, score_threshold=None):
    """Of boxes that overlap, those with the highest scores: greedy, one picture or class for itself.

    The box with the highest score is taken, all that overlap with it are dropped, and so on with what is left. The
    work goes in blocks of descending score: a block's boxes are compared with those already taken, and then with one
    another until nothing changes, which is the same as one after the other.

    Args:
        boxes: float `(batch, n, 4)`, in any unit.
        scores: float `(batch, n)`; a box with the score -inf or NaN is never taken.
        max_outputs: most boxes that are taken, a number.
        iou_threshold: boxes overlap where their intersection over union is above it.
        score_threshold: boxes are only taken if their score is above it; None for all.

    Returns:
        Ids int32 `(batch, max_outputs)` of the boxes taken, in the order of their scores, of equal ones the lower id
        first; behind them -1. No gradient flows through them.
    """
    batch, count = ops.shape(boxes)[0], ops.shape(boxes)[1]
    scores = ops.stop_gradient(ops.cast(scores, "float32"))
    least = -np.inf if score_threshold is None else score_threshold
    scores, order = ops.top_k(ops.where(scores > least, scores, -np.inf), count)
    order = ops.cast(order, "int32")
    boxes = ops.take_along_axis(ops.stop_gradient(ops.cast(boxes, "float32")), order[:, :, None], axis=1)

    size = min(max(max_outputs, _BLOCK[0]), _BLOCK[1])
    size = max(min(size, count), 1) if isinstance(count, int) else size
    blocks = count // size + 1  # the last one has room for padding, also where there are no boxes at all
    rest = blocks * size - count
    boxes = ops.pad(boxes, [[0, 0], [0, rest], [0, 0]])
    scores = ops.pad(scores, [[0, 0], [0, rest]], constant_values=-np.inf)
    order = ops.pad(order, [[0, 0], [0, rest]])
    earlier = np.tri(size, k=-1, dtype=bool).T
    slots = np.arange(max_outputs, dtype="int32")

    def take_of_block(i, taken, taken_boxes, ids):
        start = i * size
        block = ops.slice(boxes, (0, start, 0), (batch, size, 4))
        legal = ops.slice(scores, (0, start), (batch, size)) > -np.inf
        free = ops.cast(legal & ~ops.any(_overlap(block, taken_boxes, iou_threshold), axis=-1), "float32")
        drops = ops.cast(_overlap(block, block, iou_threshold) & earlier, "float32")
        kept, _ = ops.while_loop(
            lambda kept, before: ops.any(kept != before),
            lambda kept, before: (free * ops.cast(ops.matmul(kept[:, None], drops)[:, 0] == 0, "float32"), kept),
            (free, free - 1),
        )
        # The kept ones come first, in their order: of equal numbers top_k gives the first one first.
        places = ops.cast(ops.top_k(kept, size)[1], "int32")
        found = ops.cast(ops.sum(kept, axis=1, keepdims=True), "int32")
        index = slots - taken
        place = ops.take_along_axis(places, ops.clip(index, 0, size - 1), axis=1)
        new = (index >= 0) & (index < found)
        ids = ops.where(new, ops.take_along_axis(ops.slice(order, (0, start), (batch, size)), place, axis=1), ids)
        its_boxes = ops.take_along_axis(block, place[:, :, None], axis=1)
        return i + 1, taken + found, ops.where(new[:, :, None], its_boxes, taken_boxes), ids

    def is_some_left(i, taken, *_):
        best = ops.slice(scores, (0, ops.minimum(i, blocks - 1) * size), (batch, 1))
        return (i < blocks) & ops.any((taken < max_outputs) & (best > -np.inf))

    *_, ids = ops.while_loop(
        is_some_left,
        take_of_block,
        (
            ops.convert_to_tensor(0, "int32"),
            ops.zeros((batch, 1), "int32"),
            ops.zeros((batch, max_outputs, 4)),
            ops.full((batch, max_outputs), -1, "int32"),
        ),
    )
    return ids
