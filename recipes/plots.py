"""The pictures of a Run: curves, predictions, confusion."""

import io
import json
import logging
import math
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from recipes.curves import curves
from recipes.examples import UNKNOWN
from recipes.run import Run

matplotlib.use("Agg")
CURVES, PREDICTIONS, FEATURES, CONFUSION = "curves.png", "predictions.png", "features.png", "confusion.png"
ROWS, COLUMNS = 4, 8
ENLARGED = 256  # pixels of a picture on which boxes are drawn
LINE, LETTER = 4, 36  # pixels, of boxes and their classes
MASKED = 3  # rows of pictures, each shown twice
TILE = 1.4, 1.65  # inches
PICTURE = 1.3
TEXTS, LETTERS, SAID = 24, 120, 24
MAX_NAMED_CLASSES = 30


def draw(run: Run, answers: dict[str, np.ndarray], truth: np.ndarray | None) -> None:
    """Write `curves.png`, `predictions.png` and, for classes, `confusion.png` into the Run's folder.

    Args:
        run: the Run; its examples are pictured.
        answers: the bundle's answers on the whole test part.
        truth: class ids `(n,)`, or values `(n, k)`, of the test part; None of a Run without training.
    """
    if len(run.history):
        _save(CURVES, run, curves, run)
    _save(PREDICTIONS, run, _predictions_of(run), run, answers, truth)
    if "adapted_features" in answers:
        _save(FEATURES, run, features, run, answers)
    if truth is not None and run.bundle.answer.kind in ("class", "tags"):
        _save(CONFUSION, run, confusion, run, answers, truth)


def confusion(run: Run, answers: dict[str, np.ndarray], truth: np.ndarray) -> Figure:
    """How often each true class (row) was given each label (column)."""
    from sklearn.metrics import confusion_matrix

    labels = run.bundle.labels
    counts = confusion_matrix(truth, answers["class_ids"], labels=range(len(labels)))
    size = min(3 + 0.45 * len(labels), 14)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    axes.set(xlabel="predicted", ylabel="true", title=f"{run.bundle.card['evaluated_on']} part, {len(truth)} examples")
    if len(labels) <= MAX_NAMED_CLASSES:
        names = list(map(_text, labels))
        axes.set_xticks(range(len(labels)), names, rotation=90 if max(map(len, labels)) > 3 else 0)
        axes.set_yticks(range(len(labels)), names)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                shade = "white" if count > counts.max() / 2 else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=shade)
    return figure


def _predictions_of(run: Run) -> Callable[..., Figure]:
    if run.bundle.answer.kind == "generated":
        return generated
    if "image_bytes" in run.examples.raw:
        return {"mask": masks, "picture": styled, "detection": detections}.get(run.bundle.answer.kind, pictures)
    if "text" in run.examples.raw:
        return texts
    if not run.bundle.labels:
        return values
    return plane if len(run.examples.raw) == 2 else scores


def pictures(run: Run, answers, truth) -> Figure:
    """A grid of test pictures with the predicted label, and the true one where they differ."""
    shown = run.examples.raw["image_bytes"][: ROWS * COLUMNS]
    predicted = run.bundle.predict({"image_bytes": shown})
    tiles = []
    for data, label, true, probabilities in zip(
        shown, predicted["classes"], run.examples.truth, predicted["probabilities"], strict=False
    ):
        other, colour = _judged(label.decode(), true)
        title = f"{_text(label.decode())} {probabilities.max():.0%}" + (f"\n{_text(other)}" if other else "")
        tiles.append((_read(data), title, colour))
    return _grid(tiles)


def _judged(said: str, true: str) -> tuple[str, str]:
    """What to write beside an answer, and in which colour."""
    if true in ("", UNKNOWN):
        return "", "black"
    return ("", "green") if said == true else (f"true: {true}", "red")


def generated(run: Run, answers, truth) -> Figure:
    """Generated pictures above, and real ones below."""
    count = ROWS // 2 * COLUMNS
    tiles = [(_colour(picture), "", "black") for pictures in (answers["image"], truth) for picture in pictures[:count]]
    return _grid(tiles)


def features(run: Run, answers: dict[str, np.ndarray]) -> Figure:
    """Features of source and target pictures in a plane (t-SNE), of the source's own network and of the adapted one."""
    from sklearn.manifold import TSNE

    shown = [name for name in ("source_only", "adapted") if f"{name}_features" in answers]
    figure = Figure(figsize=(5 * len(shown), 5), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        rows = answers[f"{name}_features"]
        places = TSNE(perplexity=min(30, (len(rows) - 1) / 3), init="pca", random_state=0).fit_transform(rows)
        half = len(rows) // 2
        axes.scatter(*places[:half].T, s=6, label="source")
        axes.scatter(*places[half:].T, s=6, label="target")
        axes.set(title=name.replace("_", " "), xticks=[], yticks=[])
        axes.legend()
    return figure


def styled(run: Run, answers, truth) -> Figure:
    """Test pictures, and below each what is made of it; the style before them."""
    shown = run.examples.raw["image_bytes"][: COLUMNS - 1]
    made = run.bundle.predict({"image_bytes": shown})["image_bytes"]
    style = (_read((run.dir / "style.png").read_bytes()), "style", "black")
    before, after = ([(_read(data), "", "black") for data in row] for row in (shown, made))
    return _grid([style, *before, None, *after], columns=1 + len(shown))


def _colour(picture: np.ndarray) -> np.ndarray:
    """A picture in 0..1 as one with three or four channels."""
    return np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture


def detections(run: Run, answers, truth) -> Figure:
    """Test pictures with the detections of a score of at least a half, green where a true box of the class is met."""
    shown = run.examples.raw["image_bytes"][: ROWS * COLUMNS]
    predicted = run.bundle.predict({"image_bytes": shown})
    tiles = []
    for i, data in enumerate(shown):
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        factor = max(1, round(ENLARGED / max(picture.size)))
        picture = picture.resize((picture.width * factor, picture.height * factor))
        pen = ImageDraw.Draw(picture)
        left = json.loads(run.examples.truth[i])
        for box, score, label in zip(*(predicted[name][i] for name in ("boxes", "scores", "classes")), strict=True):
            if score < 0.5:
                continue
            met = [one for one in left if one["label"] == label.decode() and _overlap(one["box"], box) >= 0.5]
            left = [one for one in left if one is not (met or [None])[0]]
            y, x, bottom, right = (float(side) * factor for side in box)
            colour = "lime" if met else "red"
            pen.rectangle((x, y, right, bottom), outline=colour, width=LINE)
            place, font = (x + LINE + 2, y), ImageFont.load_default(LETTER)
            pen.text(place, label.decode(), fill=colour, font=font, stroke_width=2, stroke_fill="black")
        missed = f"{len(left)} missed" if left else ""
        tiles.append((np.asarray(picture), missed, "red"))
    return _grid(tiles)


def _overlap(box, other) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    both = np.prod(np.maximum(high - low, 0))
    areas = sum(np.prod(np.subtract(one[2:], one[:2])) for one in (box, other))
    return float(both / max(areas - both, 1e-9))


def masks(run: Run, answers, truth) -> Figure:
    """Test pictures under the masks that they have, and below each under the one that is predicted."""
    shown = run.examples.raw["image_bytes"][: MASKED * COLUMNS]
    predicted = run.bundle.predict({"image_bytes": shown})["mask_bytes"]
    count = len(run.bundle.labels)
    tiles = []
    for start in range(0, len(shown), COLUMNS):
        row = slice(start, start + COLUMNS)
        for what, of_row in (("true", run.examples.truth[row]), ("predicted", predicted[row])):
            laid = [
                (_overlaid(data, mask, count), what, "black") for data, mask in zip(shown[row], of_row, strict=True)
            ]
            tiles += laid + [None] * (COLUMNS - len(laid))
    return _grid(tiles)


def _overlaid(data: bytes, mask: bytes, count: int) -> np.ndarray:
    """A picture half covered by the colours of its pixels' classes; the first class has none."""
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32) / 255
    ids = np.asarray(Image.open(io.BytesIO(mask)))
    colours = matplotlib.colormaps["gist_rainbow"](np.linspace(0, 1, max(count - 1, 1)))[:, :3]
    covered = (ids > 0) & (ids < count)
    picture[covered] = 0.4 * picture[covered] + 0.6 * colours[ids[covered] - 1]
    return picture


def _read(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def _grid(tiles: list[tuple[np.ndarray, str, str] | None], columns: int = COLUMNS) -> Figure:
    """Pictures with a title each, and its colour, in rows, larger where these are short; None leaves a place empty."""
    rows, larger = math.ceil(len(tiles) / columns), min(2, COLUMNS / columns)
    wide, high = TILE[0] * larger, TILE[1] * larger
    figure = Figure(figsize=(wide * columns, high * rows))
    axes = figure.add_axes((0, 0, 1, 1))  # one for all, in inches: one for each would take a second to draw
    axes.set_axis_off()
    for i, tile in enumerate(tiles):
        if tile is None:
            continue
        image, title, colour = tile
        row, column = divmod(i, columns)
        x, bottom = (column + 0.5) * wide, (row + 1) * high
        height, width = (PICTURE * larger * side / max(image.shape[:2]) for side in image.shape[:2])
        axes.imshow(image, extent=(x - width / 2, x + width / 2, bottom, bottom - height), aspect="auto")
        axes.text(x, bottom - height - 0.04, title, fontsize=8, color=colour, ha="center", va="bottom")
    axes.set(xlim=(0, wide * columns), ylim=(high * rows + 0.05, 0))
    return figure


def texts(run: Run, answers, truth) -> Figure:
    """The beginnings of test texts with what is answered, and what is true where that differs."""
    shown = run.examples.raw["text"][:TEXTS]
    # What writes does so with its cache, which takes a fraction of the time.
    predicted = run.bundle.graph_of_raw({"text": shown}) if run.bundle.writes else run.bundle.predict({"text": shown})
    said = _SAID[run.bundle.answer.kind]({name: np.asarray(array) for name, array in predicted.items()})
    figure = Figure(figsize=(11, 0.28 * len(shown) + 0.3))
    axes = figure.add_axes((0.01, 0, 0.98, 1))
    axes.set_axis_off()
    for i, (text, (answer, probability), true) in enumerate(zip(shown, said, run.examples.truth, strict=False)):
        other, colour = _judged(answer, str(true))
        share = "" if probability is None else f"{probability:.0%}"
        title = "   ".join(filter(None, [f"{_beginning(answer, SAID)} {share}", _beginning(other, SAID)]))
        y = 1 - (i + 0.5) / len(shown)
        axes.text(0, y, _text(title), fontsize=8, color=colour, va="center")
        axes.text(0.26, y, _text(_beginning(text.decode(errors="replace"), LETTERS)), fontsize=8, va="center")
    return figure


def _of_class(answers):
    return zip(map(bytes.decode, answers["classes"]), answers["probabilities"].max(-1), strict=True)


def _of_words(answers):
    return [(" ".join(tag.decode() for tag in tags if tag), None) for tags in answers["classes"]]


def _of_next_token(answers):
    likeliest = zip(answers["next_tokens"][:, 0], answers["next_probabilities"][:, 0], strict=True)
    return [(token.decode(errors="replace"), probability) for token, probability in likeliest]


def _of_masks(answers):
    likeliest = zip(answers["tokens"][:, 0, 0], answers["probabilities"][:, 0, 0], strict=True)
    return [(token.decode(errors="replace"), probability) for token, probability in likeliest]


def _written(answers):
    return [(text.decode(errors="replace"), None) for text in answers["generated_text"]]


_SAID = {
    "class": _of_class,
    "tags": _of_words,
    "next-token": _of_next_token,
    "masked": _of_masks,
    "written": _written,
}
"""By the kind of answer, of every text: what is said of it, and how probable that is."""


def _beginning(text: str, letters: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= letters else text[:letters] + "…"


def values(run: Run, answers, truth) -> Figure:
    """Predicted against true values of the test part; for a single column also the line through the points."""
    single = len(run.examples.raw) == 1
    figure = Figure(figsize=(9.5 if single else 5, 4.5), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, 1 + single))
    axes[0].scatter(truth, answers["value"], s=10, alpha=0.6)
    axes[0].axline((float(truth.flat[0]),) * 2, slope=1, color="gray", linewidth=1)
    axes[0].set(xlabel=f"true {run.examples.target}", ylabel="predicted")
    if single:
        ((column, x),) = run.examples.raw.items()
        order = np.argsort(x)
        axes[1].scatter(x, run.examples.truth[:, 0], s=10, alpha=0.6, label="true")
        axes[1].plot(x[order], run.bundle.predict({column: x[order]})["value"][:, 0], color="red", label="predicted")
        axes[1].set(xlabel=column, ylabel=run.examples.target)
        axes[1].legend()
    return figure


def plane(run: Run, answers, truth) -> Figure:
    """The probability of the second class over the plane of two columns, with the test examples on it."""
    (first, x), (second, y) = run.examples.raw.items()
    margin_x, margin_y = (0.25 * (np.ptp(v) or 1) for v in (x, y))
    grid_x, grid_y = np.meshgrid(
        np.linspace(x.min() - margin_x, x.max() + margin_x, 100),
        np.linspace(y.min() - margin_y, y.max() + margin_y, 100),
    )
    grid = run.bundle.predict({first: grid_x.ravel(), second: grid_y.ravel()}, batch_size=1024)
    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    axes = figure.subplots()
    shades = axes.contourf(
        grid_x, grid_y, grid["probabilities"][:, 1].reshape(grid_x.shape), 20, cmap="RdBu_r", vmin=0, vmax=1, alpha=0.7
    )
    figure.colorbar(shades, label=f"probability of {_text(run.bundle.labels[1])}")
    for label, marker in zip(run.bundle.labels, "ox", strict=False):
        mine = run.examples.truth == label
        axes.scatter(x[mine], y[mine], marker=marker, color="black", label=f"true: {_text(label)}")
    axes.set(xlabel=first, ylabel=second)
    axes.legend()
    return figure


def scores(run: Run, answers, truth) -> Figure:
    """How the probability of the second class is distributed in each true class."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for i, label in enumerate(run.bundle.labels):
        axes.hist(
            answers["probabilities"][truth == i, 1],
            bins=np.linspace(0, 1, 26),
            alpha=0.6,
            label=f"true: {_text(label)}",
        )
    axes.set(xlabel=f"predicted probability of {_text(run.bundle.labels[1])}", ylabel="test examples")
    axes.legend()
    return figure


def _text(label: str) -> str:
    """A label as it is: a dollar sign would begin a formula."""
    return label.replace("$", r"\$")


def _save(name: str, run: Run, draw: Callable[..., Figure], *arguments) -> None:
    try:
        draw(*arguments).savefig(run.dir / name, dpi=100)
    except Exception:  # whatever it is, a picture is not worth a training
        logging.getLogger(__name__).warning("%s could not be drawn", name, exc_info=True)
