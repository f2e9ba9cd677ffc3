"""Running a model with something else in place of some of its layers: a count, a cache, a memory. Backend-neutral."""

from collections.abc import Callable
from typing import Any

import keras
from keras import tree


def is_graph(operation: Any) -> bool:
    """Whether this is a model that shows its graph: a Functional one, or a Sequential one that is built."""
    return hasattr(operation, "_run_through_graph") or (isinstance(operation, keras.Sequential) and operation.built)


def check_graph(model: keras.Model) -> None:
    """Raise ValueError unless the model shows its graph."""
    if not is_graph(model):
        raise ValueError(
            f"Only Functional and Sequential models that are built show their graph. "
            f"Received: {model.name!r}, a {type(model).__name__}."
        )


def run(model: keras.Model | keras.Function, inputs: Any, replace: Callable[[keras.Operation], Callable]) -> Any:
    """Do what the model does to `inputs`, calling for every layer what `replace` gives for it.

    It runs on tensors of the backend, and on symbolic ones: a new Functional model can be made of what it returns.

    Args:
        model: Functional, or Sequential and built, or a `keras.Function`. Models nested in it are opened: `replace`
            sees their layers.
        inputs: tensors, one for each of `model.inputs`, in their order; one tensor where there is one.
        replace: layer → what is called in its place, with the layer's arguments; the layer itself for no change. It is
            asked for every call in turn, so that a layer called twice can be replaced by two. What is a function of
            `keras.ops` in the model comes as an operation, which is called like a layer. `training` is not among the
            arguments: as in every model, it is that of the call around.

    Returns:
        The model's output or outputs, or whatever came out of the replacements in their place.

    Raises:
        ValueError: the model is neither Functional nor Sequential, or not built.
    """
    check_graph(model)

    def called(operation):
        if is_graph(operation):
            return lambda inputs, **_: run(operation, inputs, replace)
        function = replace(operation)
        # The graph records `training` as it was when the model was built.
        return lambda *args, training=None, **kwargs: function(*args, **kwargs)

    if isinstance(model, keras.Sequential):
        (tensor,) = tree.flatten(inputs)
        for layer in model.layers:
            tensor = called(layer)(tensor)
        return tensor
    # Keras has no public way to visit the calls of a graph; this is how it runs a model itself.
    return model._run_through_graph(inputs, operation_fn=called)
