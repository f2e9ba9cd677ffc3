"""Edge cases of a proof: raw inputs that are odd and yet right, made of a real one."""

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from export.signatures import Arrays
from recipes.batches import objects
from recipes.bundle import Bundle
from recipes.preprocessing import Preprocessing

ORIENTATION, TURNED_RIGHT = 0x0112, 6
"""The EXIF tag, and its value for a picture that is to be turned by 90 degrees."""
LARGEST_SIDE = 256
"""Of the edge cases: a proof need not store large pictures."""


def edge_cases(bundle: Bundle, raw: Arrays) -> dict[str, Arrays]:
    """What it is → raw input of one row.

    Of pictures another size, grey, alpha, one to be turned, and a single pixel; of texts an empty one, and one that is
    too long, where that is answered; of tables a row of zeros; of seeds the smallest and the largest.
    """
    return _OF_KIND[bundle.preprocessing.kind](bundle.preprocessing, raw)


def refused_cases(bundle: Bundle, raw: Arrays) -> dict[str, Arrays]:
    """What it is → raw input of one row that is to be refused.

    What is no picture; a text that is too long, where that is not cut off; a row with a missing value; no pictures.
    """
    first = {name: array[:1] for name, array in raw.items()}
    match bundle.preprocessing.kind:
        case "image":
            return {"no picture": {"image_bytes": objects([b"no picture"])}}
        case "text" if bundle.preprocessing.too_long == "refuse":
            return {"too long": _too_long(bundle.preprocessing, raw)}
        case "table":
            column = bundle.preprocessing.columns[0]
            return {"missing value": {**first, column: np.full_like(first[column], np.nan)}}
        case "latent":
            return {"no pictures": {**first, "count": np.zeros(1, np.int64)}}
    return {}


def together(batches: Iterable[Arrays]) -> Arrays:
    """Raw examples, one batch behind the other."""
    batches = list(batches)
    return {name: np.concatenate([batch[name] for batch in batches]) for name in (batches[0] if batches else ())}


def _pictures(preprocessing: Preprocessing, raw: Arrays) -> dict[str, Arrays]:
    with Image.open(io.BytesIO(raw["image_bytes"][0])) as image:
        picture = image.convert("RGB")
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    width, height = picture.size
    translucent = picture.copy()
    translucent.putalpha(Image.linear_gradient("L").resize(picture.size))
    turned = Image.Exif()
    turned[ORIENTATION] = TURNED_RIGHT
    files = {
        "another size": _file(picture.resize((width * 2 // 3 + 1, height * 3 // 2 + 1))),
        "grey": _file(picture.convert("L")),
        "alpha": _file(translucent),
        "turned": _file(picture, "JPEG", exif=turned, quality=95),
        "one pixel": _file(picture.resize((1, 1))),
    }
    return {name: {"image_bytes": objects([file])} for name, file in files.items()}


def _file(picture: Image.Image, file_format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def _texts(preprocessing: Preprocessing, raw: Arrays) -> dict[str, Arrays]:
    too_long = {"too long": _too_long(preprocessing, raw)} if preprocessing.too_long == "truncate" else {}
    return {"empty": {"text": objects([b""])}, **too_long}


def _too_long(preprocessing: Preprocessing, raw: Arrays) -> Arrays:
    words = next((text.split() for text in raw["text"] if text.split()), [b"word"])
    return {"text": objects([b" ".join(words * (1 + preprocessing.max_length // len(words)))])}


def _tables(preprocessing: Preprocessing, raw: Arrays) -> dict[str, Arrays]:
    return {"zeros": {name: np.zeros_like(column[:1]) for name, column in raw.items()}}


def _latents(preprocessing: Preprocessing, raw: Arrays) -> dict[str, Arrays]:
    limits = np.iinfo(np.int64)
    seeds = {"smallest seed": limits.min, "largest seed": limits.max}
    return {name: {"seed": np.array([seed]), "count": np.ones(1, np.int64)} for name, seed in seeds.items()}


_OF_KIND = {"image": _pictures, "text": _texts, "table": _tables, "latent": _latents}
