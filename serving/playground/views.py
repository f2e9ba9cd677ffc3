"""From a model's answer to what the page draws: views, each with its kind. Pure functions from arrays to JSON.

What kind an answer is of is said by ``answers.kind_of``, as for ``zoo query``. ``told`` are the numbers themselves.
"""

import base64
from collections.abc import Mapping, Sequence

import numpy as np

from serving.answers import kind_of, shortened
from serving.metadata import Signature, TensorSpec
from serving.playground.json_values import json_value

FEW_CLASSES = 12  # all of which are shown, in their order
MOST_CLASSES = 8  # shown of more, the most probable first

Outputs = Mapping[str, np.ndarray]


def views(outputs: Outputs, labels: Sequence[str] = ()) -> list[dict]:
    """How the answer to one row is shown. ``labels`` names all classes, where they are known."""
    drawn = {
        "boxes": _boxes,
        "mask": lambda outputs: _mask(outputs, labels),
        "pictures": _pictures,
        "tags": _tags,
        "filled": _filled,
        "classes": lambda outputs: _classes(outputs, labels),
        "value": lambda outputs: {"kind": "value", "value": json_value(outputs["value"].reshape(-1)[0])},
        "written": lambda outputs: {"kind": "written", "text": json_value(outputs["generated_text"][0])},
        "next": _next,
        "other": lambda outputs: None,
    }[kind_of(outputs, rows=1)]
    shown = drawn(outputs)
    heat = [{"kind": "heat", "rows": json_value(outputs["heatmap"][0].round(4))}] if "heatmap" in outputs else []
    return [*([shown] if shown else []), *heat]


def told(outputs: Outputs, signature: Signature) -> list[dict[str, str]]:
    """Every output by name: what it is, and its values, shortened."""
    return [
        {"name": name, "spec": str(TensorSpec(signature.outputs[name].dtype, array.shape)), "values": shortened(array)}
        for name, array in outputs.items()
    ]


def _classes(outputs: Outputs, labels: Sequence[str]) -> dict:
    probabilities, best = outputs["probabilities"][0], int(outputs["class_ids"][0])
    ids = range(len(probabilities))
    if len(probabilities) > FEW_CLASSES:
        ids = np.argsort(-probabilities, kind="stable")[:MOST_CLASSES].tolist()
    names = {best: json_value(outputs["classes"][0])}
    items = [_bar(names.get(i) or _label(labels, i), probabilities[i], best=i == best) for i in ids]
    return {"kind": "classes", "items": items, "classes": len(probabilities)}


def _boxes(outputs: Outputs) -> dict:
    found = zip(*(outputs[name][0] for name in ("boxes", "scores", "classes")), strict=True)
    items = [
        {"box": json_value(box), "score": json_value(score), "label": json_value(label)}
        for box, score, label in found
        if score > 0
    ]
    return {"kind": "boxes", "items": items}


def _mask(outputs: Outputs, labels: Sequence[str]) -> dict:
    height, width = outputs["size"][0].tolist()
    counts = np.bincount(outputs["class_ids"][0][: height * width])
    classes = [
        {"id": i, "label": _label(labels, i), "share": counts[i] / (height * width)}
        for i in np.argsort(-counts, kind="stable").tolist()
        if counts[i]
    ]
    return {"kind": "mask", "png": _b64(outputs["mask_bytes"][0]), "classes": classes}


def _pictures(outputs: Outputs) -> dict:
    return {"kind": "pictures", "pngs": [_b64(png) for png in np.atleast_1d(outputs["image_bytes"][0]) if png]}


def _tags(outputs: Outputs) -> dict:
    words, tags = outputs["words"][0], outputs["classes"][0]
    best = outputs["probabilities"][0].max(-1) if "probabilities" in outputs else [None] * len(words)
    items = [
        {"word": json_value(word), "tag": json_value(tag), "probability": json_value(probability)}
        for word, tag, probability in zip(words, tags, best, strict=True)
        if word
    ]
    return {"kind": "tags", "items": items}


def _filled(outputs: Outputs) -> dict:
    masks = [
        _bars(tokens, probabilities)
        for tokens, probabilities in zip(outputs["tokens"][0], outputs["probabilities"][0], strict=True)
        if probabilities[0] > 0
    ]
    return {"kind": "filled", "text": json_value(outputs["filled_text"][0]), "masks": masks}


def _next(outputs: Outputs) -> dict:
    items = _bars(outputs["next_tokens"][0], outputs["next_probabilities"][0])
    perplexity = json_value(outputs["perplexity"][0]) if "perplexity" in outputs else None
    return {"kind": "next", "items": items, "perplexity": perplexity}


def _bars(names: Sequence, values: Sequence) -> list[dict]:
    """Bars for what is ordered by its probability."""
    best, *others = zip(names, values, strict=True)
    return [
        _bar(json_value(best[0]), best[1], best=True),
        *(_bar(json_value(name), value, best=False) for name, value in others),
    ]


def _bar(label: object, value: float, *, best: bool) -> dict:
    return {"label": label, "value": json_value(value), "best": best}


def _label(labels: Sequence[str], class_id: int) -> str:
    return labels[class_id] if class_id < len(labels) else f"class {class_id}"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
