"""`bom.json`: what a version is made of and with, as a CycloneDX 1.6 bill of materials.

The model is a component with the hashes of what it holds and its model card; its data sets, the weights that its
training began with, and the Python packages that made it are others. The version's number is not among what it says:
that is the folder's name. Two equal exports have the same one, but for the time (`metadata.timestamp`) and what follows
from that (`serialNumber`).
"""

import contextlib
import functools
import json
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

FILE = "bom.json"
DISTRIBUTION = "servable-zoo"
EXTRAS = (None, "huggingface", "litert", "onnx", "text")
"""Of this package, those that a version may be made with; the others are for working on it."""

_REQUIREMENT = re.compile(r"""([\w.-]+)(?:.*\bextra\s*==\s*["'](\w+))?""")


def write(folder: Path, card: Mapping[str, Any], model_name: str) -> None:
    """Write `bom.json` of a version.

    Args:
        folder: of the version.
        card: what `card.json` holds.
        model_name: the name a server knows the model by.
    """
    own, *made_of = card["licenses"]
    data = [_dataset(each, card["lineage"]) for each in made_of if each["of"] == "data"]
    weights = [
        Component(type=ComponentType.MACHINE_LEARNING_MODEL, name=each["name"], licenses=_licenses(each))
        for each in made_of
        if each["of"] == "weights"
    ]
    model = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        name=model_name,
        licenses=_licenses(own),
        components=[
            Component(type=ComponentType.DATA, bom_ref=what, name=what, hashes=[_sha256(digest)])
            for what, digest in card["hashes"].items()
        ],
        pedigree=Pedigree(ancestors=weights) if weights else None,
    )
    tools = [
        Component(bom_ref=str(purl), name=purl.name, version=purl.version, purl=purl)
        for purl in (PackageURL("pypi", None, *package) for package in packages())
    ]
    about = BomMetaData(component=model, timestamp=datetime.fromisoformat(card["created"]))
    bom = Bom(metadata=about, components=[*data, *tools])
    bom.register_dependency(model, [*data, *tools])
    record = json.loads(JsonV1Dot6(bom).output_as_string())
    # The library has no model cards yet: https://github.com/CycloneDX/cyclonedx-python-lib/issues/912
    record["metadata"]["component"]["modelCard"] = _model_card(card, [str(each.bom_ref) for each in data])
    said = {name: value for name, value in record.items() if name != "serialNumber"}
    record["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(said, sort_keys=True)).urn
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


@functools.cache  # looking for a package takes milliseconds, and there are many
def packages() -> tuple[tuple[str, str], ...]:
    """Name and installed version of this package, and of those that it needs."""
    found = [(DISTRIBUTION, metadata.version(DISTRIBUTION))]
    needed = (_REQUIREMENT.match(line).groups() for line in metadata.requires(DISTRIBUTION))
    for name in sorted({name for name, extra in needed if extra in EXTRAS}):
        with contextlib.suppress(metadata.PackageNotFoundError):  # of an extra, or of another system
            found.append((name, metadata.version(name)))
    return tuple(found)


def _dataset(each: Mapping[str, Any], lineage: Mapping[str, Any]) -> Component:
    known = lineage.get("data", {})
    fingerprint = known.get("fingerprint") if known.get("name") == each["name"] else None
    return Component(
        type=ComponentType.DATA,
        bom_ref=f"data: {each['name']}",
        name=each["name"],
        licenses=_licenses(each),
        hashes=[_sha256(fingerprint)] if fingerprint else [],
    )


def _licenses(each: Mapping[str, Any]) -> list:
    return [LicenseFactory().make_from_string(each["license"])] if each["license"] else []


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _model_card(card: Mapping[str, Any], data: list[str]) -> dict[str, Any]:
    def tensors(side):
        return [
            {"format": f"{signature}: {name}, {one['dtype']} {one['shape']}"}
            for signature, of in card["signatures"].items()
            for name, one in of[side].items()
        ]

    slice_ = card["lineage"].get("evaluated_on")
    figures = [
        {"type": name, "value": str(value), **({"slice": slice_} if slice_ else {})}
        for name, value in card["metrics"].items()
    ]
    return {
        "modelParameters": {
            "task": card["task"],
            "modelArchitecture": card["architecture"],
            "datasets": [{"ref": ref} for ref in data],
            "inputs": tensors("inputs"),
            "outputs": tensors("outputs"),
        },
        "quantitativeAnalysis": {"performanceMetrics": figures},
        "considerations": {"useCases": [card["intended_use"]], "technicalLimitations": list(card["limitations"])},
    }
