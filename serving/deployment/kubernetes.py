"""A cluster: everything around the pods, put together by a kustomization. ``pods.py`` has the pods."""

import math
import re
from dataclasses import dataclass

from serving.deployment import container, kustomize, monitoring, pods, readme
from serving.deployment.plan import Plan, disk
from serving.deployment.storage import Storage
from serving.deployment.yaml_text import yaml_text
from serving.embedded.monitoring_config import DEFAULT_PATH

_OUR_METRICS = ":tensorflow:(serving|cc:saved_model):.*"  # a server has some 250 kB of others
_INGRESS_NAMESPACES = ["nginx-ingress", "ingress-nginx"]
_MONITORING_NAMESPACES = ["monitoring"]
_CLAIM_GIBIBYTES, _CLAIM_TIMES = 10, 5
_METADATA_SERVICES = "169.254.0.0/16"  # where a pod gets the credentials of its service account


@dataclass(frozen=True)
class Cluster:
    """What a cluster adds to a plan.

    ``host`` is the name under which callers from outside ask, empty for none; ``body_limit`` in MiB; ``in_flight``
    requests in one server at a time are what the autoscaler aims at; ``slow`` in seconds, as alerts have it.
    """

    storage: Storage
    makes_claim: bool = False
    host: str = ""
    ingress_class: str = "nginx"
    min_replicas: int = 2
    max_replicas: int = 10
    in_flight: int = 1
    body_limit: int = 8
    slow: float = 1.0

    def __post_init__(self):
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"There cannot be more replicas at least than at most: {self.min_replicas} and {self.max_replicas}"
            )
        if self.host and not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", self.host):
            raise ValueError(f"A host is a name such as models.example.org, in lower case. Received: {self.host!r}")


def files(plan: Plan, cluster: Cluster) -> dict[str, str]:
    """The files of a folder that ``kubectl apply -k`` takes, and three for people and other programs."""
    objects = {
        "service-account.yaml": _service_account(plan),
        "deployment.yaml": pods.deployment(plan, cluster.storage),
        "service.yaml": _service(plan),
        "autoscaler.yaml": _autoscaler(plan, cluster),
        "disruption-budget.yaml": _disruption_budget(plan),
        "network-policy.yaml": _network_policy(plan, cluster),
        "service-monitor.yaml": _service_monitor(plan),
        "alerts.yaml": _alerts(plan, cluster),
    }
    if cluster.makes_claim:
        objects["claim.yaml"] = _claim(plan, cluster.storage)
    if cluster.host:
        objects["ingress.yaml"] = _ingress(plan, cluster)
    # their names get a hash of the content: a change rolls out, and an undo finds what was
    config_map = {"name": pods.config_name(plan), "files": list(container.config_files(plan))}
    secret = {"name": pods.secret_name(plan), "files": list(container.secret_files(plan))} if plan.tls else None
    return {
        **kustomize.files(plan.name, objects, config_map, secret),
        **{name: yaml_text(manifest) for name, manifest in objects.items()},
        **container.folder_files(plan),
        "prometheus-adapter.yaml": yaml_text(_ADAPTER),
        **({"loader.yaml": yaml_text(pods.loader(plan, cluster.storage))} if cluster.storage.claim else {}),
        "README.md": readme.kubernetes(plan, cluster),
    }


def _service_account(plan: Plan) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": pods.metadata(plan),
        "automountServiceAccountToken": False,
    }


def _service(plan: Plan) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": pods.metadata(plan),
        "spec": {
            "selector": pods.labels(plan),
            "ports": [
                {"name": port["name"], "port": port["containerPort"], "targetPort": port["name"]} for port in pods.PORTS
            ],
        },
    }


def _autoscaler(plan: Plan, cluster: Cluster) -> dict:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": pods.metadata(plan),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": plan.name},
            "minReplicas": cluster.min_replicas,
            "maxReplicas": cluster.max_replicas,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": monitoring.IN_FLIGHT},
                        "target": {"type": "AverageValue", "averageValue": str(cluster.in_flight)},
                    },
                }
            ],
        },
    }


def _disruption_budget(plan: Plan) -> dict:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": pods.metadata(plan),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": pods.labels(plan)}},
    }


def _network_policy(plan: Plan, cluster: Cluster) -> dict:
    rest, grpc = ({"protocol": "TCP", "port": port["name"]} for port in pods.PORTS)
    callers = [
        {"from": [{"podSelector": {}}], "ports": [rest, grpc]},
        {"from": [_namespaces(_MONITORING_NAMESPACES)], "ports": [rest]},
    ]
    if cluster.host:
        callers.append({"from": [_namespaces(_INGRESS_NAMESPACES)], "ports": [rest]})
    reached = [
        {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}, {"protocol": "TCP", "port": 443}]},
        {"to": [{"ipBlock": {"cidr": _METADATA_SERVICES}}]},
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": pods.metadata(plan),
        "spec": {
            "podSelector": {"matchLabels": pods.labels(plan)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": callers,
            "egress": reached if cluster.storage.is_bucket else [],
        },
    }


def _namespaces(names: list[str]) -> dict:
    expression = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}
    return {"namespaceSelector": {"matchExpressions": [expression]}}


def _claim(plan: Plan, storage: Storage) -> dict:
    """Room for the versions of today and some to come."""
    gibibytes = max(_CLAIM_GIBIBYTES, math.ceil(_CLAIM_TIMES * disk(plan.models) / 1024))
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {**pods.metadata(plan), "name": storage.claim},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": f"{gibibytes}Gi"}}},
    }


def _ingress(plan: Plan, cluster: Cluster) -> dict:
    """REST for callers from outside, without the metrics. The annotations are those of both controllers with nginx."""
    limit = f"{cluster.body_limit}m"
    backend = {"service": {"name": plan.name, "port": {"name": "rest"}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            **pods.metadata(plan),
            "annotations": {
                "nginx.org/client-max-body-size": limit,
                "nginx.ingress.kubernetes.io/proxy-body-size": limit,
            },
        },
        "spec": {
            "ingressClassName": cluster.ingress_class,
            "tls": [{"hosts": [cluster.host], "secretName": f"{plan.name}-https"}],
            "rules": [
                {
                    "host": cluster.host,
                    "http": {"paths": [{"path": "/v1/models/", "pathType": "Prefix", "backend": backend}]},
                }
            ],
        },
    }


def _service_monitor(plan: Plan) -> dict:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": pods.metadata(plan),
        "spec": {
            "selector": {"matchLabels": pods.labels(plan)},
            "endpoints": [
                {
                    "port": "rest",
                    "path": DEFAULT_PATH,
                    "interval": "15s",
                    "metricRelabelings": [{"action": "keep", "sourceLabels": ["__name__"], "regex": _OUR_METRICS}],
                }
            ],
        },
    }


def _alerts(plan: Plan, cluster: Cluster) -> dict:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": pods.metadata(plan),
        "spec": {"groups": monitoring.alert_groups(plan.name, cluster.slow)},
    }


_ADAPTER = {
    "rules": {
        "custom": [
            {
                "seriesQuery": f'{{__name__="{monitoring.LATENCY}_sum",namespace!="",pod!=""}}',
                "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
                "name": {"as": monitoring.IN_FLIGHT},
                "metricsQuery": monitoring.in_flight("<<.LabelMatchers>>", by="<<.GroupBy>>"),
            }
        ]
    }
}
"""Values of prometheus-adapter's Helm chart."""
