"""Layers that architectures share, against slow statements of what they do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import MatchSize


def matched(maps, height, width, centered):
    """Every place of the answer, one after the other."""
    count, given_height, given_width, channels = maps.shape
    up, left = ((given_height - height) // 2, (given_width - width) // 2) if centered else (0, 0)
    # What is missing is divided by rounding down, too: -(3 // 2) rather than -3 // 2.
    if centered and height > given_height:
        up = -((height - given_height) // 2)
    if centered and width > given_width:
        left = -((width - given_width) // 2)
    answer = np.zeros((count, height, width, channels), maps.dtype)
    for i in range(height):
        for j in range(width):
            if 0 <= i + up < given_height and 0 <= j + left < given_width:
                answer[:, i, j] = maps[:, i + up, j + left]
    return answer


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("size", [(5, 6), (4, 3), (8, 9), (3, 8), (8, 3), (1, 11)])
def test_match_size_cuts_and_fills_whether_sizes_are_known_or_open(size, centered):
    rng = np.random.default_rng(0)
    maps, others = (rng.normal(size=(2, *shape)).astype(np.float32) for shape in [(5, 6, 3), (*size, 2)])
    layer, expected = MatchSize(centered), matched(maps, *size, centered)
    np.testing.assert_array_equal(layer(maps, others), expected)
    assert layer.compute_output_shape(maps.shape, others.shape) == expected.shape
    model_inputs = [keras.Input((None, None, n)) for n in (3, 2)]
    model = keras.Model(model_inputs, layer(*model_inputs))
    assert model.output_shape == (None, None, None, 3)
    graph = tf.function(lambda inputs: model(inputs, training=False)).get_concrete_function(
        [tf.TensorSpec((None, None, None, n)) for n in (3, 2)]
    )
    assert graph.output_shapes[-1] == 3  # a convolution that follows has to know
    np.testing.assert_array_equal(graph([tf.constant(maps), tf.constant(others)]), expected)


def test_match_size_passes_gradients_to_what_is_kept():
    maps = tf.Variable(tf.ones((1, 3, 3, 1)))
    with tf.GradientTape() as tape:
        answer = tf.reduce_sum(MatchSize(centered=True)(maps, tf.zeros((1, 1, 5, 2))))
    np.testing.assert_array_equal(tape.gradient(answer, maps)[0, :, :, 0], [[0] * 3, [1] * 3, [0] * 3])


def test_match_size_is_the_same_when_it_is_made_anew():
    layer = MatchSize(centered=True, dtype="mixed_bfloat16", name="match")
    again = MatchSize.from_config(layer.get_config())
    assert (again.centered, again.name) == (True, "match")
    answer = again(np.ones((1, 1, 1, 1), np.float32), np.ones((1, 2, 3, 1), np.float32))
    assert answer.dtype == "bfloat16"
    np.testing.assert_array_equal(answer[0, :, :, 0], [[0, 1, 0], [0, 0, 0]])
