"""Canvases to scatter things on: patches of photographs, tinted textures and plain colours, with clutter.

Everything is drawn from a `numpy.random.RandomState` by whole numbers and by sums, products and square roots of
doubles, which are the same on every machine: no function of the platform's mathematics library is called.
"""

import numpy as np

from recipes.datasets import photographs

MOST_CONTRAST = 120
"""Of a canvas, between the darkest and the brightest twentieth of its pixels, in grey levels of 255."""
NOISE = 5
CANDIDATES = 24

# Letters that do not look like a digit, even turned a little: strokes between points (y, x) of a unit square.
LETTERS = {
    "A": (((1, 0), (0, 0.5)), ((0, 0.5), (1, 1)), ((0.65, 0.2), (0.65, 0.8))),
    "E": (((0, 0), (1, 0)), ((0, 0), (0, 0.8)), ((0.5, 0), (0.5, 0.7)), ((1, 0), (1, 0.8))),
    "H": (((0, 0), (1, 0)), ((0, 0.85), (1, 0.85)), ((0.5, 0), (0.5, 0.85))),
    "K": (((0, 0), (1, 0)), ((0.55, 0), (0, 0.8)), ((0.4, 0.25), (1, 0.85))),
    "M": (((1, 0), (0, 0.1)), ((0, 0.1), (0.7, 0.5)), ((0.7, 0.5), (0, 0.9)), ((0, 0.9), (1, 1))),
    "W": (((0, 0), (1, 0.25)), ((1, 0.25), (0.3, 0.5)), ((0.3, 0.5), (1, 0.75)), ((1, 0.75), (0, 1))),
    "X": (((0, 0), (1, 0.85)), ((0, 0.85), (1, 0))),
}


def draw_canvas(random: np.random.RandomState, size: int, part: str) -> np.ndarray:
    """Draw a canvas, float64 [size, size, 3] in 0..255.

    Half are patches of the photographs of that part, "train" or "test", a quarter its textures between two colours, a
    quarter a passage from one colour to another with soft spots. The contrast is lowered to at most `MOST_CONTRAST`,
    so that black or white ink can be read anywhere.
    """
    kind = draw_int(random, 4)
    if kind < 2:
        canvas = _patch(random, photographs.colour(part), size)
    elif kind == 2:
        ground, ink = draw_colours(random, 2)
        share = _patch(random, photographs.textures(part), size) / 255
        canvas = ground + (ink - ground) * share
    else:
        canvas = _passage(random, size)
    return _calm(random, canvas)


def draw_int(random: np.random.RandomState, *bounds: int, size=None):
    """`random.randint` of 64 bits on every platform: from 0 or the first bound up to but without the last."""
    return random.randint(*bounds, size=size, dtype=np.int64)


def draw_colours(random: np.random.RandomState, number: int) -> np.ndarray:
    """Draw colours, int64 [number, 3] in 0..255."""
    return draw_int(random, 256, size=(number, 3))


def cut_patch(random: np.random.RandomState, picture: np.ndarray, size: int) -> np.ndarray:
    """Cut a random square out of a picture, uint8 [size, size, 3]. One that is too small is mirrored at its edges."""
    missing = [max(0, size - side) for side in picture.shape[:2]]
    if any(missing):
        picture = np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    y, x = (draw_int(random, side - size + 1) for side in picture.shape[:2])
    return picture[y : y + size, x : x + size]


def _patch(random, pictures, size):
    """A patch at full resolution or at half or a third of it, perhaps mirrored: float64 [size, size, 3]."""
    picture = pictures[draw_int(random, len(pictures))]
    shrinking = draw_int(random, 1, 4)
    side = size * shrinking
    if side > min(picture.shape[:2]):
        side, shrinking = size, 1
    patch = cut_patch(random, picture, side)[:, :: (-1, 1)[draw_int(random, 2)]]
    steps = range(shrinking)
    cells = [patch[down::shrinking, across::shrinking].astype(np.float64) for down in steps for across in steps]
    return sum(cells) / shrinking**2


def _passage(random, size):
    """A passage between two colours, from side to side or from corner to corner, with soft spots."""
    first, last = draw_colours(random, 2)
    across = np.linspace(0, 1, size)[:, np.newaxis, np.newaxis]
    down = np.swapaxes(across, 0, 1)
    share = (across, down, (across + down) / 2, (across - down + 1) / 2)[draw_int(random, 4)]
    spots = _enlarge(draw_int(random, -40, 41, size=(draw_int(random, 3, 9),) * 2), size)
    return first + (last - first) * share + spots[..., np.newaxis]


def _enlarge(grid, size):
    """A small square of numbers enlarged to size x size, between which it runs straight."""
    for _ in range(2):
        position = np.linspace(0, len(grid) - 1, size)
        lower = np.minimum(position.astype(np.int64), len(grid) - 2)
        share = (position - lower)[:, np.newaxis]
        grid = (grid[lower] * (1 - share) + grid[lower + 1] * share).T
    return grid


def _calm(random, canvas):
    """The canvas with less contrast, another brightness and light that falls off to one side."""
    low, high = _range(canvas)
    contrast = random.uniform(0.4, 1.0)
    contrast *= min(1.0, MOST_CONTRAST / max(high - low, 1))
    brightness = random.uniform(50, 205)
    canvas = brightness + (canvas - (low + high) / 2) * contrast
    light = np.linspace(1, random.uniform(0.75, 1), len(canvas))[:: (-1, 1)[draw_int(random, 2)]]
    canvas = canvas * (light[:, np.newaxis, np.newaxis] if draw_int(random, 2) else light[:, np.newaxis])
    return np.clip(canvas, 0, 255)


def luminance(colours: np.ndarray) -> np.ndarray:
    """Luma of colours [..., 3] in 0..255 (ITU-R BT.601, weights in 256ths)."""
    return (77 * colours[..., 0] + 150 * colours[..., 1] + 29 * colours[..., 2]) / 256


def _range(pixels):
    """The luminance below and above which a twentieth of the pixels lies."""
    levels = luminance(pixels).reshape(-1)
    ends = len(levels) // 20, len(levels) - 1 - len(levels) // 20
    return np.partition(levels, ends)[list(ends)]


def draw_ink(random: np.random.RandomState, pixels: np.ndarray, contrast: float) -> tuple[np.ndarray, float]:
    """Draw a colour that can be told from pixels [..., 3].

    Returns:
        The colour, float64 [3] in 0..255, and how far its luminance is at least from that of nine tenths of the
        pixels: `contrast` or more where one of some random colours, black and white is that far, else what the
        farthest of them is.
    """
    low, high = _range(pixels)
    colours = np.concatenate([draw_colours(random, CANDIDATES), [(0, 0, 0), (255, 255, 255)]])
    levels = luminance(colours)
    distances = np.maximum(low - levels, levels - high)
    far = np.flatnonzero(distances >= contrast)
    chosen = far[0] if len(far) else np.argmax(distances)
    return colours[chosen].astype(np.float64), float(distances[chosen])


def draw_clutter(random: np.random.RandomState, canvas: np.ndarray, amount: float, largest: int) -> None:
    """Draw what is no digit into a canvas [size, size, 3]: soft discs, thin strokes and letters.

    Args:
        random: where the choices come from.
        canvas: is changed in place.
        amount: of clutter, 0..1: up to 6 discs, 6 strokes and 4 letters per 128 pixels of side at 1.
        largest: height of the largest digit. Strokes are longer than that and at most two pixels thick, so that none
            looks like a 1; letters are not larger.
    """
    for draw, most in ((_draw_disc, 6), (_draw_stroke, 6), (_draw_letter, 4)):
        for _ in range(draw_int(random, round(most * amount * len(canvas) / 128) + 1)):
            draw(random, canvas, largest)


def _draw_disc(random, canvas, largest):
    radius = random.uniform(0.1, 0.5) * largest * np.array([1, random.uniform(0.6, 1)])
    centre = random.uniform(0, len(canvas), 2)
    region, y, x = _around(canvas, centre - radius, centre + radius)
    y, x = (y - centre[0]) / radius[0], (x - centre[1]) / radius[1]
    inside = np.clip((1 - np.sqrt(y * y + x * x)) * radius.min() + 0.5, 0, 1)
    paint(region, inside * random.uniform(0.3, 0.8), draw_colours(random, 1)[0])


def _around(canvas, low, high):
    """The region of a canvas from one corner to the other with a pixel more, and its pixels' centres y and x."""
    top, left = (max(int(corner) - 1, 0) for corner in low)
    region = canvas[top : int(high[0]) + 2, left : int(high[1]) + 2]
    y, x = (np.arange(side) + first + 0.5 for side, first in zip(region.shape, (top, left), strict=False))
    return region, y[:, np.newaxis], x


def _draw_stroke(random, canvas, largest):
    """A curve (quadratic Bezier) from edge to edge of a square around the largest digit."""
    length = random.uniform(1.2, 2.5) * largest
    start = random.uniform(0, len(canvas), 2)
    way = random.uniform(-1, 1, 2)
    way *= length / max(np.sqrt((way * way).sum()), 1e-3)
    bend = random.uniform(-0.5, 0.5) * way[::-1] * np.array([1, -1])
    t = np.linspace(0, 1, int(3 * length))[:, np.newaxis]
    points = start + way * t + bend * (4 * t * (1 - t))
    thickness = draw_int(random, 1, 3)
    cells = (points[:, np.newaxis] + np.stack(np.divmod(np.arange(thickness**2), thickness), 1)).reshape(-1, 2)
    cells = cells[((cells >= 0) & (cells < len(canvas))).all(axis=1)].astype(np.int64)
    canvas[cells[:, 0], cells[:, 1]] = draw_colours(random, 1)[0]


def _draw_letter(random, canvas, largest):
    height = random.uniform(0.4, 1) * largest
    strokes = np.array(tuple(LETTERS.values())[draw_int(random, len(LETTERS))])
    slant = random.uniform(-0.25, 0.25)
    strokes[..., 1] += slant * (0.5 - strokes[..., 0])
    corner = random.uniform(0, len(canvas) - height, 2)
    strokes = corner + strokes * height * np.array([1, random.uniform(0.6, 1)])
    thickness = random.uniform(0.1, 0.18) * height
    region, y, x = _around(canvas, strokes.min(axis=(0, 1)) - thickness, strokes.max(axis=(0, 1)) + thickness)
    distance = np.min([_distance(y, x, *stroke) for stroke in strokes], axis=0)
    ink, _ = draw_ink(random, region, 40)
    paint(region, np.clip(thickness / 2 - distance + 0.5, 0, 1), ink)


def _distance(y, x, start, end):
    """The distance of points to the stretch from start to end."""
    (down, across), (dy, dx) = (y - start[0], x - start[1]), end - start
    along = np.clip((down * dy + across * dx) / (dy * dy + dx * dx), 0, 1)
    down, across = down - along * dy, across - along * dx
    return np.sqrt(down * down + across * across)


def paint(region: np.ndarray, opacity: np.ndarray, colour: np.ndarray) -> None:
    """Paint a colour [3] into a region [H, W, 3] in place, at an opacity [H, W] in 0..1."""
    region += (colour - region) * opacity[..., np.newaxis]


def add_noise(random: np.random.RandomState, canvas: np.ndarray) -> np.ndarray:
    """The canvas with the noise of a camera, rounded to uint8: per value two steps of up to `NOISE`, up or down."""
    most = draw_int(random, NOISE + 1)
    first, second = random.randint(-most, most + 1, (2, *canvas.shape), dtype=np.int8)
    return np.clip(np.rint(canvas) + (first + second), 0, 255).astype(np.uint8)
