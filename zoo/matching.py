"""What a detector is to say of a picture, by the boxes that are really there. Backend-neutral, with static shapes.

The truth of a batch is padded to a fixed number m of boxes:

- `boxes`: float `(batch, m, 4)`, `(y_min, x_min, y_max, x_max)`, in the same unit as what they are compared with;
- `labels`: int32 `(batch, m)`, the class from 0 up, -1 where there is only padding. An empty box counts as padding.

A picture may hold no box at all, and m may be 0. Nothing here has a gradient.
"""

import keras
import numpy as np
from keras import ops

from zoo import boxes as bx

BACKGROUND, IGNORED = -1, -2
"""What `match` says of an anchor that fits no box, and of one about which nothing is said."""


def with_padding(boxes, labels):
    """The truth with one more box, of padding, so that there is something to look at in any case."""
    boxes = ops.stop_gradient(ops.cast(boxes, "float32"))
    return ops.pad(boxes, [[0, 0], [0, 1], [0, 0]]), ops.pad(
        ops.cast(labels, "int32"), [[0, 0], [0, 1]], constant_values=-1
    )


def are_real(boxes, labels):
    """Which of the boxes are more than padding: bool `(batch, m)`."""
    return (labels >= 0) & (bx.area(boxes) > 0)


def match(anchors, boxes, labels, *, positive, negative, keep_best=False):
    """The true box that every anchor, or proposal, has to find.

    Ren et al., "Faster R-CNN" (2015), §3.1.2; Girshick, "Fast R-CNN" (2015), §2.3.

    Args:
        anchors: float `(n, 4)`, or `(batch, n, 4)` where every picture has its own.
        boxes, labels: the truth, see the module.
        positive: an anchor has to find the box with which it overlaps most, if its intersection over union with that is
            at least this.
        negative: it is background if that is below this.
        keep_best: whether the anchors that overlap most with a box have to find the box they overlap most with,
            whatever the thresholds: otherwise nobody might have to find a small box. Anchors that do not touch
            it are left alone.

    Returns:
        Int32 `(batch, n)`: the index of the box, `BACKGROUND` or, in between, `IGNORED`.
    """
    boxes, labels = with_padding(boxes, labels)
    real = are_real(boxes, labels)[:, :, None]
    anchors = ops.stop_gradient(ops.cast(anchors, "float32"))
    overlap = ops.where(real, bx.intersection_over_union(boxes, anchors), -1)  # (batch, m, n)
    most = ops.max(overlap, axis=1)
    box = ops.cast(ops.argmax(overlap, axis=1), "int32")
    found = ops.where(most >= positive, box, ops.where(most < negative, BACKGROUND, IGNORED))
    if keep_best:
        best = (overlap == ops.max(overlap, axis=2, keepdims=True)) & (overlap > 0)
        found = ops.where(ops.any(best, axis=1), box, found)
    return found


def sample(matched, count, positive_fraction, *, seed):
    """A random few of the anchors of every picture to learn from, so that background does not outweigh all else.

    Ren et al., "Faster R-CNN" (2015), §3.1.3. Where there are fewer positive ones than wanted, background fills up.

    Args:
        matched: int32 `(batch, n)`, what `match` gives; n may be less than `count`.
        count: how many of each picture.
        positive_fraction: at most this part of them are positive.
        seed: a `keras.random.SeedGenerator`, or a number, for the same ones every time.

    Returns:
        Int32 `(batch, count)`: indices of the sampled, the positive ones first; behind them -1.
    """
    draw = keras.random.uniform(ops.shape(matched), seed=seed)
    most = int(count * positive_fraction)
    slot = np.arange(count, dtype="int32")

    def shuffled(wanted):
        """The first so many of what is wanted in random order, and how many there are."""
        keys = ops.pad(ops.where(wanted, draw, -1.0), [[0, 0], [0, count]], constant_values=-1.0)
        keys, ids = ops.top_k(keys, count)
        return ops.cast(ids, "int32"), ops.sum(ops.cast(keys >= 0, "int32"), axis=1, keepdims=True)

    positive, positives = shuffled(matched >= 0)
    background, backgrounds = shuffled(matched == BACKGROUND)
    positives = ops.minimum(positives, most)
    behind = slot - positives
    filling = ops.take_along_axis(background, ops.maximum(behind, 0), axis=1)
    return ops.where(behind < 0, positive, ops.where(behind < backgrounds, filling, -1))


def sample_proposals(proposals, boxes, labels, *, seed, count=512, positive_fraction=0.25, positive=0.5):
    """A random few proposals of every picture, with what the second stage has to say of them.

    Girshick, "Fast R-CNN" (2015), §2.3. As in all implementations since, the true boxes are among the proposals: at
    first, nothing else finds them.

    Args:
        proposals: float `(batch, r, 4)`; empty ones are padding.
        boxes, labels: the truth, see the module, in the unit of the proposals.
        seed: see `sample`.
        count: how many of each picture.
        positive_fraction: at most this part of them hold an object.
        positive: a proposal holds the object with which its intersection over union is at least this.

    Returns:
        rois: float32 `(batch, count, 4)`, the sampled boxes; empty where there were too few.
        classes: int32 `(batch, count)`: 0 for background, 1 + label for an object, -1 for padding.
        deltas: float32 `(batch, count, 4)`, the true boxes relative to the sampled ones, see `boxes.encode`, with the
            weights of the second stage; only those of objects mean anything.
    """
    boxes, labels = with_padding(boxes, labels)
    real = ops.cast(are_real(boxes, labels), "float32")[:, :, None]
    everything = ops.concatenate([ops.stop_gradient(ops.cast(proposals, "float32")), boxes * real], axis=1)
    matched = match(everything, boxes, labels, positive=positive, negative=positive)
    matched = ops.where(bx.area(everything) > 0, matched, IGNORED)
    ids = sample(matched, count, positive_fraction, seed=seed)
    place = ops.maximum(ids, 0)
    rois = ops.take_along_axis(everything, place[:, :, None], axis=1) * ops.cast(ids >= 0, "float32")[:, :, None]
    box = ops.take_along_axis(matched, place, axis=1)
    label = ops.take_along_axis(labels, ops.maximum(box, 0), axis=1)
    classes = ops.where(ids < 0, -1, ops.where(box < 0, 0, label + 1))
    truth = ops.take_along_axis(boxes, ops.maximum(box, 0)[:, :, None], axis=1)
    return rois, classes, bx.encode(truth, rois, bx.SECOND_STAGE)


def assign_to_cells(boxes, labels, grid):
    """The true box that every cell of a grid over the picture has to find: the one whose centre lies in it.

    Redmon et al., "You Only Look Once" (2016), §2. A cell finds one box: of several, the first that is listed.

    Args:
        boxes, labels: the truth, see the module, in 0..1 of the picture's height and width.
        grid: rows and columns.

    Returns:
        Int32 `(batch, rows, columns)`: the index of the box, -1 where there is none.
    """
    boxes, labels = with_padding(boxes, labels)
    rows, columns = grid
    y, x = (boxes[..., 0] + boxes[..., 2]) / 2, (boxes[..., 1] + boxes[..., 3]) / 2
    row = ops.clip(ops.cast(ops.floor(y * rows), "int32"), 0, rows - 1)
    column = ops.clip(ops.cast(ops.floor(x * columns), "int32"), 0, columns - 1)
    cell = ops.where(are_real(boxes, labels), row * columns + column, -1)
    inside = cell[:, :, None] == np.arange(rows * columns, dtype="int32")  # (batch, m, cells)
    first = ops.cast(ops.argmax(ops.cast(inside, "int32"), axis=1), "int32")
    return ops.reshape(ops.where(ops.any(inside, axis=1), first, -1), (-1, rows, columns))


def responsible(predicted, truth):
    """Which of a cell's predictors is to learn the cell's box: the one whose box overlaps most with it now.

    Redmon et al., "You Only Look Once" (2016), §2.2. Where none overlaps with it, as at the beginning, it is the one
    whose box is nearest, as in Darknet.

    Args:
        predicted: float `(batch, rows, columns, n, 4)`, boxes of the n predictors of each cell.
        truth: float `(batch, rows, columns, 4)`, the box of each cell.

    Returns:
        Bool `(batch, rows, columns, n)`: True for one predictor of every cell; and the overlap of each with the box,
        float32 of the same shape.
    """
    predicted, truth = ops.stop_gradient(predicted), ops.stop_gradient(truth)[:, :, :, None]
    overlap = bx.overlap_in_pairs(predicted, truth)
    distance = ops.sum(ops.square(predicted - truth), axis=-1)
    some = ops.any(overlap > 0, axis=-1, keepdims=True)
    best = ops.argmax(ops.where(some, overlap, -distance), axis=-1)
    return ops.cast(best, "int32")[..., None] == np.arange(predicted.shape[3], dtype="int32"), overlap
