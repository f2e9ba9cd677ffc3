"""The pods of a cluster, and what names and selects them."""

from serving.deployment import container
from serving.deployment.plan import Plan
from serving.deployment.storage import Storage
from serving.docker import IMAGE, NOBODY
from serving.launching import GRPC_PORT, REST_PORT

PORTS = [{"name": "rest", "containerPort": REST_PORT}, {"name": "grpc", "containerPort": GRPC_PORT}]

_LOADING_SECONDS = 600
_PROBE_SECONDS = 5
_DRAIN_SECONDS = 20
_LOADER_SECONDS = 3600
_LOADER_AMOUNT = {"cpu": "500m", "memory": "256Mi"}
_FILES_OF_NOBODY = {"fsGroup": NOBODY, "fsGroupChangePolicy": "OnRootMismatch"}


def labels(plan: Plan) -> dict[str, str]:
    """What selects the deployment's pods."""
    return {"app.kubernetes.io/name": "tensorflow-serving", "app.kubernetes.io/instance": plan.name}


def metadata(plan: Plan) -> dict:
    """Name and labels of an object. The namespace is the one that it is applied to."""
    return {"name": plan.name, "labels": labels(plan)}


def config_name(plan: Plan) -> str:
    """The ConfigMap, before kustomize adds its hash."""
    return f"{plan.name}-config"


def secret_name(plan: Plan) -> str:
    """The Secret, before kustomize adds its hash."""
    return f"{plan.name}-tls"


def deployment(plan: Plan, storage: Storage) -> dict:
    """Servers that replace one another only when ready. How many is left to the autoscaler."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(plan),
        "spec": {
            "selector": {"matchLabels": labels(plan)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": _LOADING_SECONDS + 60,
            "template": {"metadata": {"labels": labels(plan)}, "spec": _pod(plan, storage)},
        },
    }


def loader(plan: Plan, storage: Storage) -> dict:
    """A pod that holds the claim open for an hour, so that versions can be copied into it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{plan.name}-loader"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": _FILES_OF_NOBODY,
            "containers": [
                {
                    "name": "loader",
                    "image": IMAGE,
                    "command": ["sleep", str(_LOADER_SECONDS)],
                    "resources": {"requests": _LOADER_AMOUNT, "limits": _LOADER_AMOUNT},
                    "securityContext": container.RIGHTS,
                    "volumeMounts": [{**mount, "readOnly": False} for mount in storage.mounts()],
                }
            ],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": storage.claim}}],
        },
    }


def _pod(plan: Plan, storage: Storage) -> dict:
    volumes = [
        {"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}},
        {"name": "config", "configMap": {"name": config_name(plan)}},
        *storage.volumes(plan),
    ]
    if plan.tls:
        volumes.append({"name": "tls", "secret": {"secretName": secret_name(plan), "defaultMode": 0o440}})
    return {
        "serviceAccountName": plan.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _FILES_OF_NOBODY,
        "terminationGracePeriodSeconds": _DRAIN_SECONDS + 10,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels(plan)},
            }
        ],
        **({"initContainers": initializers} if (initializers := storage.initializers(plan)) else {}),
        "containers": [_server(plan, storage)],
        "volumes": volumes,
    }


def _server(plan: Plan, storage: Storage) -> dict:
    program, *flags = container.command(plan)
    ready = {"httpGet": {"path": container.ready_path(plan), "port": "rest"}, "timeoutSeconds": _PROBE_SECONDS}
    amount = {"cpu": str(plan.cpus), "memory": f"{plan.memory}Mi"}
    mounts = [
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "config", "mountPath": container.CONFIG, "readOnly": True},
        *storage.mounts(),
    ]
    if plan.tls:
        mounts.append({"name": "tls", "mountPath": container.TLS, "readOnly": True})
    return {
        "name": "server",
        "image": storage.image,
        "command": [program],
        "args": flags,
        "ports": PORTS,
        "startupProbe": {**ready, "periodSeconds": 2, "failureThreshold": _LOADING_SECONDS // 2},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {
            "tcpSocket": {"port": "grpc"},
            "timeoutSeconds": _PROBE_SECONDS,
            "periodSeconds": 10,
            "failureThreshold": 3,
        },
        # the server has no shutdown of its own: it answers on until callers have learnt that it is going
        "lifecycle": {"preStop": {"sleep": {"seconds": _DRAIN_SECONDS}}},
        "resources": {"requests": amount, "limits": amount},
        "securityContext": container.RIGHTS,
        "volumeMounts": mounts,
    }
