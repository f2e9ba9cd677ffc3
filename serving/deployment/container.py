"""The container that serves, the same under Docker, Compose and Kubernetes: its files, its command line, its rights."""

from serving.deployment import text_protos
from serving.deployment.plan import Plan
from serving.docker import CONFIG, MODELS, NOBODY
from serving.launching import BINARY, GRPC_PORT, REST_PORT, server_flags

TLS = "/etc/serving-tls"
MODEL_CONFIG, MONITORING_CONFIG, BATCHING_CONFIG = "models.config", "monitoring.config", "batching.config"
TLS_CONFIG = "ssl.config"  # holds the private key: a Secret

_CONNECTION_MILLISECONDS = 300_000

RIGHTS = {
    "runAsNonRoot": True,
    "runAsUser": NOBODY,
    "runAsGroup": NOBODY,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""The securityContext of a container in a cluster."""


def config_files(plan: Plan) -> dict[str, str]:
    """The files that lie under CONFIG, by name."""
    files = {
        MODEL_CONFIG: text_protos.model_config({model.name: model.labels for model in plan.models}),
        MONITORING_CONFIG: text_protos.monitoring_config(),
    }
    return {**files, BATCHING_CONFIG: plan.batching} if plan.batching else files


def secret_files(plan: Plan) -> dict[str, str]:
    """The files that lie under TLS, by name."""
    return {TLS_CONFIG: plan.tls} if plan.tls else {}


def folder_files(plan: Plan) -> dict[str, str]:
    """All of them, and what keeps the private key out of a repository."""
    secrets = secret_files(plan)
    ignored = {".gitignore": "".join(f"{name}\n" for name in secrets)} if secrets else {}
    return {**config_files(plan), **secrets, **ignored}


def command(plan: Plan) -> list[str]:
    """The server's command line. Models are under MODELS, as the image has it."""
    flags = {
        "port": GRPC_PORT,
        "rest_api_port": REST_PORT,
        "model_config_file": f"{CONFIG}/{MODEL_CONFIG}",
        "allow_version_labels_for_unavailable_models": True,  # at the start no version is available yet
        # a gRPC connection stays with one server: end it now and then, so that callers find new ones
        "grpc_channel_arguments": f"grpc.max_connection_age_ms={_CONNECTION_MILLISECONDS}",
    }
    if plan.tls:
        flags |= {"ssl_config_file": f"{TLS}/{TLS_CONFIG}"}
    return [BINARY, *server_flags(**flags, **how_to_work(plan))]


def how_to_work(plan: Plan) -> dict[str, str | int | bool]:
    """The flags that have nothing to do with models and ports."""
    flags = {
        "monitoring_config_file": f"{CONFIG}/{MONITORING_CONFIG}",
        # TensorFlow counts the machine's processors, not those that the container may use
        "tensorflow_intra_op_parallelism": plan.cpus,
        "tensorflow_inter_op_parallelism": plan.cpus,
    }
    if plan.batching:
        flags |= {"enable_batching": True, "batching_parameters_file": f"{CONFIG}/{BATCHING_CONFIG}"}
    return flags


def ready_path(plan: Plan) -> str:
    """Answers 200 only when the first model has a version that is AVAILABLE, its warm-up behind it.

    At a start that goes for all models: the ports open when each has one.
    """
    return f"/v1/models/{plan.models[0].name}/metadata"


def model_folders(plan: Plan) -> dict[str, str]:
    """Where each labelled version lies: its path below a folder of base paths, and its place in the container."""
    paths = [f"{model.name}/{folder.name}" for model in plan.models for folder in model.folders.values()]
    return {path: f"{MODELS}/{path}" for path in paths}
