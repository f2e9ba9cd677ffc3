"""COCO's average precision, by COCO's own code."""

import contextlib
import io
from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from recipes.data.annotations import IGNORED, LABEL

NAMES = {0: "ap", 1: "ap50", 2: "ap75", 3: "ap_small", 4: "ap_medium", 5: "ap_large", 8: "ar100"}
"""Of COCO's twelve figures, those that are given, by their places."""


def average_precision(
    truth: Sequence[np.ndarray], answers: Mapping[str, np.ndarray], sizes: np.ndarray, num_classes: int
) -> dict[str, float]:
    """COCO's figures (https://cocodataset.org/#detection-eval), each 0..1.

    `ap` is the average precision at intersections over union of 0.5 to 0.95, averaged over these and the classes that
    occur; `ap50` and `ap75` at one; `ap_small`, `_medium` and `_large` of objects below 32², up to 96² and above that
    many pixels; `ar100` the recall that 100 detections of a picture reach. Those without an object are left out.

    Args:
        truth: of each picture the rows of its boxes, as `recipes.data.annotations` has them.
        answers: `boxes` `(n, m, 4)` in pixels, `scores` and `class_ids` `(n, m)`; a score of 0 is no detection.
        sizes: height and width of each picture in pixels, `(n, 2)`.
        num_classes: how many classes there are.
    """
    annotations, found = [], []
    for picture, (rows, size) in enumerate(zip(truth, sizes, strict=True), 1):
        rows = rows[rows[:, LABEL] >= 0]
        scale = np.array([*size, *size], np.float64)
        for row, box in zip(rows, _as_coco(rows[:, :4] * scale), strict=True):
            record = _record(picture, int(row[LABEL]), box)
            annotations.append(
                {**record, "id": len(annotations) + 1, "area": box[2] * box[3], "iscrowd": int(row[IGNORED])}
            )
        some = answers["scores"][picture - 1] > 0
        boxes = _as_coco(answers["boxes"][picture - 1][some].astype(np.float64))
        of_picture = zip(
            boxes, answers["scores"][picture - 1][some], answers["class_ids"][picture - 1][some], strict=True
        )
        found += [{**_record(picture, int(label), box), "score": float(score)} for box, score, label in of_picture]
    with contextlib.redirect_stdout(io.StringIO()):  # it tells what it does
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(1, len(truth) + 1)],
            "annotations": annotations,
            "categories": [{"id": i + 1} for i in range(num_classes)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found) if found else _nothing(coco), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {name: float(evaluation.stats[place]) for place, name in NAMES.items()}
    return {name: value for name, value in figures.items() if value >= 0}


def _as_coco(boxes):
    """y_min, x_min, y_max, x_max → x, y, width, height."""
    y, x, bottom, right = np.reshape(boxes, (-1, 4)).T
    return np.stack([x, y, right - x, bottom - y], axis=1).tolist()


def _record(picture, label, box):
    return {"image_id": picture, "category_id": label + 1, "bbox": box}


def _nothing(coco):
    empty = COCO()
    empty.dataset = {**coco.dataset, "annotations": []}
    empty.createIndex()
    return empty
