"""`zoo reproduce`: train the rows of RESULTS.md again, and say whether they come out as expected."""

import json
import shutil
from pathlib import Path

import click

from recipes.commands import Values
from recipes.tables import print_table

NONE = "–"
WIDE = 140
"""Columns of a terminal that has room for model and data, which names tell, too."""


class Seeds(Values):
    """Whole numbers separated by commas, each once."""

    name = "0,1,2"

    def __init__(self):
        super().__init__(int)

    def convert(self, value, param, ctx):
        seeds = super().convert(value, param, ctx)
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            self.fail(f"{value!r} must be whole numbers of at least 0, each once, such as 0,1,2.", param, ctx)
        return seeds


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--list", "listing", is_flag=True, help="List the experiments of these names, or all: what is trained on what."
)
@click.option("--seeds", type=Seeds(), default="0", show_default=True, help="A Run for each.")
@click.option("--runs-dir", default="runs", show_default=True, help="Folder of the Runs, RUNS_DIR/NAME/seed-SEED.")
@click.option(
    "--measured", type=click.Path(dir_okay=False), help="What was measured before. Default: as it is shipped."
)
@click.option("--record", is_flag=True, help="Add what comes out to what was measured.")
@click.option(
    "--write",
    type=click.Path(exists=True, dir_okay=False),
    help="Write the tables of this document anew from what was measured, as of RESULTS.md.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reproduce(names, listing, seeds, runs_dir, measured, record, write, as_json):
    """Train the experiments NAME... again, which are the rows of RESULTS.md, and say whether they come out as expected.

    NAME is a name, a shell pattern, such as 'mlp-*', or that of a table in RESULTS.md, such as small. A Run that is
    there already is not trained again, and one that was stopped goes on. Expected is the interval in which one more Run
    lies in 95 of 100 cases, made from three seeds. Exit status 1: a figure is outside of it. What has no interval yet
    is not judged.

    \b
    Example: zoo reproduce --list
             zoo reproduce lenet5-digits --seeds 3,4,5
             zoo reproduce 'mlp-*' --seeds 0,1,2 --record --write RESULTS.md
    """
    _check_usage(names, listing, measured, record, write)
    from recipes.experiments import document
    from recipes.experiments import measured as store

    chosen = _chosen(names)
    path = Path(measured) if measured else store.PATH
    known = store.read(path)
    if listing:
        _list(chosen, known, as_json)
        return
    if write:
        document.filled(Path(write).read_text(), known)  # what is wrong with it is told before anything is trained
    verdicts = _reproduce(chosen, seeds, Path(runs_dir), known, path if record else None, as_json) if names else []
    if write:
        store.write_whole(Path(write), document.filled(Path(write).read_text(), store.read(path)))
        click.echo(f"Written: {write}", err=as_json)
    if any(verdict.outside for verdict in verdicts):
        raise SystemExit(1)


def _check_usage(names, listing, measured, record, write):
    if not names and not listing and not write:
        raise click.UsageError("Nothing to do. Accepted: names of experiments, --list, or --write.")
    if listing and (record or write):
        raise click.UsageError("--list trains and writes nothing. Accepted: without --record and --write.")
    if record and not names:
        raise click.UsageError("--record adds what comes out, and nothing is trained. Accepted: with names.")
    if measured and not record and not Path(measured).exists():
        raise click.UsageError(f"--measured {measured} is not there. Accepted: a file; with --record, a new one, too.")


def _chosen(names):
    from recipes.experiments.rows import select

    try:
        return select(names or ["*"])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None


def _reproduce(chosen, seeds, runs, known, record_in, as_json):
    """Train and judge every experiment with every seed; what came out is recorded after each experiment."""
    from recipes import experiments

    for experiment in chosen:
        for seed in seeds:
            experiments.config_of(experiment, seed, runs)  # what is wrong with it is told before anything is trained
    verdicts = []
    for experiment in chosen:
        found = []
        for seed in seeds:
            found.append(experiments.reproduce(experiment, seed, known, runs, verbose=not as_json))
            if not as_json:
                _print_verdict(found[-1])
        verdicts += found
        if record_in:
            experiments.record(experiment, [verdict.run for verdict in found], record_in)
    if as_json:
        click.echo(json.dumps([verdict.record() for verdict in verdicts]))
    return verdicts


def _print_verdict(verdict):
    click.secho(f"{verdict.experiment.name}, seed {verdict.run.facts['seed']}: ", bold=True, nl=False)
    click.secho(verdict.sentence(), fg="red" if verdict.outside else None)


def _list(chosen, known, as_json):
    from recipes.experiments.document import figure

    if as_json:
        click.echo(json.dumps([_entry(experiment, known.get(experiment.name)) for experiment in chosen]))
        return
    rows = [
        [
            *([experiment.name] if i == 0 else [""]),
            f"{name} {figure([run.metrics[name] for run in one.runs])}" if one else name,
            str(one.expected.get(name, NONE)) if one else NONE,
            NONE if one is None or one.seconds is None else f"{one.seconds:.0f}",
            experiment.model,
            str(experiment.data),
        ]
        for experiment in chosen
        for one in [known.get(experiment.name)]
        for i, name in enumerate(experiment.judged_by)
    ]
    header = ["experiment", "figure", "expected", "seconds", "model", "data"]
    shown = len(header) if shutil.get_terminal_size().columns >= WIDE else header.index("model")
    print_table(header[:shown], [row[:shown] for row in rows])


def _entry(experiment, one):
    """An experiment as JSON values."""
    published = experiment.published
    return {
        "experiment": experiment.name,
        "model": experiment.model,
        "data": str(experiment.data),
        "task": experiment.task,
        "takes": [run.experiment for run in experiment.takes],
        "judged_by": list(experiment.judged_by),
        "measured": [{"seed": run.seed, "metrics": run.metrics} for run in one.runs] if one else [],
        "expected": {name: [ends.low, ends.high] for name, ends in one.expected.items()} if one else {},
        "seconds": one.seconds if one else None,
        "published": {"value": published.value, "source": published.source} if published else None,
    }
