"""From a model's metadata, and what its version folder says, to the forms in which a person asks it.

A form is a signature: a field for each input, for one row, and real rows to begin with.
"""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from serving import version_folder
from serving.metadata import ModelMetadata, TensorSpec
from serving.playground.json_values import json_value
from serving.questions import EXAMPLES, USUAL, picture_signature

MOST_EXAMPLES = 12
LARGEST_EXAMPLES = 2**20  # bytes of all of a signature's strings
MOST_NUMBERS = 4096  # of a tensor that is written as JSON

_FIRST = "generate", "bytes", "text", "row"  # the signatures that take what a person has
_SOURCE = "source"  # the input of a network that answers a text with another
_LAST = "serving_default", "classify", "regress"
_RANGES = {
    "max_new_tokens": (1, None),
    "temperature": (0, None),
    "top_k": (0, None),
    "top_p": (0, 1),
    "count": (1, 256),
}
_STEPS = {"temperature": 0.1, "top_p": 0.05}
_CARD = "architecture", "task", "parameters", "data", "metrics", "limitations"  # what the page shows of it


@dataclass(frozen=True)
class Field:
    """What a person fills in for one input.

    ``kind`` is ``picture``, ``text``, ``number``, ``switch`` or ``json``. ``rank`` is how many lists a value is
    wrapped in before it is sent: the batch's, and that of a column; ``json`` is sent as it is. ``value`` is what stands
    there first, None where that is nothing; ``least``, ``most`` and ``step`` are of numbers.
    """

    name: str
    kind: str
    spec: str
    rank: int = 0
    value: object = None
    least: float | None = None
    most: float | None = None
    step: float | None = None
    hint: str = ""


def describe(metadata: ModelMetadata, path: Path | None = None) -> dict:
    """A served version as the page takes it: what its card says, and a form for each signature, raw inputs first.

    ``path`` is its base path or version folder, where one is at hand. ValueError for a folder that is damaged.
    """
    folder = version_folder.find(path, metadata.version) if path else None
    card = version_folder.card(folder) if folder else {}
    golden = version_folder.golden_files(folder) if folder else {}
    return {
        "name": metadata.name,
        "version": metadata.version,
        "card": {name: card[name] for name in _CARD if card.get(name)},
        "labels": version_folder.labels(folder) if folder else [],
        "signatures": [
            {"name": name, **form(metadata, name, version_folder.golden_inputs(golden[name]) if name in golden else {})}
            for name in sorted(metadata.signatures, key=_place)
        ],
    }


def form(metadata: ModelMetadata, name: str, golden: Mapping[str, np.ndarray]) -> dict:
    """The fields of a signature, its pictures and texts first; and the first rows of its golden inputs, by field.

    ``continues`` says whether the answer goes on where a text that is asked ends.
    """
    inputs = metadata.signatures[name].inputs
    rows = {each: golden[each][:MOST_EXAMPLES] for each in inputs if each in golden}  # edge cases stand behind
    fields = [_field(each, spec, _takes_pictures(metadata, name), rows.get(each)) for each, spec in inputs.items()]
    fields.sort(key=lambda field: field.kind not in ("picture", "text"))
    translates = any(_SOURCE in each.inputs for each in metadata.signatures.values())
    return {
        "fields": [asdict(field) for field in fields],
        "examples": list(_examples(fields, rows)) if rows and rows.keys() == inputs.keys() else [],
        "continues": "max_new_tokens" in inputs and not translates,
    }


def _place(name: str) -> tuple:
    order = _FIRST.index(name) if name in _FIRST else len(_FIRST) + (_LAST.index(name) + 1 if name in _LAST else 0)
    return order, name


def _takes_pictures(metadata: ModelMetadata, name: str) -> bool:
    try:
        return picture_signature(metadata, name)[1] != "text"
    except ValueError:
        return False


def _field(name: str, spec: TensorSpec, is_picture: bool, rows: np.ndarray | None) -> Field:
    rank = None if spec.shape is None else len(spec.shape)
    is_scalar = (
        rank is not None and rank <= 2 and spec.shape[1:] in ((), (1,)) and spec.shape[:1] in ((), (None,), (1,))
    )
    field = Field(name, "json", str(spec), rank=rank or 0)
    if not is_scalar or spec.dtype.startswith("complex") or (name in EXAMPLES and spec.dtype == "string"):
        return replace(field, value=_starting_tensor(spec))
    if spec.dtype == "string":
        return replace(field, kind="picture" if is_picture or name.endswith("bytes") else "text")
    if spec.dtype == "bool":
        return replace(field, kind="switch", value=False)
    least, most = _RANGES.get(name, (None, None))
    is_whole = "int" in spec.dtype
    return replace(
        field,
        kind="number",
        value=_starting_number(name, is_whole, rows),
        least=least,
        most=most,
        step=1 if is_whole else _STEPS.get(name),
        hint="" if name in USUAL or rows is None or not rows.size else _span(rows),
    )


def _starting_number(name: str, is_whole: bool, rows: np.ndarray | None) -> float:
    if name in USUAL:
        return USUAL[name]
    if rows is not None and rows.size:
        return json_value(rows.ravel()[0])
    return 1 if is_whole else 0.0


def _starting_tensor(spec: TensorSpec) -> object:
    """One row of zeros, where they are few enough to be written down."""
    if spec.shape is None or spec.dtype == "string":
        return None
    sizes = [1 if size is None else size for size in spec.shape]
    if math.prod(sizes) > MOST_NUMBERS:
        return None
    return np.zeros(sizes, bool if spec.dtype == "bool" else int if "int" in spec.dtype else float).tolist()


def _span(rows: np.ndarray) -> str:
    low, high = float(rows.min()), float(rows.max())
    return f"e.g. {low:.4g} to {high:.4g}" if low < high else f"e.g. {low:.4g}"


def _examples(fields: Sequence[Field], golden: Mapping[str, np.ndarray]) -> Iterator[dict[str, object]]:
    """The first rows, as many as are not too large to be sent to a page, each as the fields take it."""
    room = LARGEST_EXAMPLES
    for row in range(min(len(array) for array in golden.values())):
        values = {field.name: golden[field.name][row] for field in fields}
        room -= sum(len(value) if isinstance(value, bytes) else 0 for value in values.values())
        if room < 0 or any(np.size(value) > MOST_NUMBERS for value in values.values()):
            return
        yield {field.name: _example(values[field.name], field) for field in fields}


def _example(value: object, field: Field) -> object:
    if field.kind == "picture":
        return {"b64": base64.b64encode(value).decode()}
    if field.kind == "json":
        return [json_value(value)]  # a batch of one
    return json_value(value.reshape(()) if isinstance(value, np.ndarray) else value)
