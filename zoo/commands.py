"""`zoo list` and `zoo show`: the registry on the command line, read from the catalogue."""

import json
import math
from typing import Any, ClassVar

import click

from zoo import catalog
from zoo.nearest import unknown

WIDE = 110
"""Columns of a terminal that has room for what each model is, in words."""


SORTS = {
    "name": lambda name, entry: name,
    "parameters": lambda name, entry: entry["parameters"],
    "multiply-adds": lambda name, entry: entry["multiply_adds"],
}


class Count(click.ParamType):
    """A number, such as 5000000, 5M or 500k."""

    name = "number"
    units: ClassVar = {"k": 10**3, "m": 10**6, "g": 10**9}

    def convert(self, value, param, ctx):
        number, unit = (value[:-1], value[-1].lower()) if value[-1:].isalpha() else (value, None)
        try:
            count = float(number) * (self.units[unit] if unit else 1)
        except (KeyError, ValueError):
            self.fail(f"{value!r} is no number such as 5000000, 5M or 500k.", param, ctx)
        return count


@click.command("list")
@click.option("--pattern", default="*", help="Shell pattern of names, such as 'mnist*'.")
@click.option("--task", help="Only models that answer this task, such as image-classification.")
@click.option("--max-params", type=Count(), help="Only models of at most so many parameters, such as 5M.")
@click.option("--sort", type=click.Choice(SORTS), default="name", show_default=True, help="What comes first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(pattern, task, max_params, sort, as_json):
    """List the models. Multiply-adds are those of one example at the default input.

    \b
    Example: zoo list --pattern "*net*" --max-params 5M --sort multiply-adds
    """
    tasks = sorted({task for entry in catalog.read().values() for task in entry["tasks"]})
    if task is not None and task not in tasks:
        raise click.BadParameter(str(unknown("task", task, tasks)), param_hint="--task")
    entries = catalog.read(pattern, task, math.inf if max_params is None else max_params)
    entries = dict(sorted(entries.items(), key=lambda item: SORTS[sort](*item)))
    if as_json:
        click.echo(json.dumps(entries, indent=1))
        return
    header = ["model", "parameters", "multiply-adds", "input", "task", "what it is"]
    rows = [
        [
            name,
            f"{entry['parameters']:,}",
            _rounded(entry["multiply_adds"]),
            " ".join(_shape(tensor["shape"]) for tensor in entry["inputs"]),
            ", ".join(entry["tasks"]),
            entry["summary"],
        ]
        for name, entry in entries.items()
    ]
    _print_table(header, rows)


def entry_of(model: str, argument: str = "MODEL") -> dict[str, Any]:
    """What the catalogue says of a model. click.BadParameter, which names the argument, for an unknown one."""
    entries = catalog.read()
    if model not in entries:
        raise click.BadParameter(str(unknown("model", model, entries)), param_hint=argument)
    return entries[model]


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name, as_json):
    """Show one model: its facts and the arguments it takes.

    \b
    Example: zoo show lenet5
    """
    entry = entry_of(name, "NAME")
    if as_json:
        click.echo(json.dumps({"name": name, **entry}, indent=1))
        return
    click.secho(name, bold=True, nl=False)
    click.echo(f"  {entry['summary']}")
    least = f" (at least {entry['min_size']}x{entry['min_size']})" if entry["min_size"] else ""
    facts = {
        "task": ", ".join(entry["tasks"]),
        "paper": entry["paper"],
        "parameters": f"{entry['parameters']:,}",
        "multiply-adds": f"{entry['multiply_adds']:,}",
        "activations": f"{entry['activation_bytes'] / 2**20:,.1f} MiB per example, in training",
        "input": ", ".join(f"{x['name']}: {x['dtype']} {_shape(x['shape'])}{least}" for x in entry["inputs"]),
        "output": f"{entry['output']['dtype']} {_shape(entry['output']['shape'])}",
        "stages": ", ".join(f"{name} {_shape(shape)}" for name, shape in entry["stages"].items()) or "none",
        "weights": ", ".join(entry["weights"]) or "none published",
        "trained with": entry["partner"] and f"a partner of {entry['partner']:,} parameters, which is not served",
        "arguments": ", ".join(f"{k}={v!r}" for k, v in entry["arguments"].items() if k != "name"),
    }
    for key, value in facts.items():
        if value is not None:
            click.echo(f"  {key:<13} {value}")


def _rounded(count):
    """Three digits: 3.86 G, 569 M, 42."""
    rounded = float(f"{count:.3g}")  # first, as 999,950 is 1 M
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if rounded >= size:
            return f"{rounded / size:.3g} {unit}"
    return str(count)


def _shape(shape):
    return "x".join(map(str, shape))


def _print_table(header, rows):
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    shown = header if console.width >= WIDE else header[:-1]
    for i, column in enumerate(shown):
        # What does not fit is cut from the words, never from names and numbers.
        width = max(len(row[i]) for row in [header, *rows]) if i < len(header) - 1 else None
        justify = "right" if column in ("parameters", "multiply-adds") else "left"
        table.add_column(column, justify=justify, no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*row[: len(shown)])
    console.print(table)
