"""The multilayer perceptron.

Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323 (1986).
"""

import keras
from keras import layers, regularizers

from zoo.registry import register


@register(
    task="image-classification",
    paper="Rumelhart, Hinton, Williams, Nature 323, 1986",
    tiny={"input_shape": (8, 8, 1), "num_classes": 3, "hidden_sizes": (16, 16), "activation": "relu"},
)
def mlp(
    input_shape=(28, 28, 1),
    num_classes=10,
    *,
    hidden_sizes=(50, 100),
    activation="sigmoid",
    dropout=0.0,
    l1=0.0,
    l2=0.0,
    include_top=True,
    name="mlp",
):
    """Fully connected hidden layers between a flattened input and a linear head.

    Args:
        input_shape: shape of one example: a picture, or a row `(n,)`.
        num_classes: width of the head; 1 gives one logit (two classes) or one value (regression).
        hidden_sizes: units of each hidden layer. The default is 784-50-100-10, 45,360 parameters.
        activation: of the hidden layers, any name Keras knows.
        dropout: rate of dropout after each hidden layer, 0 to 1.
        l1, l2: weights of the penalties on |w| and w² of every kernel.
        include_top: `False` gives the last hidden layer.
        name: name of the model.

    Returns:
        `features` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    if not hidden_sizes:
        raise ValueError("hidden_sizes must name at least one layer. Received: (). Without one, see linear_regression.")

    def penalty():
        return regularizers.L1L2(l1, l2) if l1 or l2 else None

    features = keras.Input(input_shape, name="features")
    x = layers.Flatten(name="flatten")(features) if len(input_shape) > 1 else features
    for i, size in enumerate(hidden_sizes, 1):
        x = layers.Dense(size, activation, kernel_regularizer=penalty(), name=f"stage{i}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{i}")(x)
    if include_top:
        x = layers.Dense(num_classes, kernel_regularizer=penalty(), name="logits")(x)
    return keras.Model(features, x, name=name)
