"""Where the pods of a cluster find the version folders: a claim, a bucket, or their own image."""

import re
from dataclasses import dataclass

from serving.deployment import container
from serving.deployment.plan import Plan, disk
from serving.docker import IMAGE, MODELS

# tensorflow/serving reads no s3:// since 2.7 (github.com/tensorflow/serving/issues/1963): versions are fetched first
INITIALIZER = "kserve/storage-initializer:v0.19.0"

_LEGAL = r"(pvc|gs|s3)://[a-z0-9]([a-z0-9_.-]*[a-z0-9])?(/(?!\.\.?(/|$))[A-Za-z0-9_.-]+)*"
_PINNED = r"[a-z0-9][a-zA-Z0-9_.:/-]*(:[\w.-]+|@sha256:[0-9a-f]{64})"
_WORKING_MEBIBYTES = 1024


@dataclass(frozen=True)
class Storage:
    """``uri``, under which every model has its folder; ``image`` instead where that has the models in it."""

    uri: str = ""
    image: str = IMAGE

    def __post_init__(self):
        if not re.fullmatch(_PINNED, self.image) or self.image.endswith(":latest"):
            raise ValueError(f"An image is pinned by a tag, not latest, or by a digest. Received: {self.image!r}")
        if self.uri and not re.fullmatch(_LEGAL, self.uri):
            raise ValueError(
                f"Models are stored at pvc://CLAIM/path, gs://BUCKET/path or s3://BUCKET/path. Received: {self.uri!r}"
            )

    @property
    def is_bucket(self) -> bool:
        """Whether pods fetch the versions before they start."""
        return self.uri.startswith(("gs://", "s3://"))

    @property
    def claim(self) -> str:
        """The name of the claim, empty for none."""
        return self.uri.removeprefix("pvc://").partition("/")[0] if self.uri.startswith("pvc://") else ""

    def volumes(self, plan: Plan) -> list[dict]:
        """The volume ``models`` of a pod, if it needs one."""
        if not self.uri:
            return []
        if self.is_bucket:
            return [{"name": "models", "emptyDir": {"sizeLimit": f"{disk(plan.models) + _WORKING_MEBIBYTES}Mi"}}]
        return [{"name": "models", "persistentVolumeClaim": {"claimName": self.claim, "readOnly": True}}]

    def mounts(self) -> list[dict]:
        """Where the server sees it."""
        if not self.uri:
            return []
        path = self.uri.removeprefix("pvc://").partition("/")[2] if self.claim else ""
        return [{"name": "models", "mountPath": MODELS, **({"subPath": path} if path else {}), "readOnly": True}]

    def initializers(self, plan: Plan) -> list[dict]:
        """The container that fetches the labelled versions from a bucket, and no others."""
        if not self.is_bucket:
            return []
        # the slash at the end keeps s3 from fetching version 10 with version 1
        pairs = [(f"{self.uri}/{path}/", place) for path, place in container.model_folders(plan).items()]
        amount = {"cpu": "1", "memory": f"{_WORKING_MEBIBYTES}Mi"}
        return [
            {
                "name": "fetch-models",
                "image": INITIALIZER,
                "args": [word for pair in pairs for word in pair],
                "resources": {"requests": amount, "limits": amount},
                "securityContext": container.RIGHTS,
                "volumeMounts": [
                    {"name": "models", "mountPath": MODELS},
                    {"name": "scratch", "mountPath": "/tmp"},
                ],
            }
        ]
