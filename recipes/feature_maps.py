"""Where a network still knows the place: the last feature maps in its graph, and the head that reads them.

Feature maps are a tensor that lies over the picture: `(batch, h, w, channels)`, or the tokens of a transformer,
`(batch, n, channels)`, where n is h*w, or a little more with class tokens in front. Wanted is the deepest one that all
the network's knowledge of the picture passes through, and whose places the classes still depend on.
"""

from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import layers

MOST_CLASS_TOKENS = 2  # one for the classes (ViT), a second one for distillation (DeiT)


@dataclass(frozen=True, eq=False)
class Step:
    """A tensor of a network's graph, the operation that gives it, and the tensors that one reads."""

    tensor: keras.KerasTensor
    operation: keras.Operation
    parents: tuple[keras.KerasTensor, ...]


@dataclass(frozen=True)
class Grid:
    """How a tensor lies over the picture: `height` x `width` places, behind `skip` tokens that belong to none."""

    height: int | None
    width: int | None
    skip: int = 0

    @property
    def places(self) -> int | None:
        """Number of places, None where the network takes pictures of any size."""
        return None if None in (self.height, self.width) else self.height * self.width


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """The deepest spatial tensor of a network.

    Attributes:
        image: the network's input.
        tensor: the maps, `(batch, h, w, channels)` or tokens `(batch, skip + h*w, channels)`.
        grid: how they lie over the picture.
        head: what follows, up to the output.
    """

    image: keras.KerasTensor
    tensor: keras.KerasTensor
    grid: Grid
    head: tuple[Step, ...]

    def over_the_picture(self, values: tf.Tensor) -> tf.Tensor:
        """Values of `tensor`, or its gradient → float32 `(batch, h, w, channels)`, without class tokens."""
        values = tf.cast(values, tf.float32)
        if len(values.shape) == 4:
            return values
        shape = [tf.shape(values)[0], self.grid.height, self.grid.width, values.shape[-1]]
        return tf.reshape(values[:, self.grid.skip :], shape)

    def class_weights(self) -> tf.Tensor | None:
        """Weight of every map for every class, float32 `(channels, classes)`, where the head allows it, else None.

        Such a head is linear in the mean of each map: global average pooling, then one Dense layer, or none. Dropout,
        reshaping, and a softmax or sigmoid at the very end change nothing.
        """
        operations = [step.operation for step in self.head]
        before = [self.tensor, *(step.tensor for step in self.head)]
        is_chain = all(
            len(step.parents) == 1 and step.parents[0] is tensor
            for step, tensor in zip(self.head, before, strict=False)
        )
        if not operations or not is_chain or not self._is_global_average(operations[0]):
            return None
        rest = [op for op in operations[1:] if not _changes_nothing(op)]
        dense = rest.pop(0) if rest and _is_dense(rest[0]) else None
        ends = _activation(dense) if dense else "linear"
        if ends == "linear" and rest and isinstance(rest[0], (layers.Softmax, layers.Activation)):
            ends = _activation(rest.pop(0))
        if rest or ends not in ("linear", "softmax", "sigmoid"):
            return None
        channels = self.tensor.shape[-1]
        return (
            tf.eye(channels) if dense is None else tf.reshape(keras.ops.cast(dense.kernel, "float32"), [channels, -1])
        )

    def _is_global_average(self, operation) -> bool:
        if isinstance(operation, layers.GlobalAveragePooling1D):
            return self.grid.skip == 0
        if isinstance(operation, layers.AveragePooling2D):
            return tuple(operation.pool_size) == tuple(self.tensor.shape[1:3])
        return isinstance(operation, layers.GlobalAveragePooling2D)


def find(model: keras.Model) -> FeatureMaps | None:
    """The deepest feature maps of a network, or None where it has none, as a perceptron.

    They come after the first layer with a kernel, since the picture itself is no feature of it; every path from the
    picture to the output passes through them; and the output depends on their places. A class token is no place: what
    a transformer makes of the others after its last attention is looked at no more.

    Args:
        model: Functional or Sequential, with one input and one output; models inside it are looked into.
    """
    image, output = _flattened(model)
    steps = _steps(output)
    grids, learned = _grids(steps), _learned(steps)
    cuts = _cuts(steps)
    spatial = [i for i in cuts if id(steps[i].tensor) in grids and grids[id(steps[i].tensor)].places != 1]
    features = next((steps[i].tensor for i in cuts if i > max(spatial, default=0)), None)
    found = [
        FeatureMaps(image, steps[i].tensor, grids[id(steps[i].tensor)], tuple(steps[i + 1 :]))
        for i in reversed(spatial)
        if id(steps[i].tensor) in learned
    ]
    if not found or features is None:
        return None
    return found[0] if len(found[0].tensor.shape) == 4 else _first_that_matters(found, features)


def _flattened(model: keras.Model, image: keras.KerasTensor | None = None) -> tuple[keras.KerasTensor, ...]:
    """Input and output of the same graph with every model inside it laid open."""
    steps = _steps(model.outputs[0])
    if image is None and not any(_is_network(step.operation) for step in steps):
        return model.inputs[0], model.outputs[0]
    image = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype) if image is None else image
    tensors = {id(model.inputs[0]): image}
    for step in steps:
        if id(step.tensor) in tensors:
            continue
        node = _node(step.tensor)
        arguments, named = node.arguments.fill_in(tensors)
        if _is_network(step.operation):
            outputs = _flattened(step.operation, arguments[0])[1:]
        else:
            outputs = keras.tree.flatten(step.operation(*arguments, **named))
        tensors.update({id(old): new for old, new in zip(node.outputs, outputs, strict=True)})
    return image, tensors[id(model.outputs[0])]


def _is_network(operation: keras.Operation) -> bool:
    tensors = (getattr(operation, "inputs", None), getattr(operation, "outputs", None))
    return isinstance(operation, keras.Model) and all(each and len(each) == 1 for each in tensors)


def _steps(output: keras.KerasTensor) -> list[Step]:
    """The graph behind a tensor, each step after those it reads; the input first, the tensor itself last."""
    steps, waiting = {}, [output]
    while waiting:
        tensor = waiting[-1]
        node = _node(tensor)
        missing = [parent for parent in node.input_tensors if id(parent) not in steps]
        if missing:
            waiting.extend(missing)
            continue
        steps.setdefault(id(tensor), Step(tensor, node.operation, tuple(node.input_tensors)))
        waiting.pop()
    return list(steps.values())


def _node(tensor: keras.KerasTensor):
    """The call that gave a tensor."""
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def _cuts(steps: list[Step]) -> list[int]:
    """Positions of the steps that no path from the input to the output goes around."""
    last_use = {id(step.tensor): i for i, step in enumerate(steps)}
    for i, step in enumerate(steps):
        last_use.update({id(parent): i for parent in step.parents})
    cuts, reach = [], 0
    for i, step in enumerate(steps):
        if reach <= i:
            cuts.append(i)
        reach = max(reach, last_use[id(step.tensor)])
    return cuts


def _learned(steps: list[Step]) -> set[int]:
    """Ids of the tensors with a kernel, a weight of two axes or more, behind them."""
    learned = set()
    for step in steps:
        has_kernel = any(len(weight.shape) > 1 for weight in getattr(step.operation, "weights", ()))
        if has_kernel or any(id(parent) in learned for parent in step.parents):
            learned.add(id(step.tensor))
    return learned


def _grids(steps: list[Step]) -> dict[int, Grid]:
    """Tensor's id → how it lies over the picture, for those that do.

    Maps lie over the picture as their parents do. Tokens are recognised by their number, and become maps again where
    that number is kept: so the heads and the weights of an attention are not taken for maps.
    """
    grids = {}
    for step in steps:
        shape = step.tensor.shape
        parents = [grids[id(parent)] for parent in step.parents if id(parent) in grids]
        grid = None
        if len(shape) == 4:
            grid = Grid(*shape[1:3])
            from_maps = any(id(parent) in grids and len(parent.shape) == 4 for parent in step.parents)
            if step.parents and not from_maps and grid.places not in [parent.places for parent in parents]:
                grid = None
        elif len(shape) == 3 and shape[1] is not None and parents:
            grid = _tokens(shape[1], [*reversed(list(grids.values())), *parents])
        if grid is not None:
            grids[id(step.tensor)] = grid
    return grids


def _tokens(count: int, known: list[Grid]) -> Grid | None:
    for grid in reversed(known):
        if grid.places and 0 <= count - grid.places <= MOST_CLASS_TOKENS:
            return Grid(grid.height, grid.width, count - grid.places)
    return None


def _first_that_matters(found: list[FeatureMaps], features: keras.KerasTensor) -> FeatureMaps | None:
    """The first feature maps on more than one place of which `features` depends, tried on a picture of noise."""
    image = found[0].image
    shape = [1, *(size or 1 for size in image.shape[1:])]
    noise = tf.cast(tf.random.stateless_normal(shape, seed=(0, 0)), image.dtype)
    network = keras.Model(image, [*(maps.tensor for maps in found), features])
    with tf.GradientTape() as tape:
        tape.watch(noise)
        *values, answer = network(noise, training=False)
        answer = tf.cast(answer, tf.float32)
        number = tf.reduce_sum(answer * tf.random.stateless_normal(tf.shape(answer), seed=(1, 1)))
    for maps, gradient in zip(found, tape.gradient(number, values), strict=True):
        if gradient is not None:
            places = tf.reduce_any(maps.over_the_picture(gradient) != 0, axis=-1)
            if tf.math.count_nonzero(places) > 1:
                return maps
    return None


def _is_dense(operation: keras.Operation) -> bool:
    if isinstance(operation, layers.Conv2D):  # on a map of one place it is the same
        return type(operation) is layers.Conv2D and tuple(operation.kernel_size) == (1, 1) and operation.groups == 1
    return isinstance(operation, layers.Dense)


def _changes_nothing(operation: keras.Operation) -> bool:
    if isinstance(operation, layers.Activation):
        return _activation(operation) == "linear"
    return isinstance(operation, (layers.Dropout, layers.Flatten, layers.Reshape, layers.Identity))


def _activation(operation: keras.Operation) -> str:
    """Name of the activation that an operation ends in."""
    activation = getattr(operation, "activation", None)
    return "softmax" if isinstance(operation, layers.Softmax) else getattr(activation, "__name__", "linear")
