"""Weights from elsewhere, copied into a network layer by layer.

A network's weights are read as `{layer: arrays}`, whether they come from `keras.applications`, from Hugging Face, from
a `.keras` file, a `.weights.h5` file or the folder of a Run; what belongs inside a layer follows after a slash
(`attention/query`). Layers correspond by name. Nothing is copied before all of it is known to fit.
"""

import hashlib
import io
import math
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import keras
import ml_dtypes
import numpy as np

HEAD = "logits"
PATCHES, POSITIONS = "stem_patches", "stem_positions"  # of a Vision Transformer; the latter of a text, too
RUN_FILE = "model.keras"
_MEMBER = "model.weights.h5"  # of a .keras file, which is a zip archive
_HASH = "#sha256="

# What published weights want of 8-bit RGB pixels, as arguments of `KerasApplication`: numbers from -1 to 1, or the mean
# and the deviation of ImageNet's colours taken out, or the mean alone and the channels as BGR. `keras.applications`
# calls them "tf", "torch" and "caffe".
SYMMETRIC = {"scale": 1 / 127.5, "mean": (1.0, 1.0, 1.0)}
TORCH = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CAFFE = {"mean": (123.68, 116.779, 103.939), "bgr": True}

Arrays = dict[str, list[np.ndarray]]


def same_name(layer: str) -> str:
    """Where both networks use the same names for their layers."""
    return layer


@dataclass(frozen=True)
class KerasApplication:
    """ImageNet weights that `keras.applications` publishes for an architecture.

    Our networks take RGB, so where the published one was trained on BGR its first kernel is turned round in the copy.

    Attributes:
        application: function of `keras.applications`, such as "ResNet50".
        license: under which the weights are published, as an SPDX identifier: what Keras' documentation says of them
            (docs/templates/applications.md of keras-team/keras 2); of EfficientNet, MobileNetV3 and ConvNeXt, which
            came later, that of the repositories they were ported from.
        layer: name of our layer → name of the published network's. Layers that Keras numbers itself are counted from 1
            in the order in which they were made: `conv2d_1`, `conv2d_2`, ….
        scale, mean, std: what the weights want of 8-bit RGB pixels: (pixel * scale - mean) / std, per channel.
        bgr: whether the published network takes BGR.
        without_top: our layer → the published one, for layers of our head that the network without a head has too.
        classifier: the published network's last layer, where our backbone takes all of the published head but this; it
            is then fetched with its head whatever our classes are. `None` where our head is the published one.
    """

    application: str
    layer: Callable[[str], str] = same_name
    license: str = field(kw_only=True)
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    bgr: bool = False
    without_top: Mapping[str, str] = field(default_factory=dict)
    classifier: str | None = None

    def download(self, include_top: bool) -> keras.Model:
        """The published network with its weights, from the cache of Keras or the network.

        Args:
            include_top: whether our head is of as many classes as the published one.

        Raises:
            OSError: the file cannot be fetched.
            ValueError: the file is not the published one: its hash differs.
        """
        include_top = include_top or self.classifier is not None
        try:
            return getattr(keras.applications, self.application)(weights="imagenet", include_top=include_top)
        except ValueError as error:
            raise ValueError(f"The published weights of {self.application} are damaged: {error}") from error
        except Exception as error:  # get_file raises a bare Exception
            raise OSError(f"The published weights of {self.application} cannot be fetched: {error}") from error

    def read(self, theirs: keras.Model, layers: Iterable[str]) -> Arrays:
        """Weights of the published network under the names of our layers.

        Args:
            theirs: what `download` returns.
            layers: our layers that have weights, from the first one on; those the published network does not have are
                left out.

        Raises:
            ValueError: a layer of the published network has no counterpart among ours.
        """
        found = _counted_from_one(theirs)
        ours = {}
        for layer in layers:
            for name in (self.layer(layer), self.without_top.get(layer)):
                if name in found:
                    ours[layer] = name
        # What normalises the input lies in the preprocessing, not in the network.
        own = {layer.name for layer in theirs.layers if isinstance(layer, keras.layers.Normalization)}
        own |= {*self.without_top.values(), self.classifier}  # ours may be built without a head
        if left := set(found) - set(ours.values()) - own:
            raise ValueError(f"Layers of {self.application} without a counterpart: {some(left)}.")
        arrays = {layer: list(found[published]) for layer, published in ours.items()}
        if self.bgr:
            first = arrays[next(iter(arrays))]
            first[0] = first[0][:, :, ::-1]
        return arrays


_NUMBERED = re.compile(r"(conv2d|batch_normalization|layer_normalization)(?:_(\d+))?")


def _counted_from_one(model: keras.Model) -> Arrays:
    """Arrays by layer; the names that Keras numbers across all models of the process, numbered within this one."""
    found, counts, renamed = arrays_of(model), Counter(), {}
    numbered = filter(None, map(_NUMBERED.fullmatch, found))
    for match in sorted(numbered, key=lambda match: int(match[2] or 0)):
        counts[match[1]] += 1
        renamed[match[0]] = f"{match[1]}_{counts[match[1]]}"
    return {renamed.get(layer, layer): arrays for layer, arrays in found.items()}


def variables_of(model: keras.Model) -> dict[str, list[keras.Variable]]:
    """The weights of a Functional model, by layer; those of a model inside of it by that model's name and theirs."""
    found: dict[str, list] = {}
    for layer in model.layers:
        # The paths of a Functional model's weights do not name it; those of other models and layers do.
        inside = f"{layer.name}/" if isinstance(layer, keras.Model) else ""
        for variable in layer.weights:
            path = variable.path if variable.path.startswith(inside) else inside + variable.path
            found.setdefault(path.rpartition("/")[0], []).append(variable)
    return found


def arrays_of(model: keras.Model) -> Arrays:
    """The values of the weights of a Functional model, by layer."""
    return {
        layer: [keras.ops.convert_to_numpy(variable) for variable in variables]
        for layer, variables in variables_of(model).items()
    }


def read_file(path: str | Path) -> Arrays:
    """The weights in a `.keras` file, a `.weights.h5` file or the folder of a Run, by layer.

    Args:
        path: `#sha256=` and the file's hash may follow it.

    Raises:
        ValueError: there is no such file, it has another hash, or it is damaged.
    """
    name, _, wanted = str(path).partition(_HASH)
    file = Path(name)
    if file.is_dir():
        file = file / RUN_FILE
    if not file.is_file() or not file.name.endswith((".keras", ".weights.h5")):
        raise ValueError(
            f"No weights at {name!r}. Accepted: a .keras or .weights.h5 file, or the folder of a Run, which holds "
            f"{RUN_FILE}."
        )
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if wanted and found != wanted.lower():
        raise ValueError(f"{file} is not the file that was asked for. SHA-256 received: {found}. Accepted: {wanted}.")
    try:
        if file.suffix == ".keras":
            content = zipfile.ZipFile(io.BytesIO(content)).read(_MEMBER)
        with h5py.File(io.BytesIO(content)) as store:
            return _read_store(store, "")
    except (zipfile.BadZipFile, OSError, KeyError, RuntimeError) as error:
        raise ValueError(f"{file} is damaged or was cut short ({len(content):,} bytes): {error}") from error


def _read_store(group: h5py.Group, name: str) -> Arrays:
    """Arrays below a group of Keras' format: `vars` holds a layer's own, and its name; the rest what lies inside."""
    found = {}
    for key, inner in group.items():
        if not isinstance(inner, h5py.Group) or (not name and key == "optimizer"):
            continue
        if key == "vars":
            if name and len(inner):
                found[name] = [_read_array(inner[str(i)]) for i in range(len(inner))]
            continue
        own = inner["vars"].attrs.get("name", "") if "vars" in inner else ""
        found |= _read_store(inner, "/".join(filter(None, [name, own])))
    return found


def _read_array(dataset: h5py.Dataset) -> np.ndarray:
    """HDF5 has no bfloat16: Keras stores its two bytes, and the name of the dtype beside them."""
    if dataset.attrs.get("dtype") == "bfloat16":
        return np.array(dataset, dtype=ml_dtypes.bfloat16).astype(np.float32)
    return dataset[()]


def transfer(
    arrays: Arrays, model: keras.Model, backbone: Collection[str], source: str, *, keep_head: bool = True
) -> None:
    """Copy weights into a model, layer by layer.

    All of the backbone must fit; only the first kernel may differ in channels, see `adapt_channels`, and positions in
    their grid, see `adapt_positions`; of more places for a text than the model has, the first are taken. A head, which
    is what leads from the last stage, or from a tap below it, to an output, is copied if it fits; where only the number
    of classes differs, all but its last layer; otherwise it keeps its fresh weights.

    Args:
        arrays: what `read_file` or `KerasApplication.read` returns.
        model: a registered model.
        backbone: names of its layers up to the last stage.
        source: where the weights are from, for messages.
        keep_head: `False` leaves every head fresh, even where the weights fit.

    Raises:
        ValueError: the weights are another architecture's; the model is left as it was.
    """
    wanted = variables_of(model)
    body = [name for name in wanted if name.partition("/")[0] in backbone]
    first = next((name for name in body if wanted[name][0].ndim == 4), None)

    missing = set(body) - set(arrays)
    left = {name for name in set(arrays) - set(wanted) if name.startswith(("stem", "stage"))}
    if missing or left:
        what = f"no layer {some(missing)}" if missing else f"layers that it has not: {some(left)}"
        raise ValueError(f"{source} holds weights of another architecture than {model.name!r}: {what}.")

    values = {}
    given_grid, grid = _grids(arrays, model) if {PATCHES, POSITIONS} <= set(body) else (None, None)
    if given_grid != grid:
        arrays = {**arrays, POSITIONS: [adapt_positions(arrays[POSITIONS][0], given_grid, grid)]}
    if POSITIONS in body and arrays[POSITIONS][0].ndim == 2:
        arrays = {**arrays, POSITIONS: [arrays[POSITIONS][0][: wanted[POSITIONS][0].shape[0]]]}
    for name in body:
        values[name] = _fitted(arrays[name], wanted[name], may_adapt=name == first)
        if values[name] is None:
            raise ValueError(
                f"{source} holds weights of another architecture than {model.name!r}: layer {name!r} has the shapes "
                f"{_shapes(arrays[name])}. Accepted: {_shapes(wanted[name])}."
            )
    for last, head in _heads(model, backbone).items() if keep_head else ():
        fits = {name: _fitted(arrays[name], wanted[name]) if name in arrays else None for name in head}
        if all(fits[name] is not None for name in head if name != last):
            values |= {name: value for name, value in fits.items() if value is not None}
        elif set(head) & set(arrays):
            what = "head" if last == HEAD else f"head {last!r}"
            warnings.warn(
                f"The {what} of {source} does not fit {model.name!r}, which keeps its fresh weights.", stacklevel=2
            )
    if given_grid != grid:
        warnings.warn(
            f"The positions of {source} were learned for {_size(given_grid)} patches and interpolated to "
            f"{_size(grid)}.",
            stacklevel=2,
        )
    if first is not None and (given := arrays[first][0].shape[2]) != (taken := wanted[first][0].shape[2]):
        warnings.warn(
            f"The first kernel of {source} reads {given} channels and was adapted to {taken} ({_ADAPTED[taken]}).",
            stacklevel=2,
        )
    for name, layer_values in values.items():
        for variable, value in zip(wanted[name], layer_values, strict=True):
            variable.assign(value)


def _heads(model: keras.Model, backbone: Collection[str]) -> dict[str, list[str]]:
    """Layers with weights that lead from the backbone to each output, by the name of the output's layer."""
    heads = {}
    for output in model.outputs:
        path = keras.Model(model.inputs, output)
        heads[path.layers[-1].name] = [name for name in variables_of(path) if name.partition("/")[0] not in backbone]
    return heads


_ADAPTED = {1: "average of the colours", 3: "colours alike, or alpha left out", 4: "zeros for alpha"}


def adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A kernel for pictures of another kind, `(height, width, channels in, maps)`.

    To grey: the average of the colours. From grey: a third of it for every colour. Alpha gets zeros, or is left out.
    """
    colours = kernel[:, :, :3]
    if channels == 1:
        return colours.mean(2, keepdims=True)
    if kernel.shape[2] == 1:
        colours = np.repeat(kernel / 3, 3, axis=2)
    return np.concatenate([colours, np.zeros_like(colours[:, :, :1])], axis=2)[:, :, :channels]


def adapt_positions(positions: np.ndarray, given: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """Positions learned for one grid of patches, for another: `(1, 1 + height * width, dim)`, the class token's first.

    Bilinear between the corners, which keep theirs, as in the code of Dosovitskiy et al., "An Image is Worth 16x16
    Words" (2021), §3.2. The class token's position stays as it is.
    """
    token, places = positions[:, :1], positions[0, 1:].reshape(*given, -1)
    rows, columns = (_between(n, m) for n, m in zip(given, grid, strict=True))
    places = np.einsum("ih,jw,hwd->ijd", rows, columns, places).reshape(1, -1, positions.shape[-1])
    return np.concatenate([token, places], axis=1).astype(positions.dtype)


def _between(n: int, m: int) -> np.ndarray:
    """What each of m places, evenly from the first of n to the last, takes of those: `(m, n)`."""
    return np.stack([np.interp(np.linspace(0, n - 1, m), np.arange(n), one) for one in np.eye(n)], axis=1)


def _grids(arrays, model):
    """Of the patches of given positions, a square one, and of a model's; twice the model's if nothing is to adapt."""
    grid = tuple(model.get_layer(PATCHES).output.shape[1:3])
    count = arrays[POSITIONS][0].shape[1] - 1 if arrays[POSITIONS][0].ndim == 3 else 0
    side = math.isqrt(max(count, 0))
    if side < 1 or side**2 != count or count == math.prod(grid):
        return grid, grid
    return (side, side), grid


def _size(grid) -> str:
    return "x".join(map(str, grid))


def _fitted(arrays, variables, *, may_adapt=False) -> list[np.ndarray] | None:
    """The arrays in the shapes of the variables; None where they do not fit."""
    if len(arrays) != len(variables):
        return None
    fitted = []
    for array, variable in zip(arrays, variables, strict=True):
        shape = tuple(variable.shape)
        if array.ndim == 4 and array.shape[:2] == (1, 1) and len(shape) == 2:
            array = array[0, 0]  # a 1x1 convolution of pooled features is a Dense layer
        elif array.ndim == 2 and len(shape) == 4 and array.shape == (math.prod(shape[:3]), shape[3]):
            array = array.reshape(shape)  # a Dense layer of flattened maps is a convolution whose kernel is as large
        elif array.ndim == len(shape) == 4 and array.shape[2] == 1 and array.shape == (*shape[:2], shape[3], shape[2]):
            array = array.reshape(shape)  # a convolution in as many groups as channels is a depthwise one
        differs = [i for i, (n, m) in enumerate(zip(array.shape, shape, strict=False)) if n != m]
        if may_adapt and array.ndim == len(shape) == 4 and differs == [2] and {array.shape[2], shape[2]} <= {1, 3, 4}:
            array = adapt_channels(array, shape[2])
        if array.shape != shape:
            return None
        fitted.append(array)
    return fitted


def some(names: Collection[str]) -> str:
    """The first three names, and how many more there are, for a message."""
    names = sorted(names)
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shapes(arrays) -> str:
    return ", ".join(str(tuple(array.shape)) for array in arrays)
