"""`zoo deploy train`: the files of a training on many machines."""

import shlex
from pathlib import Path

import click

from recipes.commands import CONFIGS, make_config, train
from zoo.commands import entry_of

OURS = ("run_dir", "resume", "overwrite", "distribute")
_AT_LEAST_ONE = click.IntRange(1)


@click.command("train")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("model")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.option("--data", required=True, help="As of `zoo train`, where every worker finds it.")
@click.option("--name", help="Of the job and of the Run's folder.  [default: MODEL-DATA]")
@click.option("--workers", type=click.IntRange(2), default=2, show_default=True, help="Processes, one on each machine.")
@click.option("--cpus", type=_AT_LEAST_ONE, default=4, show_default=True, help="Processors of each.")
@click.option("--memory", type=_AT_LEAST_ONE, default=16, show_default=True, help="GiB of each.")
@click.option("--gpus", type=click.IntRange(0), default=0, show_default=True, help="Accelerators of each.")
@click.option("--slurm", is_flag=True, help="A script for sbatch in place of a JobSet.")
@click.option("--image", help="Image with this package and its extra jax, as NAME:TAG or NAME@sha256:…; of a JobSet.")
@click.option("--runs", help="PersistentVolumeClaim, or with --slurm folder, that all workers write to.")
@click.option("--prepared", help="PersistentVolumeClaim, or with --slurm folder, of prepared TFDS data sets.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def deploy_train(folder, model, options, data, name, slurm, image, runs, prepared, force, **each):
    """Write the files that train MODEL on many machines: a Kubernetes JobSet, or a SLURM script.

    OPTIONS are those of `zoo train`, behind a --.

    \b
    Example: zoo deploy train deploy/r20 resnet20 --data cifar10 --workers 4 --image lab/zoo:0.1.0 -- --epochs 50
    """
    from recipes import jobs

    command = ["zoo", "train", model, "--data", data, *options, "--distribute", "data"]
    _check(model, data, options, each["workers"] * max(each["gpus"], 1))
    if not slurm and not image:
        raise click.UsageError("A JobSet needs --image; a SLURM script is written with --slurm.")
    try:
        job = jobs.Job(
            name or f"{model}-{data}".replace("_", "-").replace("/", "-").lower(),
            command,
            image=image or "",
            runs=runs or ("runs" if slurm else "zoo-runs"),
            data=prepared,
            **each,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    file, text = ("train.sbatch", jobs.slurm(job)) if slurm else ("jobset.yaml", jobs.jobset(job))
    path = folder / file
    if path.exists() and not force:
        raise click.UsageError(f"{path} is there already. With --force it is replaced.")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    apply = f"sbatch {shlex.quote(str(path))}" if slurm else f"kubectl apply -f {shlex.quote(str(path))}"
    click.echo(f"Written: {path}. Start it: {apply}")


def _check(model: str, data: str, options: tuple[str, ...], devices: int) -> None:
    """Raise click.UsageError unless `zoo train` takes the options, on so many devices."""
    given = train.make_context("train", [model, "--data", data, *options]).params
    entry = entry_of(model)
    task = given["task"] or entry["tasks"][0]
    own = {name: value for name, value in given.items() if name not in ("model", "data", "task", "as_json")}
    if mine := [name for name in OURS if own[name] is not None]:
        raise click.UsageError(f"--{mine[0].replace('_', '-')} is said by the job itself.")
    batch_size = CONFIGS[task](**make_config(task, own)).batch_size
    if batch_size % devices:
        raise click.UsageError(f"--batch-size must be a multiple of the {devices} devices. Received: {batch_size}.")
