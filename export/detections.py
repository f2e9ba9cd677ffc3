"""Detections: boxes with scores and classes, of which two right programs may give the nearly tied in another order."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from recipes.arrays import Arrays

BOXES, SCORES, CLASS_IDS = "boxes", "scores", "class_ids"


def in_order(answers: Arrays, expected: Arrays, allowed: Mapping[str, Any]) -> Arrays:
    """The answered detections in the order of the expected ones.

    An expected one is met by the nearest answered one of its class. One whose score lies within the tolerance of the
    least one there is may be missing, or be too many: whether it is answered, rounding decides. It is left out on both
    sides, which is done by answering what is expected.

    Args:
        answers, expected: `boxes` `(n, m, 4)`, `scores` and `class_ids` `(n, m)`, and what else is said of each.
        allowed: output → its tolerance.

    Returns:
        Every output that is said of detections, in order; what is not of such a shape, as it was.
    """
    if any(np.ndim(answers.get(name)) != expected[name].ndim for name in (BOXES, SCORES, CLASS_IDS)):
        return answers
    names = [name for name, array in expected.items() if array.shape[:2] == expected[SCORES].shape and name in answers]
    # Room for all of both: what has no partner is told by having one that is empty.
    wide = expected[SCORES].shape[1] + answers[SCORES].shape[1]
    ordered = {name: _wider(expected[name], wide) for name in names}
    given = {name: _wider(np.asarray(answers[name]), wide) for name in names}
    scores = expected[SCORES]
    least = scores[scores > 0].min(initial=1.0) + allowed[SCORES].absolute + allowed[SCORES].relative
    for row in range(len(scores)):
        partners = _partners(*({name: batch[name][row] for name in names} for batch in (given, ordered)))
        others = [j for j in np.flatnonzero(given[SCORES][row] > least) if j not in partners.values()]
        missing = [i for i in range(wide) if i not in partners and not 0 < ordered[SCORES][row, i] <= least]
        places = [*partners.items(), *zip(missing, [*others, *[None] * wide], strict=False)]
        for name in names:
            answered = given[name][row]
            for place, j in places:
                ordered[name][row, place] = _nothing(answered) if j is None else answered[j]
    return {**answers, **ordered}


def _nothing(array: np.ndarray):
    """What stands where there is no detection."""
    return b"" if array.dtype == object else 0


def _wider(array: np.ndarray, width: int) -> np.ndarray:
    """A copy that is so wide, filled up with zeros or empty strings."""
    whole = np.full((len(array), width, *array.shape[2:]), _nothing(array), array.dtype)
    whole[:, : array.shape[1]] = array
    return whole


def _partners(given: Arrays, wanted: Arrays) -> dict[int, int]:
    """Expected detection → the nearest answered one of its class that no better one has taken."""
    partners: dict[int, int] = {}
    scale = np.abs(wanted[BOXES]).max(initial=1e-6)
    free = set(np.flatnonzero(given[SCORES] > 0).tolist())
    for i in np.flatnonzero(wanted[SCORES] > 0).tolist():
        same = [j for j in free if given[CLASS_IDS][j] == wanted[CLASS_IDS][i]]
        if not same:
            continue
        apart = [
            np.abs(given[BOXES][j] - wanted[BOXES][i]).max() / scale + abs(given[SCORES][j] - wanted[SCORES][i])
            for j in same
        ]
        partners[i] = same[int(np.argmin(apart))]
        free.discard(partners[i])
    return partners
