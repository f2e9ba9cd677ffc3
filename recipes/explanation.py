"""What a network sees: which places of a picture speak for a class.

- `cam`, class activation maps: Zhou et al., "Learning Deep Features for Discriminative Localization" (2016), §2. For
  heads that are linear in the mean of each feature map.
- `grad_cam`: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization"
  (2017), §3. For every network that has feature maps.
- `occlusion`: Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks" (2014), §4.2. For every network.

The first two are TensorFlow functions of the model's tensor. `explain` calls them, and a published version contains
them: there is nothing in which the two maps could differ.
"""

import functools
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image

from recipes import backend, feature_maps
from recipes.bundle import Bundle
from recipes.data import pictures
from recipes.examples import to_png
from recipes.feature_maps import FeatureMaps
from recipes.orientation import orientation, upright
from recipes.run import Run, load_run
from zoo.nearest import choose

METHODS = ("cam", "grad_cam", "occlusion")
SERVED_METHODS = METHODS[:2]
AUTO = "auto"

FLAT = 1e-3
"""A map whose range is below this share of what it is made of is nearly flat, and fades instead of showing noise."""

COLOURS = "autumn_r"  # yellow to red: bright on dark and on white pictures alike
OPAQUE = 0.75  # at most, so that the picture shows through
BATCH_SIZE = 32
PARTS_PER_SIDE = 6  # patches of occlusion, by default, side by side


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where a network sees a class in a picture.

    Attributes:
        method: how the map was made: "cam", "grad_cam" or "occlusion".
        class_name: the class explained.
        class_id: its number.
        probability: what the network gives that class, 0 to 1.
        heat_map: float32 `(height, width)` of the picture, 0 (nothing speaks for the class) to 1 (most of all).
        picture: the picture as the network reads it, uint8 RGB `(height, width, 3)`.
    """

    method: str
    class_name: str
    class_id: int
    probability: float
    heat_map: np.ndarray = field(repr=False)
    picture: np.ndarray = field(repr=False)

    @property
    def overlay(self) -> np.ndarray:
        """The picture in grey under the coloured map, uint8 RGB `(height, width, 3)`."""
        grey = self.picture @ np.array([0.299, 0.587, 0.114]) / 255
        return np.round(255 * _coloured(grey, self.heat_map)).astype(np.uint8)

    def save(self, path: str | Path, *, alone: bool = False) -> Path:
        """Write a PNG: the picture beside the overlay with its scale, or the overlay alone in the picture's own size.

        Returns:
            The path.
        """
        if alone:
            Image.fromarray(self.overlay).save(path, "PNG")
        else:
            self._figure().savefig(path, format="png", dpi=100)
        return Path(path)

    def _figure(self) -> Figure:
        height, width = self.heat_map.shape
        tall = float(np.clip(3.2 * height / width, 1.2, 6))
        title = textwrap.wrap(f"{self.class_name}  {self.probability:.1%}  ({self.method})", 90)
        figure = Figure(figsize=(7.6, tall + 0.4 + 0.2 * len(title)), layout="constrained")
        left, right = figure.subplots(1, 2)
        smooth = "nearest" if max(height, width) < 100 else "antialiased"
        for axes, pixels in ((left, self.picture), (right, self.overlay)):
            axes.imshow(pixels, interpolation=smooth)
            axes.axis("off")
        figure.suptitle("\n".join(title).replace("$", r"\$"), fontsize=11)
        shades = matplotlib.colors.ListedColormap(_coloured(np.full(256, 0.5), np.linspace(0, 1, 256)))
        scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1), shades)
        bar = figure.colorbar(scale, ax=right, ticks=[0, 1], fraction=0.046, pad=0.03)
        bar.ax.set_yticklabels(["none", "most"], fontsize=8)
        return figure


def _coloured(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Grey values and heat of one shape, 0..1 → colours in 0..1, with a last axis of 3. Without heat, grey stays."""
    opacity = OPAQUE * np.minimum(1, 1.5 * heat)[..., None]
    return opacity * matplotlib.colormaps[COLOURS](heat)[..., :3] + (1 - opacity) * grey[..., None]


def explain(
    run_or_bundle: Run | Bundle | str | Path,
    image: bytes | str | Path | np.ndarray,
    *,
    method: str = AUTO,
    class_name: str | None = None,
    path: str | Path | None = None,
    patch_size: int | None = None,
    stride: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> Explanation:
    """Show which places of a picture speak for a class.

    Args:
        run_or_bundle: an image classifier: a Run, its folder, or a bundle.
        image: a PNG or JPEG as bytes or as the path of its file, or pixels, uint8 `(h, w)` or `(h, w, 1 | 3 | 4)`.
        method: "cam", "grad_cam", "occlusion", or "auto", the first of them that the model allows.
        class_name: the label to explain; by default the most probable one.
        path: where to write the PNG, picture and overlay side by side.
        patch_size: side of the patch that occlusion covers a place with, in pixels of the model's input; by default a
            sixth of the shorter side.
        stride: from patch to patch, in the same pixels; by default half a patch.
        batch_size: covered pictures that occlusion asks the model about at once.

    Returns:
        The explanation. A map that is the same everywhere, such as that of an empty picture, is all zeros.

    Raises:
        ValueError: no image classifier; an image that cannot be read; an unknown method or label, or a method that the
            model does not allow; a patch that does not fit; a backend other than TensorFlow.
        OSError: the image or the path cannot be opened.
    """
    backend.check("An explanation")
    bundle = _bundle_of(run_or_bundle)
    check_image_classifier(bundle)
    method = resolve_method(bundle.model, method)
    if method != "occlusion" and (patch_size, stride) != (None, None):
        raise ValueError(f"patch_size and stride belong to occlusion. Received: method={method!r}.")
    class_id = None if class_name is None else bundle.labels.index(choose("class", class_name, bundle.labels))
    content = _encoded(image)
    tensor = tf.constant(bundle.preprocess({"image_bytes": np.array([content, None], object)[:1]}))
    class_ids = None if class_id is None else tf.constant([class_id], tf.int64)
    if method == "occlusion":
        answer = _occlusion(bundle, tensor, class_ids, patch_size, stride, batch_size)
    else:
        answer = heat_maps(bundle, method)(tensor, class_ids)
    stored = tf.io.decode_image(content, 3, expand_animations=False)
    picture = upright(stored, orientation(tf.constant(content))).numpy()
    class_id = int(answer["class_ids"][0]) if class_id is None else class_id
    explanation = Explanation(
        method=method,
        class_name=bundle.labels[class_id],
        class_id=class_id,
        probability=float(answer["probabilities"][0, class_id]),
        heat_map=_laid_over(picture.shape[:2], answer["heatmap"]),
        picture=picture,
    )
    if path is not None:
        explanation.save(path)
    return explanation


def explanation_methods(model: keras.Model) -> tuple[str, ...]:
    """What an image classifier allows of "cam", "grad_cam" and "occlusion", in this order.

    Grad-CAM needs feature maps, which a perceptron has not; CAM, that only a global average and at most one Dense layer
    follow them.
    """
    maps = feature_maps.find(model)
    if maps is None:
        return METHODS[2:]
    return METHODS if maps.class_weights() is not None else METHODS[1:]


def resolve_method(model: keras.Model, method: str, accepted: tuple[str, ...] = METHODS) -> str:
    """The method meant, where "auto" is the first one of `accepted` that the model allows.

    Raises:
        ValueError: an unknown method, or one that the model does not allow.
    """
    choose("method", method, (AUTO, *accepted))
    allowed = explanation_methods(model)
    usable = [each for each in accepted if each in allowed]
    if method in usable or (method == AUTO and usable):
        return usable[0] if method == AUTO else method
    why = (
        "has no feature maps" if "grad_cam" not in allowed else "has more after its feature maps than CAM can see past"
    )
    allows = ", ".join(each if each in accepted else f"{each}, which is not served" for each in allowed)
    raise ValueError(f"Model {model.name!r} {why}. Received: method={method!r}. It allows: {allows}.")


def check_image_classifier(bundle: Bundle) -> None:
    """Raise ValueError unless a bundle takes pictures and answers with a class."""
    if bundle.preprocessing.kind != "image" or bundle.answer.kind != "class":
        raise ValueError(
            f"Only classes of pictures can be explained. Received: a model for {bundle.task} on "
            f"{bundle.preprocessing.kind}s. Accepted: an image classifier."
        )


def heat_maps(bundle: Bundle, method: str) -> Callable[..., dict[str, tf.Tensor]]:
    """The function that answers with the map: eagerly, or traced into a graph; each row for itself.

    Args:
        bundle: an image classifier.
        method: "cam" or "grad_cam", which the model must allow.

    Returns:
        A function of the model's tensor `(batch, h, w, c)` and, if not the most probable class of each is meant,
        class ids int64 `(batch,)`. It gives the bundle's answer and `heatmap`, float32 `(batch, h, w)` in 0..1.
    """
    maps = feature_maps.find(bundle.model)
    before_logits, to_logits = _logits(maps, bundle.answer.head)
    network = keras.Model(maps.image, [maps.tensor, before_logits, maps.head[-1].tensor])

    def answer_with_map(tensor: tf.Tensor, class_ids: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        tensor = tf.cast(tensor, network.inputs[0].dtype)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            values, hidden, outputs = network(tensor, training=False)
            answer = bundle.answer(outputs)
            ids = answer["class_ids"] if class_ids is None else class_ids
            scores = _of_class(to_logits(hidden), ids)
        features = maps.over_the_picture(values)
        if method == "cam":
            weights = _of_class(maps.class_weights()[None], ids)  # of equation 2 of CAM
            sizes = tf.abs(weights)
        else:
            gradients = maps.over_the_picture(tape.gradient(scores, values))
            weights = tf.reduce_mean(gradients, axis=(1, 2))  # equation 1 of Grad-CAM
            sizes = tf.reduce_mean(tf.abs(gradients), axis=(1, 2))
        evidence = tf.nn.relu(tf.einsum("bhwc,bc->bhw", features, weights))  # equation 2 of Grad-CAM
        summed = tf.reduce_max(tf.einsum("bhwc,bc->bhw", tf.abs(features), sizes), axis=(1, 2))
        return answer | {"heatmap": _normalised(_resized(evidence, bundle.preprocessing.shape[:2]), summed)}

    return answer_with_map


def _logits(maps: FeatureMaps, head: str) -> tuple[keras.KerasTensor, Callable[[tf.Tensor], tf.Tensor]]:
    """A tensor of the network, and the function that makes logits of it.

    Behind a softmax or a sigmoid the gradient vanishes as soon as the network is sure, so it starts before them.
    """
    last = maps.head[-1]
    if head == "logits":
        return last.tensor, _as_float
    if len(last.parents) == 1 and not getattr(last.operation, "weights", ()):
        return last.parents[0], _as_float
    if isinstance(last.operation, keras.layers.Dense):
        return last.parents[0], functools.partial(_before_activation, last.operation)
    return last.tensor, _log_probabilities


def _as_float(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.float32)


def _before_activation(dense: keras.layers.Dense, values: tf.Tensor) -> tf.Tensor:
    logits = tf.matmul(_as_float(values), keras.ops.cast(dense.kernel, "float32"))
    return logits if dense.bias is None else logits + keras.ops.cast(dense.bias, "float32")


def _log_probabilities(values: tf.Tensor) -> tf.Tensor:
    values = tf.clip_by_value(_as_float(values), 1e-7, 1 - 1e-7)
    return tf.math.log(values) - (tf.math.log(1 - values) if values.shape[-1] == 1 else 0)


def _of_class(values: tf.Tensor, class_ids: tf.Tensor) -> tf.Tensor:
    """Of `(batch, ..., classes)` what belongs to the class of each row, `(batch, ...)`.

    One logit speaks for the second of two classes, and its negative for the first. A batch of one serves all rows.
    """
    if values.shape[-1] == 1:
        sign = tf.cast(2 * class_ids - 1, values.dtype)
        return values[..., 0] * tf.reshape(sign, [-1] + [1] * (len(values.shape) - 2))
    one_hot = tf.one_hot(class_ids, values.shape[-1], dtype=values.dtype)
    return tf.reduce_sum(values * tf.reshape(one_hot, [-1] + [1] * (len(values.shape) - 2) + [values.shape[-1]]), -1)


def _occlusion(
    bundle: Bundle,
    tensor: tf.Tensor,
    class_ids: tf.Tensor | None,
    patch_size: int | None,
    stride: int | None,
    batch_size: int,
) -> dict[str, tf.Tensor]:
    """The answer to one picture, with the map: at each place, by how much covering it lowers the class's probability.

    The patch has the picture's mean colour. Where patches overlap, their mean counts.
    """
    size = bundle.preprocessing.shape[:2]
    patch_size = max(min(2, *size), round(min(size) / PARTS_PER_SIDE)) if patch_size is None else patch_size
    _check_whole("patch_size", patch_size, min(size))
    stride = max(1, patch_size // 2) if stride is None else stride
    _check_whole("stride", stride, patch_size)
    _check_whole("batch_size", batch_size)
    answer = bundle.graph(tensor)
    class_id = int(answer["class_ids"][0] if class_ids is None else class_ids[0])
    tops, lefts = (
        places.ravel() for places in np.meshgrid(*(_starts(side, patch_size, stride) for side in size), indexing="ij")
    )
    colour = tf.reduce_mean(tensor, axis=(1, 2), keepdims=True)
    drops, times = tf.zeros(size), tf.zeros(size)
    for first in range(0, len(tops), batch_size):
        chosen = slice(first, first + batch_size)
        mask = _patches(tops[chosen], lefts[chosen], patch_size, size)
        covered = tf.where(mask[..., None], colour, tensor)
        drop = answer["probabilities"][0, class_id] - bundle.graph(covered)["probabilities"][:, class_id]
        mask = tf.cast(mask, tf.float32)
        drops += tf.einsum("bhw,b->hw", mask, drop)
        times += tf.reduce_sum(mask, axis=0)
    evidence = tf.nn.relu(drops / times)[None]
    return answer | {"heatmap": _normalised(evidence, tf.ones([1]))}


def _starts(side: int, patch_size: int, stride: int) -> list[int]:
    """Where patches begin along a side; the last one ends with it."""
    return sorted({*range(0, side - patch_size, stride), side - patch_size})


def _patches(tops: np.ndarray, lefts: np.ndarray, patch_size: int, size: tuple[int, int]) -> tf.Tensor:
    """Which places each patch covers, bool `(patches, height, width)`."""
    rows, columns = (
        (np.arange(side) >= starts[:, None]) & (np.arange(side) < starts[:, None] + patch_size)
        for side, starts in zip(size, (tops, lefts), strict=True)
    )
    return tf.constant(rows[:, :, None] & columns[:, None, :])


def _check_whole(name: str, received: int, most: int | None = None) -> None:
    if not isinstance(received, (int, np.integer)) or received < 1 or (most is not None and received > most):
        limit = "" if most is None else f" and at most {most}"
        raise ValueError(f"{name} must be a whole number of at least 1{limit}. Received: {received!r}.")


def _resized(maps: tf.Tensor, size: tuple[int, int], antialias: bool = False) -> tf.Tensor:
    """Maps `(batch, h, w)` → float32 `(batch, *size)`, bilinear."""
    return tf.image.resize(maps[..., None], size, antialias=antialias)[..., 0]


def _laid_over(size: tuple[int, int], heat: tf.Tensor) -> np.ndarray:
    """A map `(1, h, w)` in a picture's size, float32 `size`; on a smaller picture its peak is as high as before."""
    resized = _resized(heat, size, antialias=True)[0]
    return (resized * tf.math.divide_no_nan(tf.reduce_max(heat), tf.reduce_max(resized))).numpy()


def _normalised(evidence: tf.Tensor, summed: tf.Tensor) -> tf.Tensor:
    """Evidence `(batch, h, w)` → 0 where it is least and 1 where it is most; nearly flat maps fade to zeros.

    `summed`, `(batch,)`, is the size of what the evidence was summed from. Rounding errors are in proportion to that,
    so a range far below it would be noise, spread over the whole scale.
    """
    least, most = (reduce(evidence, axis=(1, 2), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    span = tf.maximum(most - least, FLAT * summed[:, None, None])
    return tf.math.divide_no_nan(evidence - least, span)


def _bundle_of(run_or_bundle: Run | Bundle | str | Path) -> Bundle:
    if isinstance(run_or_bundle, Bundle):
        return run_or_bundle
    if isinstance(run_or_bundle, (str, Path)):
        run_or_bundle = load_run(run_or_bundle)
    if not isinstance(run_or_bundle, Run):
        raise ValueError(f"Accepted: a Run, its folder, or a Bundle. Received: {type(run_or_bundle).__name__}.")
    return run_or_bundle.bundle


def _encoded(image: bytes | str | Path | np.ndarray) -> bytes:
    """A picture, however it is given, as the bytes of a PNG or JPEG file that can be read."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
            raise ValueError(
                "Pixels must be uint8, (height, width) or (height, width, channels). "
                f"Received: {image.dtype.name} of shape {image.shape}."
            )
        image = image[..., None] if image.ndim == 2 else image
        pictures.check_channels(image.shape[-1], "the image")
        return to_png(image)
    content = bytes(image) if isinstance(image, (bytes, bytearray)) else Path(image).read_bytes()
    try:
        pictures.examine(content)
    except ValueError as error:
        where = "The image" if isinstance(image, (bytes, bytearray)) else str(image)
        raise ValueError(f"{where} cannot be explained: {error}. Accepted: a PNG or JPEG file.") from None
    return content
