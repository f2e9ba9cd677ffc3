"""The card of a version: what a reader, or a program that asks it, should know."""

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np

from export.golden import Golden
from recipes import licenses
from recipes.run import Run

CPUINFO = Path("/proc/cpuinfo")
OWNER = "the owner"
PACKAGES = ("servable-zoo", "keras", "tensorflow", "numpy")


def describe(
    run: Run,
    model_name: str,
    signatures: Mapping[str, Any],
    golden: Mapping[str, Golden],
    explain: str | None,
    optimization: Mapping[str, Any],
    license: str | None,
) -> dict[str, Any]:
    """The card as JSON values.

    Args:
        run: what is published.
        model_name: the name a server will know it by: the base path's last part.
        signatures: inputs and outputs of every signature, as `saved_model.describe` gives them.
        golden: the golden examples, of which the example request is made.
        explain: how the heat maps of the signature `explain` are made, where it has one.
        optimization: which variant it is, and what became of those that were tried.
        license: what the owner states.
    """
    bundle = run.bundle
    return {
        **bundle.card,
        "task": bundle.task,
        "labels": list(bundle.labels),
        "signatures": dict(signatures),
        **({"explain": explain} if explain else {}),
        "metrics": dict(run.metrics),
        "intended_use": f"{bundle.task} of inputs like those of {bundle.card.get('data', 'its training')}",
        "limitations": limitations(run),
        "licenses": all_licenses(run, model_name, license),
        "optimization": dict(optimization),
        "lineage": lineage(run),
        "created": now(),
        "versions": package_versions(),
        "example": _example(model_name, bundle.preprocessing.signature, golden),
    }


def limitations(run: Run) -> list[str]:
    """What whoever asks should not expect. One sentence each."""
    bundle, part = run.bundle, run.facts.get("evaluated_on")
    found = [
        f"Its figures are those of the {part} part; on inputs of another kind nobody has judged it."
        if run.metrics and part
        else "Nobody has judged it: it has no figures."
    ]
    data = run.facts.get("data", {})
    if leaks := data.get("leaks", {}).get(part):
        found.append(
            f"{leaks:,} of the {data['examples'][part]:,} examples of the {part} part are in an earlier part, too: its "
            "figures are partly of what it has learned from."
        )
    if bundle.labels:
        found.append(f"It knows {len(bundle.labels)} classes, and nothing of what is none of them.")
    preprocessing = bundle.preprocessing
    if preprocessing.kind == "text":
        what = "is cut off there" if preprocessing.too_long == "truncate" else "is refused"
        found.append(f"A text of more than {preprocessing.max_length} tokens {what}.")
    elif preprocessing.kind == "image" and not bundle.at_own_size:
        found.append(f"It sees a picture at {preprocessing.height} x {preprocessing.width} pixels.")
    elif preprocessing.kind == "table":
        found.append("A row with a missing value, NaN, or an infinite one is refused.")
    return found


def all_licenses(run: Run, model_name: str, stated: str | None) -> list[dict[str, Any]]:
    """That of the version's weights, and of what they were made of; see `recipes.licenses`.

    The owner states those of what is theirs: of these weights, and of data that nobody else has published.
    """
    made_of = [
        licenses.record(each["of"], each["name"], stated, OWNER)
        if each["of"] == licenses.DATA and each["license"] is None
        else each
        for each in run.facts.get(licenses.FACT, [])
    ]
    return [licenses.record(licenses.WEIGHTS, model_name, stated, OWNER), *made_of]


def lineage(run: Run) -> dict[str, Any]:
    """Which Run a version comes from, and how that came about."""
    return {"run": run.dir.name, "weights_sha256": fingerprint(run.model), **run.facts}


def fingerprint(model: keras.Model) -> str:
    """SHA-256 over every weight: path, dtype, shape and bytes."""
    digest = hashlib.sha256()
    for variable in model.variables:
        values = np.ascontiguousarray(np.asarray(variable))
        digest.update(f"{variable.path} {values.dtype} {values.shape}\n".encode())
        digest.update(values.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def environment() -> dict[str, Any]:
    """Where and with what a proof was made: how numbers are rounded depends on it."""
    told = CPUINFO.read_text() if CPUINFO.is_file() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": name[1] if name else platform.processor(),
        "versions": package_versions(),
    }


def package_versions() -> dict[str, str]:
    """Versions of Python and the packages that decide what a SavedModel holds."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _example(model_name: str, signature: str, golden: Mapping[str, Golden]) -> str:
    """A `curl` command that asks the raw signature over REST."""
    inputs = {name: _example_value(name, array[0]) for name, array in golden[signature].inputs.items()}
    body = json.dumps({"signature_name": signature, "inputs": inputs}).replace('"', '\\"')
    return f'curl http://localhost:8501/v1/models/{model_name}:predict -d "{body}"'


def _example_value(name: str, value: Any) -> list:
    if name == "text":
        return ["This is a text."]
    return [{"b64": "$(base64 < picture.png | tr -d '[:space:]')"}] if isinstance(value, bytes) else [value.item()]
