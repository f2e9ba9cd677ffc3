"""``kustomization.yaml``: what ``kubectl apply --kustomize`` takes."""

from collections.abc import Iterable

from serving.deployment import dashboard
from serving.deployment.yaml_text import yaml_text

FILE = "kustomization.yaml"


def files(name: str, resources: Iterable[str], config_map: dict, secret: dict | None = None) -> dict[str, str]:
    """``kustomization.yaml`` for files of objects and generators of their configuration; a dashboard for Grafana."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(resources),
        "configMapGenerator": [
            config_map,
            {
                "name": f"{name}-dashboard",
                "files": list(dashboard.files()),
                "options": {"disableNameSuffixHash": True, "labels": {"grafana_dashboard": "1"}},
            },
        ],
        **({"secretGenerator": [secret]} if secret else {}),
    }
    return {FILE: yaml_text(kustomization), **dashboard.files()}
