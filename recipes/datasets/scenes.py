"""Scenes of handwritten digits: scans enlarged, turned, coloured and scattered on canvases, each with its box and mask.

Drawn as `canvases` are: the same on every machine.
"""

import dataclasses
import functools
import math
from typing import Protocol

import numpy as np

from recipes.datasets import canvases, digits

NAMES = tuple(str(digit) for digit in range(10))
MASK_NAMES = ("background", *NAMES)
SEED = 0
EMPTY_EVERY = 50
PLACES = 15
"""Where a digit is tried before it is left out."""
CONTRAST, LEAST_CONTRAST = 75, 60
"""Between a digit's ink and what is around it, in grey levels of luminance: wanted, and needed."""

FRAME = 12
"""Cells of a scan's side with two empty ones around it."""
FINENESS = 8
"""Points of a cell's side in an enlarged scan."""
INK = 0.5
"""The share of ink from which a point of an enlarged scan belongs to the digit."""


class Settings(Protocol):
    """How scenes are made; see `digit_scenes.DigitScenesConfig`."""

    size: int
    digits: int
    scale: tuple[int, int]
    clutter: float
    overlap: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """A scene.

    Attributes:
        image: uint8 [size, size, 3].
        mask: uint8 [size, size], an id of `MASK_NAMES` per pixel.
        instances: int64 [size, size]: which digit a pixel is of, an index of `labels`, or -1.
        boxes: of each digit top, left, bottom and right in pixels, int64 [N, 4]; bottom and right are one past it.
        labels: the digits, int.
        scans: which scan each is, an index of scikit-learn's.
    """

    image: np.ndarray
    mask: np.ndarray
    instances: np.ndarray
    boxes: np.ndarray
    labels: list[int]
    scans: list[int]


def draw_scene(settings: Settings, part: str, index: int) -> Scene:
    """Draw scene number `index` of "train" or "test". It depends on these arguments alone."""
    random = np.random.RandomState([SEED, ("train", "test").index(part), index])
    canvas = canvases.draw_canvas(random, settings.size, part)
    canvases.draw_clutter(random, canvas, settings.clutter, settings.scale[1])
    layout, labels, drawn = Layout(settings.size, settings.overlap), [], []
    indices, _, classes = digits.scans(part)
    wanted = 0 if index % EMPTY_EVERY == EMPTY_EVERY // 5 else canvases.draw_int(random, 1, settings.digits + 1)
    for _ in range(wanted):
        scan = canvases.draw_int(random, len(classes))
        opacity = draw_digit(
            random, enlarged_scans(part)[scan], canvases.draw_int(random, settings.scale[0], settings.scale[1] + 1)
        )
        if _put(random, canvas, layout, opacity):
            labels.append(int(classes[scan]))
            drawn.append(int(indices[scan]))
    mask = np.append(np.array(labels, np.int64) + 1, 0)[layout.instances].astype(np.uint8)
    return Scene(canvases.add_noise(random, canvas), mask, layout.instances, layout.boxes, labels, drawn)


def _put(random, canvas, layout, opacity) -> bool:
    """Paint a digit where there is room and where its ink can be read; False if no such place is found."""
    height, width = opacity.shape
    for _ in range(PLACES):
        top, left = (
            canvases.draw_int(random, len(canvas) - height + 1),
            canvases.draw_int(random, len(canvas) - width + 1),
        )
        region = canvas[top : top + height, left : left + width]
        ink, contrast = canvases.draw_ink(random, region, CONTRAST)
        if contrast >= LEAST_CONTRAST and layout.place(opacity >= 0.5, top, left):
            canvases.paint(region, opacity, ink)
            return True
    return False


@functools.cache
def enlarged_scans(part: str) -> np.ndarray:
    """The scans of a part, each with two empty cells around it, as ink at 96 x 96 points: uint8 [N, 96, 96].

    Cubic convolution (Keys 1981, a = -1/2), in whole numbers: sixteenths of a cell make weights in 8192nds.
    """
    _, images, _ = digits.scans(part)
    matrix = np.zeros((FRAME * FINENESS, 8), np.int64)
    for point in range(len(matrix)):
        cell, rest = divmod(2 * point + 1 - FINENESS, 2 * FINENESS)
        for offset in (-1, 0, 1, 2):
            if 0 <= cell + offset - 2 < 8:
                matrix[point, cell + offset - 2] = _keys(abs(2 * FINENESS * offset - rest))
    unit = 2 * (2 * FINENESS) ** 3
    ink = np.einsum("yi,nij,xj->nyx", matrix, images.astype(np.int64), matrix, optimize=True)
    return np.clip((ink + unit**2 // 2) // unit**2, 0, 255).astype(np.uint8)


def _keys(distance: int) -> int:
    """Keys' kernel at so many sixteenths of a cell, in 8192nds."""
    one = 2 * FINENESS
    if distance <= one:
        return 3 * distance**3 - 5 * distance**2 * one + 2 * one**3
    if distance <= 2 * one:
        return -(distance**3) + 5 * distance**2 * one - 8 * distance * one**2 + 4 * one**3
    return 0


def draw_digit(random: np.random.RandomState, scan: np.ndarray, height: int) -> np.ndarray:
    """Draw a scan `height` pixels high, somewhat wider or narrower, turned by up to 14 degrees: its opacity.

    Args:
        random: where the choices come from.
        scan: of `enlarged_scans`, uint8 [96, 96].
        height: of the 8 cells, in pixels.

    Returns:
        float64 [H, W] in 0..1; where it is 0.5 or more there is ink, and some in the first and last row and column.
    """
    points_down = 8 * FINENESS / height
    points_across = points_down / random.uniform(0.8, 1.2)
    # The tangent t of half an angle gives its sine and cosine without trigonometry.
    t = random.uniform(-0.12, 0.12)
    cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    side = math.ceil(height * 1.5) + 2
    steps = np.arange(side) + 0.5 - side / 2
    down, across = steps[:, np.newaxis], steps
    middle = FRAME * FINENESS / 2 - 0.5
    ink = _between(
        scan,
        middle + (down * cosine + across * sine) * points_down,
        middle + (across * cosine - down * sine) * points_across,
    )
    # The edge is about two pixels wide, and at least so sharp or soft that the greys of the scan stay: its holes.
    sharpness = min(max(height / 16, 1.0), 2.2)
    opacity = np.clip((ink / 255 - INK) * sharpness + 0.5, 0, 1)
    top, left, bottom, right = tight_box(opacity >= 0.5)
    return opacity[top:bottom, left:right]


def _between(picture, y, x):
    """A picture at points between its own, from the four around each. Outside it there is no ink."""
    most = len(picture) - 2
    outside = (y < 0) | (y > most) | (x < 0) | (x > most)
    y, x = np.clip(y, 0, most), np.clip(x, 0, most)
    top, left = y.astype(np.int64), x.astype(np.int64)
    down, across = y - top, x - left
    upper = picture[top, left] * (1 - across) + picture[top, left + 1] * across
    lower = picture[top + 1, left] * (1 - across) + picture[top + 1, left + 1] * across
    return np.where(outside, 0, upper * (1 - down) + lower * down)


def tight_box(inside: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of the pixels that are true in [H, W]; bottom and right are one past them."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


class Layout:
    """Which digit each pixel is of, while one after the other is put down.

    Attributes:
        instances: int64 [size, size], the number of a digit or -1.
        boxes: of the visible ink of each digit, int64 [N, 4].
    """

    def __init__(self, size: int, overlap: float):
        self.instances = np.full((size, size), -1)
        self.boxes = np.zeros((0, 4), np.int64)
        self._overlap = overlap
        self._areas = np.zeros(0, np.int64)

    def place(self, ink: np.ndarray, top: int, left: int) -> bool:
        """Put down a digit, pixels with ink in bool [H, W]; or leave all as it is where it would cover too much."""
        box = np.array([[top, left, top + ink.shape[0], left + ink.shape[1]]])
        if (covered_shares(self.boxes, box) > self._overlap).any():
            return False
        instances = self.instances.copy()
        covered = instances[top : top + ink.shape[0], left : left + ink.shape[1]]
        touched = np.unique(covered[ink])
        covered[ink] = len(self.boxes)
        boxes = np.concatenate([self.boxes, box])
        for number in touched[touched >= 0]:
            visible = instances == number
            if np.count_nonzero(visible) < (1 - self._overlap) * self._areas[number]:
                return False
            boxes[number] = tight_box(visible)
        # A box that has become smaller is covered to a larger share.
        pairs = covered_shares(boxes, boxes)
        np.fill_diagonal(pairs, 0)
        if (pairs > self._overlap).any():
            return False
        self.instances, self.boxes = instances, boxes
        self._areas = np.append(self._areas, np.count_nonzero(ink))
        return True


def covered_shares(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How much of the smaller of two boxes the other covers, for boxes [N, 4] and [M, 4]: float64 [N, M]."""
    low = np.maximum(boxes[:, np.newaxis, :2], others[:, :2])
    high = np.minimum(boxes[:, np.newaxis, 2:], others[:, 2:])
    areas = [np.prod(given[:, 2:] - given[:, :2], axis=1) for given in (boxes, others)]
    return np.maximum(high - low, 0).prod(axis=2) / np.minimum(areas[0][:, np.newaxis], areas[1])
