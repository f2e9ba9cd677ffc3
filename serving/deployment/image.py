"""An image that has its models in it: a Dockerfile, built with the base paths as further build contexts."""

import json

from serving.deployment import container, readme
from serving.deployment.plan import Plan, kubernetes_names
from serving.docker import IMAGE, MODELS, NOBODY
from serving.launching import GRPC_PORT, REST_PORT


def files(plan: Plan) -> dict[str, str]:
    """The files of a folder that ``docker build`` takes. Nothing is copied before that."""
    return {
        "Dockerfile": _dockerfile(plan),
        **container.folder_files(plan),
        "README.md": readme.image(plan),
    }


def _dockerfile(plan: Plan) -> str:
    owner = f"{NOBODY}:{NOBODY}"
    copies = [
        f"COPY --from={name} --chown={owner} {folder.name}/ {MODELS}/{model.name}/{folder.name}/"
        for name, model in kubernetes_names(plan.models).items()
        for folder in model.folders.values()
    ]
    lines = [
        f"FROM {IMAGE}",
        *copies,
        f"COPY --chown={owner} {' '.join(container.config_files(plan))} {container.CONFIG}/",
        f"USER {owner}",
        f"EXPOSE {GRPC_PORT} {REST_PORT}",
        f"ENTRYPOINT {json.dumps(container.command(plan))}",
    ]
    return "\n".join(lines) + "\n"
