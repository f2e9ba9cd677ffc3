"""Running a Functional model with something else in place of its layers. Backend-neutral."""


def run(model, inputs, replace):
    """Run a Functional model on tensors, with `replace(layer)` called in place of each layer.

    Args:
        model: a Functional model, or a `keras.Function`; models nested in it are run in the same way.
        inputs: its input tensors, in its order.
        replace: layer → what is called with the layer's arguments; the layer itself for no change.

    Returns:
        What the model gives.
    """

    def follow(operation):
        if hasattr(operation, "_run_through_graph"):
            return lambda inputs, **_: run(operation, inputs, replace)
        return replace(operation)

    # Keras has no public way to visit the calls of a graph; this is how it runs it itself.
    return model._run_through_graph(inputs, operation_fn=follow)
