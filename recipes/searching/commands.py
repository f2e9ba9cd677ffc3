"""`zoo search`: good options for a recipe."""

import json

import click

from recipes.commands import CONFIGS, chosen, config_options
from recipes.tables import print_table


class Dimension(click.ParamType):
    """An option's name, and what may be tried for it."""

    name = "name=values"

    def convert(self, value, param, ctx):
        name, is_there, text = value.partition("=")
        if not is_there or not name:
            self.fail(f"{value!r} is not an option's name, = and what may be tried for it.", param, ctx)
        return name.strip().removeprefix("--").replace("-", "_"), text


@click.command()
@click.argument("model")
@click.option("--data", required=True, help="What `zoo train` takes.")
@click.option("--task", type=click.Choice(sorted(CONFIGS)), help="Default: the model's own, as in `zoo show`.")
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True, help="How many, at most.")
@click.option(
    "--oracle",
    type=click.Choice(["random", "bayesian", "hyperband"]),
    default="random",
    show_default=True,
    help="What proposes them; hyperband trains many shortly and the best up to --epochs.",
)
@click.option(
    "--space",
    type=Dimension(),
    multiple=True,
    help="What is searched in place of the task's own space: learning_rate=log(1e-4,1e-1), dropout=uniform(0,0.5), "
    "optimizer=adam,momentum, model_args.width=8,16. Can be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the trials as JSON.")
@config_options
def search(model, data, task, trials, oracle, space, as_json, **options):
    """Search good options for MODEL: train it again and again, each time a Run, in a folder of all of them, --run-dir.

    Options that are given are the same in every trial. Trials are judged on the validation part by --monitor, which is
    by default the accuracy, where the task has one. A search that was stopped goes on with --resume.

    \b
    Example: zoo search lenet5 --data digits --trials 20 --epochs 10 --run-dir runs/search
             zoo search mlp --data digits --space 'learning_rate=log(1e-4,1e-1)' --space optimizer=adam,momentum
    """
    task, given = chosen(model, task, as_json, options)
    if len(names := [name for name, _ in space]) > len(set(names)):
        raise click.UsageError(f"--space names an option twice. Received: {', '.join(names)}.")

    import recipes

    found = recipes.search(model, data, task=task, trials=trials, oracle=oracle, space=dict(space) or None, **given)
    if as_json:
        click.echo(json.dumps(_record(found)))
    else:
        _print(found)
    if found.best is None:
        raise SystemExit(1)


def _record(found):
    trials = [
        {"run": str(trial.dir), "values": trial.values, "epochs": trial.epochs, "score": trial.score,
         "seconds": trial.seconds}
        for trial in found.trials
    ]  # fmt: skip
    best = found.best and str(found.best.dir)
    return {"objective": found.objective, "trials": trials, "best": best, "command": found.command}


def _print(found):
    rows = [
        [
            trial.dir.name,
            "diverged" if trial.score is None else f"{trial.score:.4f}",
            str(trial.epochs),
            "" if trial.seconds is None else f"{trial.seconds:.0f}",
            ", ".join(f"{name} {value}" for name, value in trial.values.items()),
        ]
        for trial in found.ranked
    ]
    print_table(["", found.objective, "epochs", "seconds", "options"], rows)
    if found.best is None:
        click.secho("No trial has a score: the loss became NaN in all. Search smaller learning rates.", fg="red")
        return
    click.echo(f"Best Run: {found.best.dir}. The same again:\n{found.command}")
