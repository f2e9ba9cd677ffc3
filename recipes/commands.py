"""`zoo train`, `zoo evaluate` and `zoo explain`: recipes on the command line."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path

import click

from recipes.config import (
    AdaptationConfig,
    BinaryConfig,
    Config,
    DetectionConfig,
    GenerationConfig,
    ImageConfig,
    LanguageConfig,
    MaskedConfig,
    RegressionConfig,
    SegmentationConfig,
    SequenceConfig,
    StyleConfig,
    TextClassificationConfig,
)
from zoo.commands import entry_of

CONFIGS: dict[str, type[Config]] = {
    "binary-classification": BinaryConfig,
    "domain-adaptation": AdaptationConfig,
    "image-classification": ImageConfig,
    "image-generation": GenerationConfig,
    "language-modeling": LanguageConfig,
    "masked-language-modeling": MaskedConfig,
    "object-detection": DetectionConfig,
    "regression": RegressionConfig,
    "semantic-segmentation": SegmentationConfig,
    "sequence-to-sequence": SequenceConfig,
    "style-transfer": StyleConfig,
    "text-classification": TextClassificationConfig,
    "token-classification": TextClassificationConfig,
}


class Json(click.ParamType):
    """A JSON object, such as {"hidden_sizes": [16, 16]}; or one of some words."""

    name = "json"

    def __init__(self, *words: str):
        self.words = words

    def convert(self, value, param, ctx):
        if value in self.words:
            return value
        try:
            record = json.loads(value)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            example = 'a JSON object, such as {"name": value}'
            self.fail(f"{value!r} is not {' or '.join([*self.words, example])}.", param, ctx)
        return record


class NumberOrText(click.ParamType):
    """A number where it is one, else the text."""

    name = "number|text"

    def convert(self, value, param, ctx):
        try:
            return float(value)
        except ValueError:
            return value


class Values(click.ParamType):
    """Values separated by commas."""

    name = "a,b,…"

    def __init__(self, kind: type):
        self.kind = kind

    def convert(self, value, param, ctx):
        try:
            return tuple(self.kind(word) for word in value.split(",") if word)
        except ValueError:
            self.fail(f"{value!r} is not a list of {self.kind.__name__} separated by commas.", param, ctx)


def config_options(command):
    """Give a command every option of every configuration."""
    names = dict.fromkeys(field.name for config in CONFIGS.values() for field in dataclasses.fields(config))
    for name in reversed(names):
        command = _option(name)(command)
    return command


def _option(name: str):
    """The option of that name; where tasks mean different things by it, each says what."""
    fields = {task: config.__dataclass_fields__[name] for task, config in CONFIGS.items() if name in _names(config)}
    kind, accepted = _base_type(next(iter(fields.values())).type), {f.metadata["choices"] for f in fields.values()}
    # What a task accepts, its configuration checks, too.
    is_choice = kind is str and len(accepted) == 1
    meanings: dict[str, list[str]] = {}
    for task, field in fields.items():
        meanings.setdefault(_explained(field, with_words=not is_choice), []).append(task)
    of_all = len(fields) == len(CONFIGS)
    texts = [text if of_all and len(meanings) == 1 else f"{text} [{', '.join(of)}]" for text, of in meanings.items()]
    text = "  ".join(texts)
    field, flag = next(iter(fields.values())), "--" + name.replace("_", "-")
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    param_type = _param_type(kind, field) if is_choice or kind is not str else str
    return click.option(flag, name, type=param_type, default=None, help=text)


def _names(config: type[Config]) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}


def _explained(field: dataclasses.Field, with_words: bool) -> str:
    """The help of a field and its default; with the words that it accepts, where there are such."""
    text = field.metadata["help"]
    if with_words and field.metadata["choices"]:
        text += f" One of {', '.join(field.metadata['choices'])}."
    known = field.default is not dataclasses.MISSING and field.default not in (None, (), False)
    return text + (f"  [default: {field.default}]" if known and not isinstance(field.default, bool) else "")


def _base_type(annotation):
    """The type of an option apart from None: `int | None` → int, a union with a mapping → that mapping."""
    if isinstance(annotation, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return kinds[-1]
    return annotation


def _param_type(kind, field):
    if field.name == "class_weights":
        return Json("balanced")
    if field.type == str | float:
        return NumberOrText()
    if field.metadata["choices"] and kind is str:
        return click.Choice(field.metadata["choices"])
    origin = typing.get_origin(kind)
    if origin is tuple:
        return Values(typing.get_args(kind)[0])
    return Json() if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)) else kind


def make_config(task: str, options: dict) -> dict:
    """The options that were given, checked against what the task takes.

    Raises:
        click.UsageError: an option that the task has no use for, or a value that it refuses.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in CONFIGS[task].__dataclass_fields__:
            raise click.UsageError(f"--{name.replace('_', '-')} has no meaning for {task}.")
    try:
        CONFIGS[task](**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return given


def chosen(model: str, task: str | None, as_json: bool, options: dict) -> tuple[str, dict]:
    """The task that a model is trained for, and the options that were given, both checked."""
    entry = entry_of(model)
    task = task or entry["tasks"][0]
    given = make_config(task, options)
    return task, {**given, "verbose": False} if as_json else given


@click.command()
@click.argument("model")
@click.option(
    "--data", required=True, help="TFDS name, folder with one sub-folder of pictures or texts per class, or CSV file."
)
@click.option("--task", type=click.Choice(sorted(CONFIGS)), help="Default: the model's own, as in `zoo show`.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@config_options
def train(model, data, task, as_json, **options):
    """Train MODEL on data, and write a Run: model, figures, curves, predictions.

    \b
    Example: zoo train lenet5 --data digits --epochs 10 --run-dir runs/lenet5
    """
    task, given = chosen(model, task, as_json, options)

    import recipes

    run = getattr(recipes, task.replace("-", "_"))(model, data, **given)
    if as_json:
        click.echo(json.dumps({"run": str(run.dir), "metrics": run.metrics, **run.facts}))
        return
    _print_figures(run.metrics, f"{run.facts['evaluated_on']} part")
    click.echo(f"Run in {run.dir} after {run.facts['seconds']['total']} s: {', '.join(_pictures(run.dir))}")


@click.command()
@click.argument("model")
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    help="Which of the published ones, see `zoo show`; or hf: and a repository of Hugging Face, or a folder like one.",
)
@click.option("--task", type=click.Choice(sorted(CONFIGS)), help="Default: the model's own, as in `zoo show`.")
@click.option(
    "--model-args", type=Json(), help="Arguments of the builder, for weights of another size at Hugging Face."
)
@click.option("--run-dir", help="Folder of the Run. Default: runs/MODEL-WEIGHTS.")
@click.option("--examples", type=click.Path(exists=True), help="Folder of pictures or texts to prove a version on.")
@click.option("--overwrite", is_flag=True, help="Replace a Run that is in the folder already.")
def pretrained(model, weights, task, model_args, run_dir, examples, overwrite):
    """Make a Run of MODEL with published weights, their preprocessing and their labels, to be published as it is.

    \b
    Example:
        zoo pretrained mobilenet_v2 && zoo publish runs/mobilenet_v2-imagenet served/mobilenet_v2
        zoo pretrained gpt2_small --weights hf:openai-community/gpt2 --run-dir runs/gpt2
    """
    entry_of(model)
    import recipes

    run = recipes.pretrained(
        model, weights, task=task, model_args=model_args, run_dir=run_dir, examples=examples, overwrite=overwrite
    )
    classes = f"{len(run.bundle.labels)} classes, " if run.bundle.labels else ""
    click.echo(f"Run in {run.dir}: {classes}{len(run.examples)} examples.")


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@click.option("--data", help="Evaluate on other data than the Run was made with.")
@click.option("--data-dir", help="Where TFDS data sets lie.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def evaluate(run, data, data_dir, as_json):
    """Evaluate a finished RUN on its test part, or on that of other data with the same labels.

    Of data without a test part, such as a CSV file, a tenth is split off for it, as in training.

    \b
    Example: zoo evaluate runs/lenet5
    """
    import recipes

    loaded = recipes.load_run(run)
    figures = recipes.evaluate(loaded, data, data_dir=data_dir)
    if as_json:
        click.echo(json.dumps(figures))
        return
    _print_figures(figures, f"test part of {data}" if data else f"{loaded.facts['evaluated_on']} part")


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@click.argument("image", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--method",
    type=click.Choice(["auto", "cam", "grad_cam", "occlusion"]),
    default="auto",
    show_default=True,
    help="How the map is made; auto takes the first that the model allows.",
)
@click.option("--class", "class_name", help="The label to explain.  [default: the most probable one]")
@click.option("--out", type=click.Path(dir_okay=False), help="The PNG to write.  [default: IMAGE's name, explained]")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def explain(run, image, method, class_name, out, as_json):
    """Show which places of IMAGE, a PNG or JPEG, speak for a class, as the network of a finished RUN sees it.

    \b
    Example: zoo explain runs/lenet5 runs/lenet5/examples/0000.png --out seen.png
    """
    import recipes

    out = out or f"{Path(image).stem}_explained.png"
    found = recipes.explain(run, image, method=method, class_name=class_name, path=out)
    height, width = found.heat_map.shape
    row, column = (int(i) for i in divmod(found.heat_map.argmax(), width))
    flat = not found.heat_map.any()
    if as_json:
        record = {"class": found.class_name, "class_id": found.class_id, "probability": found.probability}
        strongest = None if flat else {"row": row, "column": column}
        click.echo(json.dumps({**record, "method": found.method, "strongest": strongest, "out": out}))
        return
    where = "no place speaks for it" if flat else f"strongest at row {row}, column {column} of {height}x{width}"
    click.echo(f"{found.class_name}  {found.probability:.1%}  {found.method}: {where}. Written: {out}")


@click.command()
@click.argument("content")
@click.argument("style")
@click.option(
    "--out", type=click.Path(dir_okay=False), default="styled.png", show_default=True, help="The PNG to write."
)
@click.option("--size", type=int, default=256, show_default=True, help="Shorter side in pixels.")
@click.option("--steps", type=int, default=200, show_default=True, help="Of the optimisation.")
@click.option("--style-weight", type=float, default=5.0, show_default=True, help="Of the style in the loss.")
@click.option(
    "--perception",
    default="imagenet",
    show_default=True,
    help="Weights of the VGG-16 that compares pictures: imagenet, a file, a Run's folder, or random.",
)
@click.option("--perception-args", type=Json(), help='Arguments of that VGG-16, such as {"widths": [16, …]}.')
def stylize(content, style, out, size, steps, style_weight, perception, perception_args):
    """Change the picture CONTENT until it has the style of the picture STYLE, without training a network.

    Both are PNG or JPEG files, or names of photographs that need no network, such as chelsea and gravel.

    \b
    Example: zoo stylize chelsea gravel --perception random
    """
    import recipes

    made = recipes.stylize(
        content,
        style,
        size=size,
        steps=steps,
        style_weight=style_weight,
        perception_weights=perception,
        perception_args=perception_args,
        path=out,
    )
    click.echo(f"Written: {out}, {made.shape[0]}x{made.shape[1]}")


def _print_figures(figures: dict[str, float], part: str) -> None:
    click.echo(f"On the {part}: " + "  ".join(f"{name} {value:.4f}" for name, value in figures.items()))


def _pictures(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))
