"""What detectors are trained to make small, from their raw answers and the boxes that are really there.

The truth is padded: see `zoo.matching`. Every loss comes in parts, by name, each float32 `(batch,)`: one number for
each picture, with its weight already in it. The loss is the sum of the parts. Pictures without any box have one, too.
All is computed in float32. Backend-neutral.
"""

from keras import ops

from zoo import boxes as bx
from zoo.matching import assign_to_cells, match, responsible, sample, with_padding


def yolo_v1_losses(grid, boxes, labels, *, boxes_per_cell=2, coordinates=5.0, no_object=0.5):
    """The squared errors of a grid: Redmon et al., "You Only Look Once" (2016), §2.2, eq. 3.

    Args:
        grid: float `(batch, rows, columns, boxes_per_cell * 5 + classes)`, what the layer `logits` of `yolo_v1` gives:
            of every predictor x, y, the roots of width and height and the confidence, then the classes.
        boxes: float `(batch, m, 4)` in 0..1 of the picture's height and width.
        labels: int32 `(batch, m)`, -1 for padding.
        boxes_per_cell: predictors of each cell.
        coordinates, no_object: the paper's two weights.

    Returns:
        `position`, `size` and `confidence` of the responsible predictors, whose confidence is to be their overlap with
        the box; `no_object`: the confidence of all others; `classes` of the cells that hold a box.
    """
    boxes, labels = with_padding(boxes, labels)
    grid = ops.cast(grid, "float32")
    rows, columns, width = grid.shape[1:]
    predictions = ops.reshape(grid[..., : 5 * boxes_per_cell], (-1, rows, columns, boxes_per_cell, 5))
    numbers, confidence = predictions[..., :4], predictions[..., 4]

    index = assign_to_cells(boxes, labels, (rows, columns))
    holds = ops.cast(index >= 0, "float32")
    flat = ops.reshape(ops.maximum(index, 0), (-1, rows * columns))
    truth = ops.reshape(ops.take_along_axis(boxes, flat[:, :, None], axis=1), (-1, rows, columns, 4))
    label = ops.reshape(ops.take_along_axis(labels, flat, axis=1), (-1, rows, columns))

    chosen, overlap = responsible(bx.decode_in_cells(numbers), truth)
    chosen = ops.cast(chosen, "float32") * holds[..., None]
    errors = ops.square(numbers - bx.encode_in_cells(truth[:, :, :, None]))
    wanted = ops.one_hot(label, width - 5 * boxes_per_cell)
    return {
        "position": coordinates * _of_picture(chosen[..., None] * errors[..., :2]),
        "size": coordinates * _of_picture(chosen[..., None] * errors[..., 2:]),
        "confidence": _of_picture(chosen * ops.square(confidence - overlap)),
        "no_object": no_object * _of_picture((1 - chosen) * ops.square(confidence)),
        "classes": _of_picture(holds[..., None] * ops.square(grid[..., 5 * boxes_per_cell :] - wanted)),
    }


def yolo_v1_loss(grid, boxes, labels, **arguments):
    """The sum of `yolo_v1_losses`, which takes the same arguments: float32 `(batch,)`."""
    return sum(yolo_v1_losses(grid, boxes, labels, **arguments).values())


def rpn_losses(
    objectness,
    deltas,
    anchors,
    boxes,
    labels,
    *,
    seed,
    count=256,
    positive_fraction=0.5,
    positive=0.7,
    negative=0.3,
    beta=1 / 9,
):
    """What the first stage of Faster R-CNN gets wrong: Ren et al., "Faster R-CNN" (2015), §3.1.2, eq. 1.

    Both parts are divided by the number of anchors that are sampled, as in torchvision, instead of weighing the second
    one by 10 over the number of places.

    Args:
        objectness: float `(batch, a)`, logits of all anchors.
        deltas: float `(batch, a, 4)`, what is to be done to them.
        anchors: float `(a, 4)`.
        boxes: float `(batch, m, 4)` in the unit of the anchors.
        labels: int32 `(batch, m)`, -1 for padding.
        seed: a `keras.random.SeedGenerator`, or a number, for the same anchors every time.
        count: anchors of each picture to learn from.
        positive_fraction: at most this part of them are on an object.
        positive, negative: least overlap of those on an object, and what it is below for background.
        beta: error from which on it counts linearly.

    Returns:
        `objectness`: cross-entropy; `proposals`: smooth L1 of the deltas of anchors on objects.
    """
    boxes, labels = with_padding(boxes, labels)
    matched = match(anchors, boxes, labels, positive=positive, negative=negative, keep_best=True)
    ids = sample(matched, count, positive_fraction, seed=seed)
    place = ops.maximum(ids, 0)
    sampled = ops.cast(ids >= 0, "float32")
    box = ops.take_along_axis(matched, place, axis=1)
    on_object = sampled * ops.cast(box >= 0, "float32")

    logits = ops.take_along_axis(ops.cast(objectness, "float32"), place, axis=1)
    entropy = sampled * ops.softplus(ops.where(box >= 0, -logits, logits))
    truth = ops.take_along_axis(boxes, ops.maximum(box, 0)[:, :, None], axis=1)
    target = bx.encode(truth, ops.take(ops.cast(anchors, "float32"), place, axis=0))
    answer = ops.take_along_axis(ops.cast(deltas, "float32"), place[:, :, None], axis=1)
    distance = on_object[..., None] * smooth_l1(answer - target, beta)
    number = ops.maximum(ops.sum(sampled, axis=1), 1)
    return {"objectness": _of_picture(entropy) / number, "proposals": _of_picture(distance) / number}


def roi_losses(class_logits, deltas, classes, targets, *, beta=1 / 9):
    """What the second stage of Faster R-CNN gets wrong: Girshick, "Fast R-CNN" (2015), §2.3, eq. 1.

    Both parts are divided by the number of proposals that are sampled, as in torchvision.

    Args:
        class_logits: float `(batch, r, 1 + classes)`, background first.
        deltas: float `(batch, r, 1 + classes, 4)`, what is to be done to a proposal if it is of a class.
        classes: int32 `(batch, r)`: 0 for background, 1 + label for an object, -1 for padding.
        targets: float `(batch, r, 4)`, what is to be done to proposals of objects; `matching.sample_proposals` gives
            both.
        beta: error from which on it counts linearly.

    Returns:
        `classes`: cross-entropy; `boxes`: smooth L1 of the deltas of the true class.
    """
    sampled, on_object = (ops.cast(classes >= least, "float32") for least in (0, 1))
    index = ops.maximum(classes, 0)
    logs = ops.log_softmax(ops.cast(class_logits, "float32"), axis=-1)
    entropy = -sampled * ops.take_along_axis(logs, index[..., None], axis=-1)[..., 0]
    answer = ops.take_along_axis(ops.cast(deltas, "float32"), index[..., None, None], axis=2)[:, :, 0]
    distance = on_object[..., None] * smooth_l1(answer - ops.stop_gradient(targets), beta)
    number = ops.maximum(ops.sum(sampled, axis=1), 1)
    return {"classes": _of_picture(entropy) / number, "boxes": _of_picture(distance) / number}


def smooth_l1(errors, beta):
    """Squares of small errors, sizes of large ones: Girshick, "Fast R-CNN" (2015), eq. 3.

    `e² / (2 beta)` where `|e| < beta`, else `|e| - beta / 2`; the paper's beta is 1, that of torchvision 1/9.
    """
    size = ops.abs(errors)
    return ops.where(size < beta, 0.5 * ops.square(errors) / beta, size - 0.5 * beta)


def _of_picture(errors):
    """Sum over everything but the first axis."""
    return ops.sum(ops.reshape(errors, (ops.shape(errors)[0], -1)), axis=1)
