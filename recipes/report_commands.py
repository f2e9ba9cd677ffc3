"""`zoo data check` and `zoo compare`: what is in data, and in Runs."""

import json

import click

from recipes.commands import CONFIGS
from recipes.tables import print_table

PLACES = 3
"""Places of a finding that are printed; --json has more."""

CLASSES = 20
"""Classes that are printed, the largest and the smallest ones."""


@click.group()
def data():
    """Look at data before anything is trained on it.

    \b
    Example: zoo data check my_pictures/
    """


@data.command()
@click.argument("data")
@click.option("--task", type=click.Choice(sorted(CONFIGS)), help="Default: what its files or features are fit for.")
@click.option("--text", help="Column or feature that holds the text.")
@click.option("--target", help="Column or feature that holds the target.")
@click.option("--data-dir", help="Where TFDS data sets lie.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def check(data, task, text, target, data_dir, as_json):
    """Read DATA once: what is broken, what is there twice, what leaks from one part into another.

    DATA is a folder with one sub-folder of pictures or texts per class (perhaps below train/, validation/ and test/),
    a CSV file, or a TFDS name. Exit status 1: there are errors, which training would refuse, or by which its figures
    would be wrong. Remarks alone: 0.

    \b
    Example: zoo data check my_pictures/
             zoo data check reviews.csv --text review --target stars --json
    """
    import recipes

    report = recipes.check_data(data, task=task, text=text, target=target, data_dir=data_dir, verbose=not as_json)
    if as_json:
        click.echo(json.dumps(report.record(), ensure_ascii=False))
    else:
        _print_report(report)
    if not report.ok:
        raise SystemExit(1)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(exists=True, file_okay=False))
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw the curves of all into this PNG file.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown, a Run per row.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(runs, plot, markdown, as_json):
    """Put Runs side by side: what they are, their figures, the options by which they differ, and their curves.

    The best figure is marked where Runs can be compared: of one task, judged on the same examples.

    \b
    Example: zoo compare runs/lenet5 runs/resnet20 --plot curves.png
    """
    if markdown and as_json:
        raise click.UsageError("Received --markdown and --json. Accepted: one of them.")
    import recipes

    found = recipes.compare(runs)
    if plot:
        found.plot(plot)
    if as_json:
        click.echo(json.dumps(found.record(), ensure_ascii=False))
    elif markdown:
        click.echo(found.markdown())
    else:
        print_table(["", *found.names], [[name, *cells] for name, cells in found.rows().items()], justify="right")
    if not as_json:
        for reason in found.not_comparable:
            click.secho(f"Not comparable. {reason}", fg="yellow", err=markdown)
        if plot:
            click.echo(f"Written: {plot}", err=markdown)


def _print_report(report):
    parts = ", ".join(f"{part} {count:,}" for part, count in report.examples.items())
    click.echo(f"{report.name}, for {report.task}: {parts}")
    if report.classes:
        print_table(["class", *report.classes, "share of train"], _class_rows(report.classes), justify="right")
    if report.measures:
        rows = [
            [name, *(f"{value:.6g}" for value in (of.least, of.mean, of.most))] for name, of in report.measures.items()
        ]
        print_table(["", "least", "mean", "most"], rows, justify="right")
    for finding in report.findings:
        click.secho(
            f"{'error' if finding.is_error else 'remark'}  ", fg="red" if finding.is_error else "yellow", nl=False
        )
        click.echo(f"{finding.kind} {finding.count:,}: {finding.meaning}")
        for place in finding.places[:PLACES]:
            click.echo(f"        {place}")
        if len(finding.places) > PLACES:
            click.echo("        …")
    errors = sum(finding.count for finding in report.findings if finding.is_error)
    click.secho(f"{errors:,} errors." if errors else "No errors.", fg="red" if errors else "green")


def _class_rows(classes):
    """The largest classes and the smallest, by the training part."""
    train, *_ = classes.values()
    total = sum(train.values())
    labels = sorted(set().union(*classes.values()), key=lambda label: (-train.get(label, 0), label))
    rows = [
        [label, *(f"{of.get(label, 0):,}" for of in classes.values()), f"{train.get(label, 0) / max(total, 1):.1%}"]
        for label in labels
    ]
    left_out = len(rows) - CLASSES
    half = CLASSES // 2
    return rows if left_out <= 0 else [*rows[:half], [f"… {left_out} more"] + [""] * (len(classes) + 1), *rows[-half:]]
