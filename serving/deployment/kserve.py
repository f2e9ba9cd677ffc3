"""KServe: one InferenceService per model, on the runtime that KServe has for TensorFlow.

KServe splits traffic between revisions, not between labels: each revision has one version, in a folder of its own.
"""

from serving.deployment import container, kustomize, readme
from serving.deployment.plan import STABLE, Model, Plan, kubernetes_names
from serving.deployment.storage import Storage
from serving.deployment.text_protos import monitoring_config
from serving.deployment.yaml_text import yaml_text
from serving.docker import IMAGE
from serving.launching import server_flags

_REST_PORT = 8080  # of KServe's runtime
_METRICS_PATH = "/metrics"  # where KServe's runtime says that they are


def files(
    plan: Plan, storage: Storage, canary_percent: int | None, min_replicas: int, max_replicas: int, in_flight: int
) -> dict[str, str]:
    """The files of a folder that ``kubectl apply -k`` takes, and a README.

    Each model's version is the one labelled STABLE. ``canary_percent`` of the requests go to it where an older
    revision has the others; None: all. ``in_flight`` requests in one server at a time are what KServe scales by.
    """
    scale = {
        "minReplicas": min_replicas,
        "maxReplicas": max_replicas,
        "scaleMetric": "concurrency",
        "scaleTarget": in_flight,
    }
    canary = {} if canary_percent is None else {"canaryTrafficPercent": canary_percent}
    services = {
        name: _inference_service(name, plan, {**scale, **canary, **_predictor(name, model, plan, storage)})
        for name, model in kubernetes_names(plan.models).items()
    }
    config = {container.MONITORING_CONFIG: monitoring_config(_METRICS_PATH)}
    config |= {container.BATCHING_CONFIG: plan.batching} if plan.batching else {}
    # kustomize knows no field of an InferenceService in which it would have to put a changed name
    config_map = {"name": _config_name(plan), "files": list(config), "options": {"disableNameSuffixHash": True}}
    return {
        **kustomize.files(plan.name, [f"{name}.yaml" for name in services], config_map),
        **{f"{name}.yaml": yaml_text(service) for name, service in services.items()},
        **config,
        "README.md": readme.kserve(plan, storage),
    }


def _inference_service(name: str, plan: Plan, predictor: dict) -> dict:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "annotations": {
                "serving.kserve.io/deploymentMode": "Knative",  # the one that splits traffic by canaryTrafficPercent
                "serving.kserve.io/enable-prometheus-scraping": "true",
            },
        },
        "spec": {"predictor": predictor},
    }


def _predictor(name: str, model: Model, plan: Plan, storage: Storage) -> dict:
    amount = {"cpu": str(plan.cpus), "memory": f"{plan.memory}Mi"}
    return {
        "model": {
            "modelFormat": {"name": "tensorflow", "version": "2"},
            "protocolVersion": "v1",
            "runtimeVersion": IMAGE.rpartition(":")[2],
            "storageUri": f"{storage.uri}/{model.name}-{model.labels[STABLE]}",
            "args": server_flags(**container.how_to_work(plan)),  # KServe adds them to its own
            "readinessProbe": {
                "httpGet": {"path": f"/v1/models/{name}/metadata", "port": _REST_PORT},
                "periodSeconds": 5,
                "timeoutSeconds": 5,
            },
            "resources": {"requests": amount, "limits": amount},
            "securityContext": container.RIGHTS,
            "volumeMounts": [
                {"name": "scratch", "mountPath": "/tmp"},
                {"name": "config", "mountPath": container.CONFIG, "readOnly": True},
            ],
        },
        "volumes": [
            {"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "config", "configMap": {"name": _config_name(plan)}},
        ],
    }


def _config_name(plan: Plan) -> str:
    return f"{plan.name}-config"
