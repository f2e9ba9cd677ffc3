"""Layers that architectures share, against slow statements of what they do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from zoo.complexity import multiply_adds
from zoo.layers import GradientReversal, InstanceNormalization, MatchSize, ReflectionPadding2D


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


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def gradient(function, x):
    """Of the sum of what a function gives, with respect to its input."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(function(x))
    return tape.gradient(total, x)


def saved_again(layer, shape):
    """The layer out of a model with one open size for its maps, cloned from its own record."""
    tensor = keras.Input(shape)
    model = keras.models.clone_model(keras.Model(tensor, layer(tensor)))
    return model, model.layers[-1]


def instance_normalised(x, gamma, beta, epsilon):
    """Equation 5 of the paper, one map at a time."""
    y = np.empty(x.shape, np.float64)
    for example in range(x.shape[0]):
        for channel in range(x.shape[-1]):
            one = x[example, ..., channel].astype(np.float64)
            y[example, ..., channel] = (one - one.mean()) / np.sqrt(np.mean((one - one.mean()) ** 2) + epsilon)
    return y * gamma + beta


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (3, 7, 2), (1, 2, 3, 2, 4)])
def test_instance_normalisation_is_the_papers(shape):
    layer = InstanceNormalization(epsilon=0.1)
    x, gamma, beta = numbers(*shape) * 3 + 5, numbers(shape[-1], seed=1), numbers(shape[-1], seed=2)
    layer(x)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    np.testing.assert_allclose(layer(x), instance_normalised(x, gamma, beta, 0.1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_instance_normalisation_takes_its_statistics_in_float32(dtype):
    # The square of these is beyond float16, and bfloat16 has no 1003.
    x = 1000 + 100 * numbers(1, 64, 64, 2)
    y = InstanceNormalization(dtype=dtype)(ops.cast(x, dtype.removeprefix("mixed_")))
    assert y.dtype.name == dtype.removeprefix("mixed_")
    expected = instance_normalised(np.asarray(ops.cast(ops.cast(x, y.dtype), "float32")), 1, 0, 1e-5)
    np.testing.assert_allclose(ops.cast(y, "float32"), expected, rtol=1e-2, atol=2e-2)


def test_a_record_of_instance_normalisation_fits_any_channels_and_sizes():
    built = InstanceNormalization(epsilon=1e-3, name="norm")
    built(numbers(1, 3, 3, 4))
    again = InstanceNormalization.from_config(built.get_config())
    assert again.epsilon == 1e-3
    assert again(numbers(1, 3, 3, 6)).shape == (1, 3, 3, 6)
    model, _ = saved_again(built, (None, None, 4))
    x = numbers(2, 6, 5, 4)
    np.testing.assert_allclose(model(x), instance_normalised(x, 1, 0, 1e-3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width", "padding"), [(5, 7, 4), (2, 2, 1), (4, 3, 2)])
def test_reflection_padding_mirrors_without_repeating_the_border(height, width, padding):
    x = numbers(2, height, width, 3)

    def mirrored(i, n):
        return -i if i < 0 else 2 * (n - 1) - i if i >= n else i

    rows = [mirrored(i, height) for i in range(-padding, height + padding)]
    columns = [mirrored(i, width) for i in range(-padding, width + padding)]
    expected = x[:, rows][:, :, columns]
    np.testing.assert_array_equal(ReflectionPadding2D(padding)(x), expected)
    model, layer = saved_again(ReflectionPadding2D(padding), (None, width, 3))
    assert layer.output.shape == (None, None, width + 2 * padding, 3)
    np.testing.assert_array_equal(model(x), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_reflection_padding_passes_half_precision_on_and_back(dtype):
    x = numbers(1, 3, 3, 1)
    padded = ReflectionPadding2D(2, dtype=dtype)(x)
    assert padded.dtype.name == dtype
    # Every number counts as often as it was written: the middle of three once a side, the others twice or thrice.
    times = np.array([2, 3, 2])
    given = gradient(ReflectionPadding2D(2, dtype=dtype), ops.cast(x, dtype))
    np.testing.assert_array_equal(ops.cast(given[0, :, :, 0], "float32"), np.outer(times, times))


def test_a_picture_too_small_to_be_mirrored_says_so():
    with pytest.raises(ValueError, match=r"Received: \(None, 9, 4, 3\)\. Accepted: .* at least 5x5 pixels"):
        ReflectionPadding2D(4)(keras.Input((9, 4, 3)))
    with pytest.raises(ValueError, match=r"must be a positive integer. Received: 0"):
        ReflectionPadding2D(0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 7.7])
def test_gradient_reversal_gives_exactly_what_it_gets(dtype, factor):
    x = ops.cast(numbers(1000) * np.logspace(-4, 4, 1000, dtype=np.float32), dtype)
    np.testing.assert_array_equal(GradientReversal(factor, dtype=dtype)(x), x)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_gradient_reversal_turns_the_gradient_round(factor):
    x = numbers(1, 5)
    step = 1e-2
    straight = (np.sin(x + step) - np.sin(x - step)) / (2 * step)
    turned = gradient(lambda tensor: ops.sin(GradientReversal(factor)(tensor)), x)
    np.testing.assert_allclose(turned, -factor * straight, rtol=1e-3, atol=1e-5)
    as_argument = gradient(lambda tensor: ops.sin(GradientReversal(9.0)(tensor, factor=factor)), x)
    np.testing.assert_array_equal(as_argument, turned)


def test_a_schedule_changes_the_factor_of_a_traced_training_step():
    given = keras.Input((1,))
    dense = layers.Dense(1, use_bias=False, kernel_initializer="ones")
    reversal, traces = GradientReversal(0.0), []
    model = keras.Model(given, reversal(dense(given)))

    def loss(_, y):
        traces.append(y)
        return y

    model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
    row, moved = np.ones((1, 1), np.float32), []
    for factor in (0.0, 0.25, 0.5):
        reversal.factor.assign(factor)
        before = float(dense.kernel[0, 0])
        model.train_on_batch(row, row)
        moved.append(float(dense.kernel[0, 0]) - before)
    assert moved == pytest.approx([0.0, 0.25, 0.5])
    assert len(traces) == 1
    assert [weight.path for weight in model.trainable_weights] == [dense.kernel.path]


def test_the_factor_survives_saving(tmp_path):
    given = keras.Input((None, 2))
    model = keras.Model(given, GradientReversal(0.5, name="reversal")(given))
    model.get_layer("reversal").factor.assign(0.75)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").get_layer("reversal")
    assert float(again.factor) == 0.75
    assert again.get_config()["factor"] == 0.5


def test_what_they_cost_is_known():
    given = keras.Input((6, 6, 3))
    x = GradientReversal()(InstanceNormalization()(ReflectionPadding2D(2)(given)))
    assert multiply_adds(keras.Model(given, x)) == 0
