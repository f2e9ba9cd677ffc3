"""The registry: every builder with its record, found by name.

A builder is a function that returns a Functional `keras.Model`. `@register` records it under its own name, together
with the task it answers, the paper it comes from, and the `tiny` arguments with which the tests build it.
"""

import fnmatch
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras

from zoo.huggingface import HUB, HuggingFace
from zoo.nearest import choose, unknown
from zoo.weights import KerasApplication, read_file, transfer, variables_of

TASKS = (
    "regression",
    "binary-classification",
    "image-classification",
    "text-classification",
    "token-classification",
    "sequence-to-sequence",
    "language-modeling",
    "masked-language-modeling",
    "semantic-segmentation",
    "object-detection",
    "image-generation",
    "style-transfer",
    "domain-adaptation",
)
CHANNELS = (1, 3, 4)
_STAGE = re.compile(r"stage\d+")


@dataclass(frozen=True)
class Spec:
    """What the registry knows of a builder.

    Attributes:
        name: the builder's name.
        tasks: what the model can answer, of `TASKS`; the first is what it answers by default. A task fixes output
            names, loss, metrics and post-processing. A builder of several takes the one that is wanted as `task`.
        paper: where the architecture comes from.
        tiny: arguments that make the smallest legal network of this kind, for tests.
        min_size: least height and width of an input picture in pixels, 0 where the input is no picture.
        any_size: whether height and width may be None: pictures of any size, from `min_size` up.
        partner: builder of the network it is trained with, which is not served: a discriminator, a critic, an encoder.
            It takes the same arguments but `include_top` and `name`. None where it is trained alone.
        weights: published weights by tag, such as "imagenet".
        huggingface: how its weights are laid out at Hugging Face, None where they are not read from there.
        build: the builder.
    """

    name: str
    tasks: tuple[str, ...]
    paper: str
    tiny: Mapping[str, Any] = field(repr=False)
    min_size: int = field(repr=False)
    any_size: bool = field(repr=False)
    partner: Callable[..., keras.Model] | None = field(repr=False)
    weights: Mapping[str, KerasApplication] = field(repr=False)
    huggingface: HuggingFace | None = field(repr=False)
    build: Callable[..., keras.Model] = field(repr=False)

    @property
    def task(self) -> str:
        """What the model answers by default."""
        return self.tasks[0]

    @property
    def summary(self) -> str:
        """First line of the builder's docstring."""
        return inspect.getdoc(self.build).partition("\n")[0]

    @property
    def arguments(self) -> dict[str, Any]:
        """The builder's arguments and their defaults, in order."""
        return {name: p.default for name, p in inspect.signature(self.build).parameters.items()}

    def task_argument(self, task: str) -> dict[str, str]:
        """What tells the builder the task it shall answer: nothing where it answers only one.

        Raises:
            ValueError: it does not answer that task.
        """
        choose(f"task of {self.name!r}", task, self.tasks)
        return {"task": task} if "task" in self.arguments else {}


_SPECS: dict[str, Spec] = {}


def register(
    *,
    task: str | Sequence[str],
    paper: str,
    tiny: Mapping[str, Any],
    min_size: int = 0,
    any_size: bool = False,
    partner: Callable[..., keras.Model] | None = None,
    weights: Mapping[str, KerasApplication] = MappingProxyType({}),
    huggingface: HuggingFace | None = None,
):
    """Record the decorated builder under its own name.

    The builder's signature is `name(input_shape=…, num_classes=…, *, include_top=True, name=…)`, every argument with a
    default. With `include_top=False` it returns features. The recorded builder checks `input_shape`, `num_classes`,
    `vocabulary_size` and `task`, of these what it takes, before it builds.

    A builder that takes a `vocabulary_size` reads token ids: its `input_shape` holds the length of every sequence it
    takes, None where any length will do. One that answers several tasks takes `task`, one of these.

    Raises:
        ValueError: the name is taken, or a task is unknown.
    """
    tasks = (task,) if isinstance(task, str) else tuple(task)
    for one in tasks:
        choose("task", one, TASKS)

    def decorate(builder):
        name = builder.__name__
        if name in _SPECS:
            raise ValueError(f"A model named {name!r} is registered already, by {_SPECS[name].build.__module__}.")
        if not inspect.getdoc(builder):
            raise ValueError(f"Builder {name!r} has no docstring: its first line is what `zoo list` shows.")

        @functools.wraps(builder)
        def checked(*args, **kwargs):
            bound = inspect.signature(builder).bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
            is_sequence = "vocabulary_size" in given
            check_input_shape(name, given["input_shape"], min_size, any_size=any_size or is_sequence)
            for argument in {"num_classes", "vocabulary_size"} & given.keys():
                check_count(name, argument, given[argument])
            if "task" in given:
                choose(f"task of {name!r}", given["task"], tasks)
            return builder(*args, **kwargs)

        _SPECS[name] = Spec(
            name, tasks, paper, dict(tiny), min_size, any_size, partner, dict(weights), huggingface, checked
        )
        return checked

    return decorate


def variant(
    network: Callable[..., keras.Model],
    name: str,
    summary: str,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    **record,
) -> Callable[..., keras.Model]:
    """Register a member of a family: the family's network under its own name, with its own defaults.

    Args:
        network: function of the family, with the signature of a builder. What stands below the first line of its
            docstring explains the arguments of every member.
        name: the member's.
        summary: first line of the member's docstring.
        defaults: arguments of the network whose default is the member's own.
        **record: what `register` takes.

    Raises:
        ValueError: `defaults` names what the network does not take; otherwise as `register`.
    """
    signature = inspect.signature(network)
    for argument in defaults:
        choose(f"argument of {name!r}", argument, signature.parameters)
    own = {**defaults, "name": name}
    parameters = [p.replace(default=own.get(p.name, p.default)) for p in signature.parameters.values()]

    def member(*args, **kwargs):
        bound = member.__signature__.bind(*args, **kwargs)
        bound.apply_defaults()
        return network(*bound.args, **bound.kwargs)

    member.__name__ = member.__qualname__ = name
    member.__module__ = network.__module__
    member.__signature__ = signature.replace(parameters=parameters)
    member.__doc__ = summary + "\n" + inspect.getdoc(network).partition("\n")[2]
    return register(**record)(member)


def check_input_shape(name: str, input_shape: Sequence[int | None], min_size: int, any_size: bool = False) -> None:
    """Raise ValueError unless `input_shape` is a tuple of positive sizes, or with `any_size` of such and None.

    Those of a picture are (H, W, 1 | 3 | 4) with H and W of at least `min_size`.
    """
    legal = isinstance(input_shape, (tuple, list)) and all(
        (n is None and any_size) or (isinstance(n, Integral) and n > 0) for n in input_shape
    )
    if not legal or not input_shape:
        accepted = "sizes, each a positive integer or None" if any_size else "positive integers"
        raise ValueError(f"input_shape of {name!r} must be a tuple of {accepted}. Received: {input_shape!r}.")
    if not min_size:
        return
    if len(input_shape) != 3 or input_shape[-1] not in CHANNELS:
        raise ValueError(
            f"input_shape of {name!r} must be (height, width, channels) with 1, 3 or 4 channels. "
            f"Received: {tuple(input_shape)}."
        )
    if any(size is not None and size < min_size for size in input_shape[:2]):
        raise ValueError(
            f"Input too small for {name!r}: its downsampling needs at least {min_size}x{min_size} pixels. "
            f"Received: {tuple(input_shape)}."
        )


def check_count(name: str, argument: str, value: int) -> None:
    """Raise ValueError unless the argument of a builder is a positive integer."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{argument} of {name!r} must be a positive integer. Received: {value!r}.")


@functools.cache
def _load_architectures() -> None:
    package = importlib.import_module("zoo.architectures")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def list_models(pattern: str = "*", *, task: str | None = None) -> list[str]:
    """Sorted names of the registered models that match a shell pattern and, if given, answer a task.

    Raises:
        ValueError: unknown task.
    """
    _load_architectures()
    if task is not None:
        choose("task", task, TASKS)
    return sorted(fnmatch.filter((n for n, s in _SPECS.items() if task is None or task in s.tasks), pattern))


def spec(name: str) -> Spec:
    """The record of a registered model.

    Raises:
        ValueError: no model has that name; the nearest one is offered.
    """
    _load_architectures()
    if name not in _SPECS:
        raise unknown("model", name, sorted(_SPECS))
    return _SPECS[name]


def build(name: str, *, weights: str | PathLike | None = None, **arguments) -> keras.Model:
    """Build a registered model.

    Args:
        name: a name of `list_models()`.
        weights: None for fresh ones, or what `load_weights` takes.
        **arguments: what the builder takes: `input_shape` without the batch axis, `num_classes`, `include_top`, and
            the architecture's own. `spec(name).arguments` lists them with their defaults.

    Returns:
        A Functional `keras.Model`. Its head gives logits of shape `(batch, num_classes)`, float32; with
        `include_top=False` it gives features.

    Raises:
        ValueError: unknown model or argument, illegal input shape, weights that do not fit.
        OSError: published weights cannot be fetched.
    """
    record = spec(name)
    for argument in arguments:
        if argument not in record.arguments:
            raise unknown(f"argument of {name!r}", argument, [*record.arguments, "weights"])
    model = record.build(**arguments)
    if weights is not None:
        load_weights(model, name, weights)
    return model


def build_partner(name: str, **arguments) -> keras.Model:
    """Build the network that a registered model is trained with: a discriminator, a critic, an encoder.

    Args:
        name: a name of `list_models()`.
        **arguments: those that the model itself is built with.

    Raises:
        ValueError: unknown model or argument, or a model that is trained alone.
    """
    record = spec(name)
    if record.partner is None:
        raise ValueError(f"{name!r} is trained alone: there is no other network that belongs to it.")
    known = {k: default for k, default in record.arguments.items() if k not in ("include_top", "name")}
    for argument in arguments:
        if argument not in known:
            raise unknown(f"argument of {name!r}", argument, known)
    return record.partner(**{**known, **arguments})


def load_weights(model: keras.Model, name: str, weights: str | PathLike, *, keep_head: bool = True) -> None:
    """Copy weights into a registered model.

    The backbone, which is everything up to the last stage, must fit; the head is kept where it fits. Another number of
    classes replaces the layer `logits`, another input size what depends on it. With a tag of published weights it
    replaces more: those for any other number of classes are fetched without a head, so that `head_fc1` and
    `head_fc2` of VGG and `head_dense` of MobileNetV3 start fresh too.

    Two things are adapted, with a warning. If the pictures have other channels than those the weights were trained on,
    the first kernel: to grey it is averaged over the colours, from grey every colour gets a third, alpha gets zeros or
    is left out. If a Vision Transformer has another grid of patches than the square one the weights were trained on,
    its positions: they are interpolated.

    Args:
        model: what `build` returned.
        name: its name in the registry.
        weights: a tag of `spec(name).weights`, such as "imagenet"; a `.keras` or `.weights.h5` file of the same
            architecture, of which `#sha256=…` may say the hash; the folder of a Run; or, where
            `spec(name).huggingface` says how to read it, `hf:` and a repository of Hugging Face, which `@` and a
            revision may follow, or a folder like one.
        keep_head: `False` leaves the whole head fresh, for other classes of the same number.

    Raises:
        ValueError: weights of another architecture, no such file, a damaged one or one of another hash. The model is
            left as it was.
        OSError: published weights cannot be fetched.
        ImportError: `hf:` needs what the extra `huggingface` installs.
    """
    published, layout = spec(name).weights, spec(name).huggingface
    backbone = backbone_of(model)
    if weights in published:
        source = f"{name!r} {weights}"
        theirs = published[weights].download(include_top=_takes_published_head(model, name))
        arrays = published[weights].read(theirs, variables_of(model))
    elif layout and isinstance(weights, str) and weights.startswith(HUB):
        source = weights
        arrays = layout.read(weights.removeprefix(HUB), model, backbone, keep_head=keep_head)
    elif isinstance(weights, str) and not Path(weights.partition("#")[0]).exists() and not Path(weights).suffix:
        accepted = [*published, "a .keras or .weights.h5 file", "a Run's folder"]
        if layout:
            accepted.append(f"{HUB} and a repository or a folder")
        raise unknown(f"weights of {name!r}", weights, accepted)
    else:
        source, arrays = str(weights), read_file(weights)
    transfer(arrays, model, backbone, source, keep_head=keep_head)


def _takes_published_head(model: keras.Model, name: str) -> bool:
    """Whether the model has a head for the classes that were published."""
    return model.output_shape[1:] == (spec(name).arguments["num_classes"],)


def stages(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Names of a model's stages, in order, with the shape of what each gives for one example."""
    return {layer.name: layer.output.shape[1:] for layer in model.layers if _STAGE.fullmatch(layer.name)}


def backbone_of(model: keras.Model) -> set[str]:
    """Names of the layers up to and including the last stage; of all layers where no stage is named."""
    if not stages(model):
        return {layer.name for layer in model.layers}
    return {layer.name for layer in features(model, list(stages(model))[-1]).layers}


def features(model: keras.Model, layers: str | Sequence[str]) -> keras.Model:
    """A backbone: the same network and weights, answering with the outputs of named layers.

    Args:
        model: any Functional model.
        layers: one layer's name, for one output, or several, for a list of outputs. Builders name their stages
            `stage1`, `stage2`, ….

    Raises:
        ValueError: the model has no layer of that name.
    """
    by_name = {layer.name: layer for layer in model.layers}
    names = [layers] if isinstance(layers, str) else list(layers)
    for layer in names:
        if layer not in by_name:
            raise unknown(f"layer of {model.name!r}", layer, by_name)
    outputs = [by_name[layer].output for layer in names]
    return keras.Model(model.input, outputs[0] if isinstance(layers, str) else outputs, name=f"{model.name}_features")
