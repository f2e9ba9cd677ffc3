"""Mixed precision: a network computes in 16 bits while it trains, and its weights stay float32.

Micikevicius et al., "Mixed Precision Training" (2018): float32 master weights (§3.1) and, for float16, a scaled loss
(§3.2). What is evaluated, saved and exported is the float32 network with these weights.
"""

import keras


def computing_in(model: keras.Model, precision: str) -> keras.Model:
    """The same network with copies of the weights, computing in another precision up to its last layer.

    Args:
        model: a Functional model.
        precision: "float32", for which the model itself is returned; "bfloat16" or "float16".
    """
    if precision == "float32":
        return model
    outputs = {tensor._keras_history.operation.name for tensor in model.outputs}

    def copy(layer):
        config = layer.get_config()
        # Softmax and loss need float32 (Keras guide "Mixed precision").
        config["dtype"] = "float32" if layer.name in outputs else f"mixed_{precision}"
        return type(layer).from_config(config)

    clone = keras.models.clone_model(model, clone_function=copy)
    clone.set_weights(model.get_weights())
    return clone


def scaled(optimizer: keras.optimizers.Optimizer, precision: str) -> keras.optimizers.Optimizer:
    """The optimizer; in float16 with a loss scaled so that small gradients do not become 0."""
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "float16" else optimizer
