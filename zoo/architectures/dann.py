"""DANN: domain-adversarial training of neural networks.

Ganin, Lempitsky, "Unsupervised Domain Adaptation by Backpropagation" (2015), Figure 4a, and Ganin et al.,
"Domain-Adversarial Training of Neural Networks" (2016): what goes from the digits of MNIST to those of MNIST-M.

    part                layer                                   output (28x28 input)
    feature extractor   5x5, 32 maps, ReLU; 2x2 max-pooling     12x12
                        5x5, 48 maps, ReLU; 2x2 max-pooling      4x4
    label predictor     100, ReLU; 100, ReLU; the classes       logits
    domain classifier   gradient reversal; 100, ReLU; 1         logit of the target domain

The first two parts are the model that is served, `dann`: 128,890 parameters for ten classes. The third one, which only
training needs, is `domain_head`, and sits on the features of any backbone. It learns to tell the source domain from the
target; the reversed gradient makes the features forget what tells them apart.

While training progresses from 0 to 1, the strength of the reversal rises by `adaptation_factor`, and the learning rate
falls by `annealed_rate`.
"""

import math

import keras
from keras import layers

from zoo.layers import GradientReversal
from zoo.nearest import choose
from zoo.registry import check_count, register

HIDDEN = {"activation": "relu", "kernel_initializer": "he_normal"}
REVERSAL = "reversal"
POOLINGS = ("flatten", "average")
MOST_FLATTENED = 4096
"""Most numbers of feature maps that `domain_head` reads each by itself unless it is told to."""


@register(
    task="domain-adaptation",
    paper="Ganin, Lempitsky, Unsupervised Domain Adaptation by Backpropagation, 2015",
    tiny={"input_shape": (16, 16, 3), "num_classes": 3, "widths": (6, 8), "hidden_sizes": (16,)},
    min_size=16,
)
def dann(
    input_shape=(28, 28, 3),
    num_classes=10,
    *,
    widths=(32, 48),
    hidden_sizes=(100, 100),
    include_top=True,
    name="dann",
):
    """The digit classifier that learns one domain with labels and another without.

    Args:
        input_shape: `(height, width, channels)`, at least 16x16 pixels.
        num_classes: width of the head.
        widths: maps of both convolutions.
        hidden_sizes: widths of the label predictor's hidden layers; `()` for none.
        include_top: `False` gives the features, the maps of the last stage, which `domain_head` reads.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    if len(widths) != 2:
        raise ValueError(f"widths of {name!r} must be those of its two convolutions. Received: {widths!r}.")
    image = keras.Input(input_shape, name="image")
    x = image
    for i, width in enumerate(widths, 1):
        check_count(name, "each of widths", width)
        x = layers.Conv2D(width, 5, name=f"stage{i}_conv", **HIDDEN)(x)
        x = layers.MaxPooling2D(2, name=f"stage{i}")(x)
    if include_top:
        x = layers.Flatten(name="head_flatten")(x)
        x = _hidden(x, hidden_sizes, "head", name)
        x = layers.Dense(num_classes, name="logits", dtype="float32")(x)
    return keras.Model(image, x, name=name)


def domain_head(features, hidden_sizes=(100,), *, pooling=None, factor=0.0, name="domain_head"):
    """The domain classifier of Figure 4, for the features of any backbone.

    Its layer `reversal` holds λ, the strength of the reversed gradient, as a weight that is not trained:
    `head.get_layer("reversal").factor.assign(adaptation_factor(progress))`. Neither λ nor the reversal changes how the
    head itself learns. Its loss is binary cross-entropy from logits, 0 for the source and 1 for the target, on as many
    examples of one as of the other.

    Args:
        features: a model whose only output they are, such as `zoo.build(…, include_top=False)`, or their shape without
            the batch axis: a vector `(n,)`, tokens `(length, n)` or maps `(height, width, n)`.
        hidden_sizes: widths of the hidden layers; `()` for none.
        pooling: how maps and tokens become a vector. "flatten" reads every place by itself, as the paper does;
            "average" their mean over all places, for features of any size. None flattens them where they have a fixed
            size and at most 4096 numbers, as here (768), and averages larger ones: a ResNet-50 has 100,352.
        factor: λ at first.
        name: name of the model.

    Returns:
        `features`, in the dtype that the layers compute in, → one logit float32 `(batch, 1)`, of the target domain.

    Raises:
        ValueError: the features are no such shape, or have no fixed size and shall be flattened; an unknown pooling; a
            hidden size that is no positive integer.
    """
    shape = features.output_shape[1:] if isinstance(features, keras.Model) else features
    legal = isinstance(shape, (tuple, list)) and 1 <= len(shape) <= 3
    if not legal or not all(n is None or isinstance(n, int) for n in shape) or shape[-1] is None:
        raise ValueError(
            f"The features of {name!r} must be one vector, one sequence of tokens or one stack of maps per example. "
            f"Received: {shape!r}. Accepted: (n,), (length, n) or (height, width, n), with a fixed n."
        )
    pooling = _pooling(shape, pooling, name)
    given = keras.Input(shape, name="features")
    x = GradientReversal(factor, name=REVERSAL)(given)
    if len(shape) > 1 and pooling == "average":
        average = layers.GlobalAveragePooling1D if len(shape) == 2 else layers.GlobalAveragePooling2D
        x = average(name="pool")(x)
    elif len(shape) > 1:
        x = layers.Flatten(name="flatten")(x)
    x = _hidden(x, hidden_sizes, "domain", name)
    x = layers.Dense(1, name="domain", dtype="float32")(x)
    return keras.Model(given, x, name=name)


def adaptation_factor(progress):
    """λ of the reversed gradient: 2 / (1 + exp(-10 p)) - 1, from 0 at the start, when features are noise, towards 1.

    Ganin, Lempitsky 2015, §4.

    Args:
        progress: share of the training that is over, from 0 to 1: a number, an array or a tensor.
    """
    return 2 / (1 + math.e ** (-10 * progress)) - 1


def annealed_rate(progress, initial=0.01):
    """The learning rate: μ0 / (1 + 10 p)^0.75, which falls to a sixth.

    Ganin, Lempitsky 2015, §4, where it goes with stochastic gradient descent and a momentum of 0.9.

    Args:
        progress: share of the training that is over, from 0 to 1: a number, an array or a tensor.
        initial: μ0.
    """
    return initial / (1 + 10 * progress) ** 0.75


def _pooling(shape, pooling, name) -> str:
    """What was asked for, or what fits the features."""
    is_open = None in shape
    if pooling is None:
        return "average" if is_open or math.prod(shape) > MOST_FLATTENED else "flatten"
    choose(f"pooling of {name!r}", pooling, POOLINGS)
    if pooling == "flatten" and is_open:
        raise ValueError(
            f"Only features of a fixed size can be flattened by {name!r}. Received: {tuple(shape)}. "
            f"Accepted for these: pooling='average'."
        )
    return pooling


def _hidden(x, sizes, part, name):
    for i, size in enumerate(sizes, 1):
        check_count(name, "each of hidden_sizes", size)
        x = layers.Dense(size, name=f"{part}_fc{i}", **HIDDEN)(x)
    return x
