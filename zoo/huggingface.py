"""Weights from Hugging Face: a repository or a folder that holds `config.json` and `model.safetensors`.

What the tensors are called is said by a table beside each architecture. Every tensor of a file is accounted for: it
becomes one of our weights, or repeats one, or is of a head that the network was built without, or is ignored for a
reason that the table gives. Every weight of ours up to the last stage has to be there; where one of a head is not, a
warning says so.
"""

import fnmatch
import importlib
import json
import math
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from zoo.weights import PATCHES, POSITIONS, Arrays, some, variables_of

HUB = "hf:"
CONFIG, TENSORS = "config.json", "model.safetensors"
CARD = "README.md"
BESIDE = ("vocab.txt", "tokenizer_config.json", "vocab.json", "merges.txt", "preprocessor_config.json", CARD)
"""What else a repository says of a network: of its input, and of itself."""

_FLOATS = ("F64", "F32", "F16", "BF16")

# What they call our variables. The oldest files, made by TensorFlow, say gamma and beta, as we do.
_THEIRS = {"kernel": "weight", "embeddings": "weight", "positions": "weight", "gamma": "weight"}
_THEIRS |= {"bias": "bias", "beta": "bias"}
_OLD_NAME = re.compile(r"(?<=\.)(gamma|beta)$")
_IN_STAGE = re.compile(r"(stage\d+(?:_block\d+)?)(.*)")


class Part(NamedTuple):
    """One of the equal parts into which the last axis of a module's tensors falls."""

    module: str
    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class HuggingFace:
    """How the library `transformers` lays out an architecture.

    Attributes:
        model_type: what `config.json` calls it, such as "bert".
        prefix: of the backbone's tensors where they were saved with a head; a backbone saved alone has none.
        modules: our layer → their module, or a part of one. In the name of a layer inside a stage, "block" stands for
            the block it is of, and "{}" in theirs for that block's number, from 0; "stage" is a stage that is itself a
            layer with weights. The key may be a variable, `layer/variable`; what it leads to is then a whole tensor.
        sizes: model → what `config.json` has to say of its sizes.
        settings: what `config.json` has to say, or leave out, for both to compute the same.
        transposed: whether kernels of dense layers are (out, in), as PyTorch has them.
        tied: tensor → the one it has to repeat.
        ignored: pattern of tensors that have no counterpart → why.
    """

    model_type: str
    prefix: str
    modules: Mapping[str, str | Part]
    sizes: Callable[[keras.Model], Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    transposed: bool = True
    tied: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)

    def read(self, name: str, model: keras.Model, backbone: Collection[str], *, keep_head: bool = True) -> Arrays:
        """Weights for a model, by its layers. A head that the file does not have is left out, with a warning.

        Args:
            name: a folder, or a repository, which `@` and a revision may follow.
            model: a registered model of this architecture.
            backbone: names of its layers up to the last stage.
            keep_head: `False` reads no head.

        Raises:
            ValueError: no such folder, no such file in it, a damaged one, or weights of another network.
            OSError: the repository cannot be fetched.
            ImportError: a library that the extra `huggingface` installs is missing.
        """
        safetensors = _library("safetensors")
        source, folder = f"{HUB}{name}", fetch(name)
        self._check_config(read_record(folder, CONFIG), model, source)
        path = present(folder, TENSORS)
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                names = self._names(file, source)
                places = self._places(model, backbone, names, source, keep_head)
                self._check_rest(file, names, places, source)
                return {
                    layer: [_array(file, names[place.tensor], place, source) for place in of_layer]
                    for layer, of_layer in places.items()
                }
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is damaged or was cut short: {error}") from error

    def _check_config(self, config, model, source):
        wanted = {"model_type": self.model_type, **self.sizes(model), **self.settings}
        given = {key: config.get(key, self.settings.get(key)) for key in wanted}
        differ = [key for key in wanted if given[key] != wanted[key]]
        if differ:
            received, accepted = (", ".join(f"{key}={of[key]!r}" for key in differ) for of in (given, wanted))
            raise ValueError(
                f"{source} holds weights of another network than {model.name!r} was built as. "
                f"Received: {received}. Accepted: {accepted}."
            )

    def _names(self, file, source) -> dict[str, str]:
        """Names of the file's tensors by those that a backbone saved alone gives them."""
        names = list(file.keys())
        found = {_OLD_NAME.sub(lambda old: _THEIRS[old[0]], name.removeprefix(self.prefix)): name for name in names}
        if len(found) < len(names):
            raise ValueError(f"{source} holds tensors twice: {some(set(names) - set(found.values()))}.")
        return found

    def _places(self, model, backbone, names, source, keep_head) -> dict[str, list["_Place"]]:
        """Where the values of every layer's variables lie; without the heads that the file does not have."""
        found, blocks = {}, {}
        for layer, variables in variables_of(model).items():
            in_backbone = layer.partition("/")[0] in backbone
            if not in_backbone and not keep_head:
                continue
            key, number = layer, 0
            if match := _IN_STAGE.fullmatch(layer):
                key = f"block{match[2]}" if match[2] else "stage"
                number = blocks.setdefault(match[1], len(blocks))
            # Other sizes of picture, lengths of text and classes are what `transfer` knows to deal with.
            may_differ = not in_backbone or layer in (PATCHES, POSITIONS)
            places = [self._place(key, number, variable, variables, may_differ) for variable in variables]
            missing = [place.tensor for place in places if place.tensor not in names]
            if missing and in_backbone:
                raise ValueError(f"{source} has no tensor {missing[0]!r}, which layer {layer!r} needs.")
            if missing:
                said = f"{source} has no tensor {missing[0]!r}: layer {layer!r} keeps its fresh weights."
                warnings.warn(said, stacklevel=5)
            else:
                found[layer] = places
        return found

    def _place(self, key, number, variable, variables, may_differ) -> "_Place":
        shape, kind = tuple(variable.shape), variable.name
        whole = self.modules.get(f"{key}/{kind}")
        part = self.modules[key] if whole is None else whole
        part = part if isinstance(part, Part) else Part(part)
        tensor = part.module.format(number) + ("" if whole else f".{_THEIRS[kind]}")
        flat, axes = shape, tuple(range(len(shape)))
        if kind == "bias":
            flat, axes = (math.prod(shape),), (0,)
        elif kind == "kernel" and len(shape) == 4:
            axes = (2, 3, 1, 0)
        elif kind == "kernel":
            outputs = next((len(other.shape) for other in variables if other.name == "bias"), 1)
            flat = math.prod(shape[:-outputs]), math.prod(shape[-outputs:])
            axes = (1, 0) if self.transposed else (0, 1)
        return _Place(tensor, part.index, part.count, axes, flat, shape, may_differ)

    def _check_rest(self, file, names, places, source):
        """Raise ValueError unless every tensor that is not read repeats one, or may be left for a reason."""
        taken = {place.tensor for of_layer in places.values() for place in of_layer}
        heads = {f"{self.modules[key]}.{kind}" for key in self.modules if _of_head(key) for kind in ("weight", "bias")}
        left = []
        for tensor in sorted(names.keys() - taken - heads):
            first = self.tied.get(tensor)
            if first in names:
                if not np.array_equal(file.get_tensor(names[tensor]), file.get_tensor(names[first])):
                    raise ValueError(f"{source} has two tensors that should be one: {tensor!r} differs from {first!r}.")
            elif not any(fnmatch.fnmatchcase(tensor, pattern) for pattern in self.ignored):
                left.append(names[tensor])
        if left:
            raise ValueError(f"{source} holds weights of another network: nothing of ours takes {some(left)}.")


class _Place(NamedTuple):
    """Where in a file the value of a variable lies.

    Attributes:
        tensor: name of the tensor.
        index, count: which part of its last axis, of how many.
        axes: for every axis of ours, which one of the tensor it is.
        flat: shape of the value with its axes in our order, before heads of attention get an axis of their own.
        shape: the variable's.
        may_differ: whether another shape is left to whoever copies the value.
    """

    tensor: str
    index: int
    count: int
    axes: tuple[int, ...]
    flat: tuple[int, ...]
    shape: tuple[int, ...]
    may_differ: bool

    @property
    def published(self) -> tuple[int, ...]:
        """The tensor's shape."""
        ours = (*self.flat[:-1], self.flat[-1] * self.count)
        return tuple(ours[self.axes.index(axis)] for axis in range(len(ours)))

    def value(self, tensor: np.ndarray) -> np.ndarray:
        """The variable's value."""
        part = np.split(tensor.transpose(self.axes), self.count, axis=-1)[self.index].astype(np.float32)
        return part.reshape(self.shape) if part.shape == self.flat else part


def _of_head(key: str) -> bool:
    return not key.startswith(("stem", "block", "stage"))


def _array(file, name, place, source) -> np.ndarray:
    stored = file.get_slice(name)
    dtype, shape = stored.get_dtype(), tuple(stored.get_shape())
    fits = shape == place.published or (place.may_differ and len(shape) == len(place.published))
    if not fits or dtype not in _FLOATS:
        raise ValueError(
            f"Tensor {name!r} of {source} does not fit. Received: {dtype} {shape}. "
            f"Accepted: {place.published}, of {', '.join(_FLOATS)}."
        )
    return place.value(file.get_tensor(name))


def fetch(name: str) -> Path:
    """The folder of that name, or the one in Hugging Face's cache that a repository was brought to.

    Raises:
        ValueError: it is neither a folder nor a name that a repository can have.
        OSError: the repository does not exist or cannot be reached.
        ImportError: `huggingface_hub` is missing.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    hub = _library("huggingface_hub")
    repository, _, revision = name.partition("@")
    try:
        return Path(
            hub.snapshot_download(repository, revision=revision or None, allow_patterns=[CONFIG, TENSORS, *BESIDE])
        )
    except hub.errors.HFValidationError as error:
        raise ValueError(
            f"No weights at {HUB}{name}. Accepted: {HUB} and a folder, or a repository such as "
            f"{HUB}google-bert/bert-base-uncased."
        ) from error
    except OSError as error:
        raise OSError(f"The weights of {HUB}{name} cannot be fetched: {error}") from error


def present(folder: Path, name: str) -> Path:
    """The path of a file.

    Raises:
        ValueError: it is not in the folder.
    """
    if not (folder / name).is_file():
        beside = "" if name in (CONFIG, TENSORS) else f", with {name} beside them"
        raise ValueError(f"{folder} holds no {name}. Accepted: a folder with {CONFIG} and {TENSORS}{beside}.")
    return folder / name


def read_record(folder: Path, name: str) -> dict[str, Any]:
    """What a JSON file holds.

    Raises:
        ValueError: it is not in the folder, or damaged.
    """
    path = present(folder, name)
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def license_of(name: str) -> str | None:
    """What the model card of a folder or repository names as the licence, such as "apache-2.0"; None if nothing.

    Raises:
        OSError: the repository cannot be fetched.
    """
    card = fetch(name) / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = front and re.search(r"^license:[ \t]*(\S+)", front[1], re.MULTILINE)
    return found[1].strip("'\"") if found else None


def _library(name: str):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ImportError(
            f"Weights of Hugging Face are read with {name}, which is missing. "
            f"Install it: pip install servable-zoo[huggingface]"
        ) from error
