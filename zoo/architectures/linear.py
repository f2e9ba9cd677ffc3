"""One linear unit per output: least squares, the logistic unit, and Rosenblatt's threshold unit.

- Gauss, "Theoria motus" (1809), §175 ff.: least squares.
- Cox, "The Regression Analysis of Binary Sequences" (1958): the logistic model.
- Rosenblatt, "The Perceptron" (Psychological Review 65, 1958): the threshold unit and its learning rule.
"""

import keras
from keras import layers, ops

from zoo.registry import register


def _linear_unit(input_shape, num_classes, include_top, name, head):
    features = keras.Input(input_shape, name="features")
    x = layers.Flatten(name="stage1")(features)
    if not include_top:
        return keras.Model(features, x, name=name)
    for layer in head(num_classes):
        x = layer(x)
    return keras.Model(features, x, name=name)


@register(task="regression", paper="Gauss, Theoria motus, 1809", tiny={"input_shape": (3,)})
def linear_regression(input_shape=(1,), num_classes=1, *, include_top=True, name="linear_regression"):
    """A weighted sum and a bias.

    Args:
        input_shape: shape of one example.
        num_classes: number of values predicted.
        include_top: `False` gives the flattened input, the features of a linear model.
        name: name of the model.

    Returns:
        `features` float32 `(batch, *input_shape)` → float32 `(batch, num_classes)`.
    """
    return _linear_unit(input_shape, num_classes, include_top, name, lambda n: [layers.Dense(n, name="value")])


@register(
    task="binary-classification",
    paper="Cox, The Regression Analysis of Binary Sequences, 1958",
    tiny={"input_shape": (3,)},
)
def logistic_regression(input_shape=(2,), num_classes=1, *, include_top=True, name="logistic_regression"):
    """A linear unit whose output is the logit of a class.

    Args:
        input_shape: shape of one example.
        num_classes: 1 gives one logit for two classes; n > 2 gives one logit per class (multinomial).
        include_top: `False` gives the flattened input, the features of a linear model.
        name: name of the model.

    Returns:
        `features` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    return _linear_unit(input_shape, num_classes, include_top, name, lambda n: [layers.Dense(n, name="logits")])


@register(
    task="binary-classification",
    paper="Rosenblatt, The Perceptron, Psychological Review 65, 1958",
    tiny={"input_shape": (3,)},
)
def perceptron(input_shape=(2,), num_classes=1, *, include_top=True, name="perceptron"):
    """Rosenblatt's threshold unit: 1 where the weighted sum exceeds 0, else 0.

    With the loss (y - t)²/2 and plain gradient descent it learns by Rosenblatt's rule, w += rate * (t - y) * x.

    Args:
        input_shape: shape of one example.
        num_classes: number of threshold units; 1 decides between two classes.
        include_top: `False` gives the flattened input.
        name: name of the model.

    Returns:
        `features` float32 `(batch, *input_shape)` → decisions, 0.0 or 1.0, float32 `(batch, num_classes)`.
    """
    return _linear_unit(
        input_shape,
        num_classes,
        include_top,
        name,
        lambda n: [layers.Dense(n, kernel_initializer="zeros", name="potential"), Step(name="decision")],
    )


@keras.saving.register_keras_serializable("zoo")
class Step(layers.Layer):
    """Heaviside's step, 1 where x > 0 else 0, whose gradient is the identity's.

    The step has no useful gradient of its own. Passing the output's gradient straight through makes gradient descent
    on the squared error equal to Rosenblatt's learning rule.
    """

    def call(self, x):
        step = ops.cast(x > 0, x.dtype)
        return ops.stop_gradient(step) + (x - ops.stop_gradient(x))

    def compute_output_shape(self, input_shape):
        return input_shape
