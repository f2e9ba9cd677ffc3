"""``zoo deploy``. Only click and the standard library are imported before a command runs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from serving.deployment.plan import Plan

_AT_LEAST_ONE = click.IntRange(1)
_CHANGING = ("labels", "version", "canary_percent", "force")
_SAID = click.core.ParameterSource.COMMANDLINE
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _GroupOfPackages(click.Group):
    """A group to which other packages add commands, by their entry points in ``zoo.commands.deploy``."""

    def list_commands(self, ctx):
        return [*super().list_commands(ctx), *sorted(entry.name for entry in self._others())]

    def get_command(self, ctx, name):
        for entry in self._others():
            if entry.name == name:
                return entry.load()
        return super().get_command(ctx, name)

    @staticmethod
    def _others():
        return metadata.entry_points(group="zoo.commands.deploy")


@click.group(cls=_GroupOfPackages)
def deploy() -> None:
    """Write the files that run TensorFlow Serving in production, and the commands that apply them.

    \b
    Example: zoo deploy kubernetes deploy/lenet5 served/lenet5 --host models.example.org
    """


def _options(*options: Callable) -> Callable:
    """A decorator that adds the options in the order given."""

    def add(function: Callable) -> Callable:
        for option in reversed(options):
            function = option(function)
        return function

    return add


_what = _options(
    click.argument("folder", metavar="DIR", type=click.Path(path_type=Path)),
    click.argument("base_paths", metavar="BASE_PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)),
    click.option("--name", help="Name of the deployment.  [default: the model's; models, for several]"),
    click.option("--force", is_flag=True, help="Replace files that are there."),
)
_labels = click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="[MODEL:]LABEL=VERSION",
    help="A version to serve, and its label. Can be repeated.  [default: stable, the newest]",
)
_work = _options(
    click.option("--cpus", type=_AT_LEAST_ONE, default=1, show_default=True, help="Processors of one server."),
    click.option(
        "--max-batch",
        type=_AT_LEAST_ONE,
        help="Compute requests of up to so many rows together at once. Larger ones are refused, warm-up records among "
        "them, and one bad request fails those beside it.",
    ),
    click.option(
        "--batch-wait",
        type=click.IntRange(0),
        default=1000,
        show_default=True,
        help="Microseconds that a request waits for others.",
    ),
)
_memory = click.option(
    "--memory", type=click.IntRange(512), help="MiB of one server.  [default: by the versions' size]"
)
_slow = click.option(
    "--slow",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Alert when one request in a hundred takes more seconds.",
)
_body_limit = click.option(
    "--body-limit", type=_AT_LEAST_ONE, default=8, show_default=True, help="MiB of a REST request, from outside."
)
_tls = _options(
    click.option("--tls-certificate", type=_FILE, help="PEM file: gRPC is answered over TLS only, as this server."),
    click.option("--tls-key", type=_FILE, help="PEM file of its private key."),
    click.option("--tls-client-ca", type=_FILE, help="PEM file: only callers with a certificate of it are heard."),
)
_replicas = _options(
    click.option("--min-replicas", type=_AT_LEAST_ONE, default=2, show_default=True, help="Servers at least."),
    click.option("--max-replicas", type=_AT_LEAST_ONE, default=10, show_default=True, help="Servers at most."),
    click.option(
        "--in-flight", type=_AT_LEAST_ONE, help="Requests in one server at a time to aim at.  [default: --cpus]"
    ),
)


@deploy.command()
@_what
@_labels
@_work
@_memory
@_slow
@_body_limit
@_tls
def compose(folder, base_paths, name, force, labels, slow, body_limit, **server) -> None:
    """One machine: Docker Compose, nginx in front, Prometheus and Grafana beside it.

    \b
    Example: zoo deploy compose deploy/here served/lenet5 --cpus 4
    """
    from serving.deployment.compose import files
    from serving.docker import container_user

    _write(
        folder,
        force,
        lambda: files(_plan(base_paths, labels, name, **server), folder.resolve(), container_user(), body_limit, slow),
    )


@deploy.command()
@_what
@_labels
@_work
@_memory
@_slow
@_body_limit
@_tls
@_replicas
@click.option(
    "--storage", help="Where versions are: pvc://CLAIM/path, gs://BUCKET/path, s3://…  [default: a new claim]"
)
@click.option("--image", help="Image with the versions in it, as of `zoo deploy image`; in place of --storage.")
@click.option("--host", default="", help="Name under which callers outside of the cluster ask.  [default: none do]")
@click.option("--ingress-class", default="nginx", show_default=True, help="The controller that answers for --host.")
def kubernetes(
    folder,
    base_paths,
    name,
    force,
    labels,
    slow,
    body_limit,
    min_replicas,
    max_replicas,
    in_flight,
    storage,
    image,
    host,
    ingress_class,
    **server,
) -> None:
    """A cluster: Deployment, autoscaler, alerts and all that is around them, for `kubectl apply -k`.

    \b
    Example: zoo deploy kubernetes deploy/lenet5 served/lenet5 --storage gs://bucket/models
    """
    if storage and image:
        raise click.UsageError("Give --storage or --image, not both.")
    from serving.deployment.kubernetes import Cluster, files
    from serving.deployment.storage import Storage

    def written() -> dict[str, str]:
        plan = _plan(base_paths, labels, name, **server)
        where = Storage(image=image) if image else Storage((storage or f"pvc://{plan.name}-models").rstrip("/"))
        cluster = Cluster(
            where,
            makes_claim=not storage and not image,
            host=host,
            ingress_class=ingress_class,
            min_replicas=min_replicas,
            max_replicas=max_replicas,
            in_flight=in_flight or plan.cpus,
            body_limit=body_limit,
            slow=slow,
        )
        return files(plan, cluster)

    _write(folder, force, written)


@deploy.command()
@_what
@click.option("--version", type=click.IntRange(0), help="The version to serve.  [default: the newest]")
@_work
@_memory
@_replicas
@click.option(
    "--storage", required=True, help="Where versions are: gs://BUCKET/path, s3://BUCKET/path, pvc://CLAIM/path."
)
@click.option("--canary-percent", type=click.IntRange(0, 100), help="Give this version so much of the traffic.")
def kserve(
    folder, base_paths, name, force, version, min_replicas, max_replicas, in_flight, storage, canary_percent, **server
) -> None:
    """KServe: an InferenceService for each BASE_PATH. A canary is rolled out with one of them alone.

    \b
    Example: zoo deploy kserve deploy/lenet5 served/lenet5 --storage s3://bucket/models --canary-percent 10
    """
    if len(base_paths) > 1 and (version is not None or canary_percent is not None):
        raise click.UsageError("--version and --canary-percent go with one BASE_PATH.")
    from serving.deployment.kserve import files
    from serving.deployment.plan import STABLE
    from serving.deployment.storage import Storage

    def written() -> dict[str, str]:
        labels = [] if version is None else [f"{STABLE}={version}"]
        plan = _plan(base_paths, labels, name, **server)
        scale = (min_replicas, max_replicas, in_flight or plan.cpus)
        return files(plan, Storage(storage.rstrip("/")), canary_percent, *scale)

    _write(folder, force, written)


@deploy.command()
@_what
@_labels
@_work
def image(folder, base_paths, name, force, labels, **server) -> None:
    """An image with the versions in it: a Dockerfile.

    \b
    Example: zoo deploy image deploy/image served/lenet5 --label stable=1 --label canary=2
    """
    from serving.deployment.image import files

    _write(folder, force, lambda: files(_plan(base_paths, labels, name, **server)))


def _plan(
    base_paths: tuple[Path, ...],
    labels: tuple[str, ...],
    name: str | None,
    *,
    cpus: int,
    max_batch: int | None,
    batch_wait: int,
    memory: int | None = None,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    tls_client_ca: Path | None = None,
) -> Plan:
    from serving.deployment import text_protos, tls
    from serving.deployment.plan import plan

    if (tls_certificate is None) != (tls_key is None) or (tls_client_ca and not tls_key):
        raise click.UsageError("TLS needs --tls-certificate and --tls-key; --tls-client-ca goes with both.")
    return plan(
        base_paths,
        labels,
        name=name,
        cpus=cpus,
        memory=memory,
        batching=text_protos.batching_config(max_batch, batch_wait, cpus) if max_batch else "",
        tls=tls.read(tls_certificate, tls_key, tls_client_ca) if tls_key else "",
        folder=str(click.get_current_context().params["folder"]),
        command_line=_command_line(),
    )


def _command_line() -> str:
    """The command line at hand, but for what changes from one time to the next."""
    context = click.get_current_context()
    words = ["zoo", "deploy", context.info_name]
    for parameter in context.command.params:
        value = context.params[parameter.name]
        if isinstance(parameter, click.Argument):
            words += [str(part) for part in (value if isinstance(value, tuple) else [value])]
        elif parameter.name not in _CHANGING and context.get_parameter_source(parameter.name) == _SAID:
            words += [parameter.opts[0], str(value)]
    return shlex.join(words)


def _write(folder: Path, force: bool, files: Callable[[], Mapping[str, str]]) -> None:
    from serving.deployment.folder import check_free, write

    try:
        check_free(folder, force)
        written = files()
        write(folder, written)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    except OSError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{folder}: {', '.join(written)}")
    click.echo(f"How to apply, try out, roll back and watch it: {folder / 'README.md'}")
