"""The files of a training on many machines: a Kubernetes JobSet, a SLURM script, or one for Ray.

Every process is told its number, how many there are, and where the first one is; see `recipes.distribution`. When one
is lost all of them end, and are started again: the first one has the run's folder, and they go on from the last
checkpoint.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from recipes.distribution_variables import ADDRESSES, PROCESS, PROCESSES

WORKERS = "workers"
PORT = 12345
RESTARTS = 10
NOBODY = 65534
RUNS, DATA = "/runs", "/data"
SHARED_MEMORY = "1Gi"
RESTART_LABEL = "jobset.sigs.k8s.io/restart-attempt"
NUMBER_ANNOTATION = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Job:
    """A training on several machines.

    Attributes:
        name: of the job, and of the Run's folder.
        command: `zoo train …`, without folder and devices.
        workers: processes, one on each machine.
        cpus, memory, gpus: of each; memory in GiB.
        image: container image that has this package with its extra `jax`; of a JobSet.
        runs: PersistentVolumeClaim that all workers write to; or the folder, of SLURM and Ray.
        data: PersistentVolumeClaim of prepared TFDS data sets; or the folder, of SLURM and Ray. None: none.

    Raises:
        ValueError: a name that Kubernetes takes for no host's, or an image without a version.
    """

    name: str
    command: Sequence[str]
    workers: int
    cpus: int = 4
    memory: int = 16
    gpus: int = 0
    image: str = ""
    runs: str = ""
    data: str | None = None

    def __post_init__(self):
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", self.name):
            raise ValueError(f"name must be small letters, digits and -, at most 40. Received: {self.name!r}.")
        tag = self.image.rpartition("/")[2].partition(":")[2]
        if self.image and "@sha256:" not in self.image and tag in ("", "latest"):
            raise ValueError(
                f"image must say its version, so that every worker runs the same. Received: {self.image!r}. Accepted: "
                "NAME:TAG, or NAME@sha256:DIGEST."
            )


def jobset(job: Job) -> str:
    """The JobSet of a training, YAML."""
    host = f"{job.name}-{WORKERS}-0-0.{job.name}"
    manifest = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": job.name, "labels": {"app.kubernetes.io/name": "zoo-train"}},
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": job.name, "publishNotReadyAddresses": True},
            # One that is lost ends them all: they are started again, together.
            "failurePolicy": {"maxRestarts": RESTARTS},
            "replicatedJobs": [{"name": WORKERS, "replicas": 1, "template": {"spec": _job_spec(job, host)}}],
        },
    }
    return yaml.safe_dump(manifest, sort_keys=False, width=1000)


def _job_spec(job: Job, host: str) -> dict:
    return {
        "completionMode": "Indexed",
        "completions": job.workers,
        "parallelism": job.workers,
        "backoffLimit": 0,
        "template": {"spec": _pod(job, host)},
    }


def _pod(job: Job, host: str) -> dict:
    claims = {RUNS: job.runs, **({DATA: job.data} if job.data else {})}
    volumes = [
        {"name": path.strip("/"), "persistentVolumeClaim": {"claimName": claim}} for path, claim in claims.items()
    ]
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"fsGroup": NOBODY, "fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [_container(job, host, list(claims))],
        "volumes": [
            *volumes,
            {"name": "scratch", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
        ],
    }


def _container(job: Job, host: str, paths: Sequence[str]) -> dict:
    amounts = {"cpu": str(job.cpus), "memory": f"{job.memory}Gi"}
    amounts |= {"nvidia.com/gpu": str(job.gpus)} if job.gpus else {}
    told = {"KERAS_BACKEND": "jax", ADDRESSES: f"{host}:{PORT}", PROCESSES: str(job.workers), "HOME": "/tmp"}
    told |= {"TFDS_DATA_DIR": DATA} if job.data else {}
    read = {PROCESS: f"metadata.annotations['{NUMBER_ANNOTATION}']", "ATTEMPT": f"metadata.labels['{RESTART_LABEL}']"}
    command = shlex.join([*job.command, "--run-dir", f"{RUNS}/{job.name}"])
    return {
        "name": "train",
        "image": job.image,
        "command": ["sh", "-c", f'exec {command} $([ "$ATTEMPT" = 0 ] || echo --resume)'],
        "env": [
            *({"name": name, "value": value} for name, value in told.items()),
            *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in read.items()),
        ],
        "ports": [{"name": "coordinator", "containerPort": PORT}],
        "resources": {"requests": amounts, "limits": dict(amounts)},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            *({"name": path.strip("/"), "mountPath": path, "readOnly": path == DATA} for path in paths),
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": "memory", "mountPath": "/dev/shm"},
        ],
    }


def slurm(job: Job) -> str:
    """The script of a training, for `sbatch`."""
    command = shlex.join([*job.command, "--run-dir", f"{job.runs.rstrip('/')}/{job.name}"])
    gpus = f"#SBATCH --gpus-per-node={job.gpus}\n" if job.gpus else ""
    data = f"export TFDS_DATA_DIR={shlex.quote(job.data)}\n" if job.data else ""
    return f"""#!/bin/sh
#SBATCH --job-name={job.name}
#SBATCH --nodes={job.workers}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={job.cpus}
#SBATCH --mem={job.memory}G
{gpus}#SBATCH --requeue
#SBATCH --open-mode=append

export KERAS_BACKEND=jax
{data}
# One process that is lost ends them all; the job is put into the queue again, and goes on from the last checkpoint.
srun --kill-on-bad-exit=1 {command} $([ "${{SLURM_RESTART_COUNT:-0}}" = 0 ] || echo --resume) && exit
[ "${{SLURM_RESTART_COUNT:-0}}" -lt {RESTARTS} ] && scontrol requeue "$SLURM_JOB_ID"
exit 1
"""


def ray(job: Job, recipe: str, model: str, data: str, options: Mapping[str, Any]) -> str:
    """The script of a training under Ray, Python: what `job` says as a command is said as a call.

    Args:
        job: the training.
        recipe: its name.
        model, data, options: what it takes.
    """
    each = {"CPU": job.cpus, **({"GPU": job.gpus} if job.gpus else {}), "memory": job.memory * 2**30}
    gpus = "use_gpu=True, " if job.gpus else ""
    environment = f"        worker_runtime_env={{'env_vars': {{'TFDS_DATA_DIR': {job.data!r}}}}},\n" if job.data else ""
    given = "".join(f"    {name}={value!r},\n" for name, value in options.items())
    runs = job.runs.rstrip("/")
    return f"""from ray.train import FailureConfig, RunConfig, ScalingConfig

from recipes.ray_training import trainer

# When a worker is lost all are started again, and go on from the last checkpoint; so they do when this is.
trainer(
    {recipe!r},
    {model!r},
    {data!r},
    run_dir={f"{runs}/{job.name}"!r},
    scaling_config=ScalingConfig(num_workers={job.workers}, {gpus}resources_per_worker={each!r}),
    run_config=RunConfig(
        name={job.name!r},
        storage_path={f"{runs}/ray_results"!r},
        failure_config=FailureConfig(max_failures={RESTARTS}),
{environment}    ),
{given}).fit()
"""
