"""`zoo deploy train`: the files of a training on many machines."""

import shlex
from pathlib import Path

import click

from recipes.commands import CONFIGS, chosen, train

DATA = "data"
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
@click.option("--ray", is_flag=True, help="A script for Ray in place of a JobSet.")
@click.option("--image", help="Image with this package and its extra jax, as NAME:TAG or NAME@sha256:…; of a JobSet.")
@click.option("--runs", help="PersistentVolumeClaim, or with --slurm and --ray folder, that all workers write to.")
@click.option("--prepared", help="PersistentVolumeClaim, or with --slurm and --ray folder, of prepared TFDS data sets.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def deploy_train(folder, model, options, data, name, slurm, ray, image, runs, prepared, force, **each):
    """Write the files that train MODEL on many machines: a Kubernetes JobSet, a SLURM script, or one for Ray.

    OPTIONS are those of `zoo train`, behind a --.

    \b
    Example: zoo deploy train deploy/r20 resnet20 --data cifar10 --workers 4 --image lab/zoo:0.1.0 -- --epochs 50
    """
    from recipes import jobs

    task, given = _checked(model, data, options, each["workers"] * max(each["gpus"], 1))
    if slurm and ray:
        raise click.UsageError("--slurm and --ray write different scripts. Accepted: one of them.")
    if not (slurm or ray or image):
        raise click.UsageError("A JobSet needs --image; a script is written with --slurm or --ray.")
    if ray and not (runs or "").startswith("/"):
        raise click.UsageError(f"--ray needs --runs, an absolute folder that all nodes share. Received: {runs}.")
    try:
        job = jobs.Job(
            name or f"{model}-{data}".replace("_", "-").replace("/", "-").lower(),
            ["zoo", "train", model, "--data", data, *options, "--distribute", DATA],
            image=image or "",
            runs=runs or ("runs" if slurm else "zoo-runs"),
            data=prepared,
            **each,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if ray:
        file, start = "train.py", ["ray", "job", "submit", "--working-dir", str(folder), "--", "python", "train.py"]
        text = jobs.ray(job, task.replace("-", "_"), model, data, {**given, "distribute": DATA})
    elif slurm:
        file, start, text = "train.sbatch", ["sbatch", str(folder / "train.sbatch")], jobs.slurm(job)
    else:
        file, start, text = "jobset.yaml", ["kubectl", "apply", "-f", str(folder / "jobset.yaml")], jobs.jobset(job)
    path = folder / file
    if path.exists() and not force:
        raise click.UsageError(f"{path} is there already. With --force it is replaced.")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    click.echo(f"Written: {path}. Start it: {shlex.join(start)}")


def _checked(model: str, data: str, options: tuple[str, ...], devices: int) -> tuple[str, dict]:
    """The task of a training and the options that were given. click.UsageError unless so many devices take them."""
    given = train.make_context("train", [model, "--data", data, *options]).params
    own = {name: value for name, value in given.items() if name not in ("model", "data", "task", "as_json")}
    if mine := [name for name in OURS if own[name] is not None]:
        raise click.UsageError(f"--{mine[0].replace('_', '-')} is said by the job itself.")
    task, own = chosen(model, given["task"], False, own)
    batch_size = CONFIGS[task](**own).batch_size
    if batch_size % devices:
        raise click.UsageError(f"--batch-size must be a multiple of the {devices} devices. Received: {batch_size}.")
    return task, own
