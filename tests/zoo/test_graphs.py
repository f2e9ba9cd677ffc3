"""A model run with something else in place of some of its layers."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from zoo import graphs


def model():
    """Two inputs, a layer called twice, a nested model, and a function of `keras.ops`."""
    one, other = keras.Input((3,), name="one"), keras.Input((3,), name="other")
    shared = layers.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="inside"), layers.ReLU(name="relu")])
    x = layers.Add(name="sum")([inner(shared(one)), shared(other)])
    return keras.Model([one, other], ops.tanh(x))


def rows():
    return [keras.random.normal((2, 3), seed=seed) for seed in (1, 2)]


def test_with_nothing_replaced_it_is_the_model():
    whole, inputs = model(), rows()
    np.testing.assert_array_equal(graphs.run(whole, inputs, lambda layer: layer), whole(inputs))


def test_every_call_is_asked_for_in_nested_models_too_and_gets_the_layers_arguments():
    whole, inputs, seen = model(), rows(), []

    def replace(layer):
        seen.append(layer.name.rpartition("_")[0] or layer.name)  # an operation has a number, too
        return (lambda x: ops.zeros_like(x)) if layer.name == "relu" else layer

    answer = graphs.run(whole, inputs, replace)
    assert sorted(seen) == ["inside", "relu", "shared", "shared", "sum", "tanh"]
    np.testing.assert_allclose(answer, ops.tanh(whole.get_layer("shared")(inputs[1])))


def test_a_new_model_is_made_of_it():
    whole, inputs = model(), rows()
    symbols = [keras.Input((3,)), keras.Input((3,))]
    again = keras.Model(symbols, graphs.run(whole, symbols, lambda layer: layer))
    np.testing.assert_array_equal(again(inputs), whole(inputs))
    assert [w.path for w in again.weights] == [w.path for w in whole.weights]


class Wrapped(layers.Layer):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs):
        return graphs.run(self.model, inputs, lambda layer: layer)


def test_it_trains_where_the_call_around_it_trains():
    tensor = keras.Input((100,))
    dropped = Wrapped(keras.Model(tensor, layers.Dropout(0.5)(tensor)))
    ones = np.ones((1, 100), np.float32)
    np.testing.assert_array_equal(dropped(ones), ones)
    assert (np.asarray(dropped(ones, training=True)) == 0).any()


def test_what_shows_no_graph_is_refused():
    with pytest.raises(ValueError, match=r"Only Functional and Sequential .* Received: 'later', a Sequential"):
        graphs.run(keras.Sequential([layers.Dense(3)], name="later"), rows()[0], lambda layer: layer)
