"""Random boxes, a padded truth, and slow statements of what is computed of boxes."""

import numpy as np


def some_boxes(*shape, seed=0, spread=0.6):
    """Boxes of which many overlap, in 0..1."""
    rng = np.random.default_rng(seed)
    centre, half = 0.2 + spread * rng.random((*shape, 2)), 0.02 + 0.15 * rng.random((*shape, 2))
    return np.concatenate([centre - half, centre + half], axis=-1).astype(np.float32)


def iou(a, b):
    """Intersection over union of two boxes."""
    height = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = height * width
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if shared else 0.0


def greedy(boxes, scores, max_outputs, threshold, least=-np.inf):
    """Suppression in one picture: the definition, word for word."""
    left = [i for i in np.argsort(-scores, kind="stable") if scores[i] > least]
    taken = []
    while left and len(taken) < max_outputs:
        taken.append(left.pop(0))
        left = [i for i in left if not iou(boxes[taken[-1]], boxes[i]) > threshold]
    return taken + [-1] * (max_outputs - len(taken))


LABELS = np.int32([[2, 0, 1, -1], [1, -1, -1, -1], [-1, -1, -1, -1]])
TRUTH = np.where(LABELS[..., None] >= 0, some_boxes(3, 4, seed=9, spread=0.8), 0)
"""Pictures of three boxes, of one, of none."""


def slow_match(anchors, boxes, labels, positive, negative, keep_best):
    """One picture, anchor by anchor."""
    real = [i for i in range(len(boxes)) if labels[i] >= 0]
    found = []
    for anchor in anchors:
        overlaps = {i: iou(boxes[i], anchor) for i in real}
        best = max(real, key=overlaps.get) if real else None
        most = overlaps[best] if real else 0
        found.append(best if most >= positive else -1 if most < negative else -2)
    for i in real if keep_best else []:
        overlaps = [iou(boxes[i], anchor) for anchor in anchors]
        for n, anchor in enumerate(anchors):
            if overlaps[n] == max(overlaps) > 0:
                found[n] = max(real, key=lambda j: iou(boxes[j], anchor))
    return found
