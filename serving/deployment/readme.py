"""The README.md of a written folder: the commands that apply it, try a version out and roll it back; what to watch.

The pages are texts with ``@{name}`` where a value goes.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from serving.deployment.container import ready_path
from serving.deployment.plan import STABLE, Plan, kubernetes_name, kubernetes_names
from serving.deployment.storage import Storage

if TYPE_CHECKING:
    from serving.deployment.kubernetes import Cluster

CANARY = "canary"

_PAGES = Path(__file__).with_name("pages")


class _Page(Template):
    delimiter = "@"


def compose(plan: Plan) -> str:
    """Of a folder for Docker Compose."""
    return _page("compose", _values(plan))


def kubernetes(plan: Plan, cluster: Cluster) -> str:
    """Of a folder for a cluster."""
    values = _values(plan) | {
        "ready": ready_path(plan),
        "min_replicas": cluster.min_replicas,
        "in_flight": cluster.in_flight,
        "host": cluster.host,
        "body_limit": cluster.body_limit,
    }
    values["storage"] = _where_versions_are(cluster, values)
    values["outside"] = (
        _page("outside", values).strip()
        if cluster.host
        else "Only pods in the cluster can ask: `--host` adds an Ingress."
    )
    return _page("kubernetes", values)


def kserve(plan: Plan, storage: Storage) -> str:
    """Of a folder for KServe."""
    service = kubernetes_name(plan.models[0].name)
    values = _values(plan) | {"service": service, "uri": storage.uri, "copy": _copy(storage)}
    copies = [
        f"$ {values['copy']} {shlex.quote(model.given)}/{number} {storage.uri}/{model.name}-{number}/{number}"
        for model in plan.models
        for number in model.labels.values()
    ]
    alone = len(plan.models) == 1
    canary = _page("kserve-canary", values) if alone else "A canary is rolled out with a folder for its model alone."
    return _page("kserve", values | {"copies": "\n".join(copies), "canary": canary.strip()})


def image(plan: Plan) -> str:
    """Of a folder for an image."""
    contexts = [
        f"--build-context {name}={shlex.quote(model.given)}" for name, model in kubernetes_names(plan.models).items()
    ]
    bases = [shlex.quote(model.given) for model in plan.models]
    labels = [
        f"--label {model.name}:{label}={number}" for model in plan.models for label, number in model.labels.items()
    ]
    build = {"build": " ".join(["docker build", *contexts]), "bases": " ".join(bases), "labels": " ".join(labels)}
    return _page("image", _values(plan) | build)


def _values(plan: Plan) -> dict[str, object]:
    """What all pages tell of; the commands of a canary are those for the first of several models."""
    first, *others = plan.models
    kept = [f"--label {model.name}:{label}={number}" for model in others for label, number in model.labels.items()]
    rows = [f"| `{model.name}` | `{label}` | {n} |" for model in plan.models for label, n in model.labels.items()]
    values = {
        "name": plan.name,
        "folder": shlex.quote(plan.folder),
        "written_by": plan.command_line,
        "relabel": " ".join([plan.command_line, *kept]),
        "prefix": f"{first.name}:" if others else "",
        "models": "\n".join(["| model | label | version |", "|---|---|---|", *rows]),
        "model": first.name,
        "base": shlex.quote(first.given),
        "stable": first.labels.get(STABLE, max(first.labels.values())),
        "next": first.labels.get(CANARY, first.next_version),
    }
    return values | {part: _page(part, values).strip() for part in ("callers", "alerts")}


def _where_versions_are(cluster: Cluster, values: dict[str, object]) -> str:
    storage = cluster.storage
    if storage.claim:
        files = [*(["claim.yaml"] if cluster.makes_claim else []), "loader.yaml"]
        manifests = " ".join(f"--filename {values['folder']}/{file}" for file in files)
        return _page("claim", values | {"claim": storage.claim, "manifests": manifests}).strip()
    if storage.is_bucket:
        return _page("bucket", values | {"uri": storage.uri, "copy": _copy(storage)}).strip()
    return f"The versions are in the image `{storage.image}`, as `zoo deploy image` makes it."


def _copy(storage: Storage) -> str:
    """The command that copies a folder to where the storage is."""
    if storage.uri.startswith("s3://"):
        return "aws s3 cp --recursive"
    return "gcloud storage cp --recursive" if storage.uri.startswith("gs://") else "cp --recursive"


def _page(name: str, values: dict[str, object]) -> str:
    return _Page((_PAGES / f"{name}.md").read_text("utf-8")).substitute(values)
