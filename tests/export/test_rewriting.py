"""Passes over graphs: the same answers, and what TensorFlow makes of them afterwards."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from export.rewriting import grappler, weights
from export.rewriting.affine import fold_affine
from export.rewriting.casts import bfloat16_constants
from export.rewriting.gelu import fusable_gelu
from export.rewriting.graph import Graph, GraphDef
from export.rewriting.loops import enclosed_loops, mark_taken_apart
from export.rewriting.normalisation import fusable_normalisation
from export.rewriting.padding import explicit_padding
from export.rewriting.residuals import residual_sums
from export.rewriting.sharing import shared_constants, without_idle_waits
from export.rewriting.transposed import windows_as_channels
from tests.export import remapper

X, Y = "x", "y"
IMAGE = (9, 9, 3)


def frozen(function, *shape):
    """A function of one float32 tensor `(None, *shape)` as a GraphDef from the node "x" to the node "y"."""
    spec = tf.TensorSpec([None, *shape], tf.float32, X)
    concrete = tf.function(lambda x: tf.identity(function(x), Y)).get_concrete_function(spec)
    constant = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    graph_def = cleaned(constant.graph.as_graph_def())
    mark_taken_apart(graph_def, True)  # as `export.rewriting.freezing` does
    return graph_def


def cleaned(graph_def, *optimizers):
    return grappler.optimized(graph_def, signatures(), optimizers or grappler.CLEANING)


def signatures():
    signature = meta_graph_pb2.SignatureDef()
    for infos, name in ((signature.inputs, X), (signature.outputs, Y)):
        infos[name].name, infos[name].dtype = f"{name}:0", tf.float32.as_datatype_enum
    return {"all": signature}


def answer(graph_def, x):
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    with tf.compat.v1.Session(graph=graph) as session:
        return session.run(f"{Y}:0", {f"{X}:0": x})


def ops(graph_def):
    return [node.op for node in graph_def.node]


@pytest.fixture(scope="module")
def fused():
    """See `remapper.running`."""
    with remapper.running() as fused:
        yield fused


def random_network(*layers, shape=IMAGE, seed=0):
    """A Sequential network whose every weight, biases and statistics among them, is random."""
    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input(shape), *layers])
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        weight.assign(
            rng.uniform(0.5, 1.5, weight.shape) * rng.choice([1, 1, 1, -1], weight.shape) ** ("var" not in weight.path)
        )
    return network


def assert_same(before, after, *shape, rtol=2e-5):
    for batch in (1, 3):
        x = np.random.default_rng(1).normal(size=(batch, *shape)).astype(np.float32)
        expected = answer(before, x)
        np.testing.assert_allclose(answer(after, x), expected, rtol=rtol, atol=rtol * np.abs(expected).max())


NORMALISED = {
    "Conv2D": lambda: keras.layers.Conv2D(4, 3, use_bias=True),
    "DepthwiseConv2dNative": lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
    "MatMul": lambda: keras.layers.Dense(5),
}


@pytest.mark.parametrize("product", NORMALISED)
@pytest.mark.parametrize("seed", range(3))
def test_normalisation_goes_into_the_kernel_and_one_bias(product, seed, fused):
    flat = [keras.layers.Flatten()] if product == "MatMul" else []
    network = random_network(
        *flat, NORMALISED[product](), keras.layers.BatchNormalization(), keras.layers.ReLU(), seed=seed
    )
    before = frozen(lambda x: network(x, training=False), *IMAGE)
    after = fold_affine(before, [X, Y])
    assert_same(before, after, *IMAGE)
    assert not {"Mul", "AddV2", "Sub"} & set(ops(after))
    assert ops(after).count("BiasAdd") == 1
    name = "_FusedDepthwiseConv2dNative" if product.startswith("Depthwise") else f"_Fused{product}"
    assert fused(after) == [(name, "BiasAdd", "Relu")]


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y * 3 - 1,
        lambda y: 2 - y,
        lambda y: y * tf.constant([1.0, -2, 3, 0]) + tf.constant([[[[1.0, 2, 3, 4]]]]),
    ],
    ids=["scalars", "turned", "channels"],
)
def test_steps_of_every_form_are_folded(function):
    network = random_network(keras.layers.Conv2D(4, 3))
    before = frozen(lambda x: function(network(x)), *IMAGE)
    after = fold_affine(before, [X, Y])
    assert_same(before, after, *IMAGE)
    assert not {"Mul", "AddV2", "Sub"} & set(ops(after))


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y * tf.random.stateless_normal([7, 7, 1], [0, 1]),  # by place, not by channel
        lambda y: y * y,
        lambda y: (y * 2.0) + y,  # read twice
        lambda y: y * tf.reduce_mean(y),
        lambda y: y * tf.ones([1, 1, 1, 1, 4]),  # of another rank
    ],
    ids=["places", "square", "twice", "no constant", "rank"],
)
def test_what_is_no_scale_of_channels_stays(function):
    network = random_network(keras.layers.Conv2D(4, 3, use_bias=False))
    before = frozen(lambda x: function(network(x)), *IMAGE)
    after = fold_affine(before, [X, Y])
    assert sorted(ops(after)) == sorted(ops(before))
    assert_same(before, after, *IMAGE)


def test_padding_becomes_the_convolutions_own():
    network = random_network(keras.layers.ZeroPadding2D(((1, 2), (0, 3))), keras.layers.Conv2D(4, 3, strides=2))
    before = frozen(network, *IMAGE)
    after = explicit_padding(before, [X, Y])
    assert_same(before, after, *IMAGE)
    assert "Pad" in ops(before)
    assert "Pad" not in ops(after)


def test_padding_of_channels_stays():
    kernel = tf.random.stateless_normal([3, 3, 5, 2], [0, 1])
    before = frozen(lambda x: tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 2]]), kernel, 1, "VALID"), *IMAGE)
    assert "Pad" in ops(explicit_padding(before, [X, Y]))


@pytest.mark.parametrize("seed", range(3))
def test_normalisation_behind_no_product_is_fused_with_the_activation(seed, fused):
    network = random_network(
        keras.layers.MaxPooling2D(2), keras.layers.BatchNormalization(), keras.layers.ReLU(), seed=seed
    )
    before = frozen(network, *IMAGE)
    after = fusable_normalisation(fold_affine(before, [X, Y]), [X, Y])
    assert_same(before, after, *IMAGE)
    assert not {"Mul", "AddV2"} & set(ops(after))
    assert fused(after) == [("_FusedBatchNormEx", "Relu")]


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: tf.nn.relu(x * [2.0, 3.0, 4.0] + [1.0, 2.0, 3.0]), (3,)),
        (lambda x: tf.nn.relu(x * [2.0] + [1.0]), IMAGE),
        (lambda x: tf.nn.relu(x * [2.0, 3.0, 4.0] + tf.ones([9, 1, 3])), IMAGE),
        (lambda x: tf.nn.relu(total := x * [2.0, 3.0, 4.0] + [1.0, 2.0, 3.0]) - total, IMAGE),
    ],
    ids=["no maps", "one number", "by place", "read again"],
)
def test_what_is_no_normalisation_of_maps_stays(function, shape):
    before = frozen(function, *shape)
    after = fusable_normalisation(before, [X, Y])
    assert "FusedBatchNormV3" not in ops(after)
    assert ops(after) == ops(before)


@pytest.mark.parametrize(("size", "padding"), [(2, "valid"), (2, "same"), (3, "valid")])
def test_windows_side_by_side_are_a_product_fused_with_its_bias(size, padding, fused):
    network = random_network(keras.layers.Conv2DTranspose(4, size, strides=size, padding=padding))
    before = frozen(network, *IMAGE)
    after = windows_as_channels(before, [X, Y])
    assert_same(before, after, *IMAGE)
    assert "Conv2DBackpropInput" not in ops(after)
    assert fused(after) == [("_FusedConv2D", "BiasAdd")]


def test_windows_without_a_bias_are_a_product_too():
    network = random_network(keras.layers.Conv2DTranspose(4, 2, strides=2, use_bias=False), keras.layers.ReLU())
    before = frozen(network, *IMAGE)
    after = windows_as_channels(before, [X, Y])
    assert_same(before, after, *IMAGE)
    assert "Conv2DBackpropInput" not in ops(after)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"kernel_size": 3, "strides": 2, "padding": "same"}, IMAGE),
        ({"kernel_size": 2, "strides": 3}, IMAGE),
        ({"kernel_size": (2, 3), "strides": (2, 3)}, IMAGE),
        ({"kernel_size": 2, "strides": 2, "output_padding": 1}, IMAGE),
        ({"kernel_size": 2, "strides": 2}, (None, None, 3)),
    ],
    ids=["overlapping", "apart", "no square", "more beside them", "any size"],
)
def test_windows_that_are_not_side_by_side_stay(settings, shape):
    layer = keras.layers.Conv2DTranspose(4, **settings)
    layer.build((None, *IMAGE))
    before = frozen(layer, *shape)
    assert ops(windows_as_channels(before, [X, Y])) == ops(before)


def test_a_residual_is_added_where_the_convolution_writes(fused):
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 3, padding="same", bias_initializer="normal")(image)
    network = keras.Model(image, keras.layers.ReLU()(keras.layers.Add()([image, x])))
    before = frozen(network, 8, 8, 3)
    after = residual_sums(fold_affine(before, [X, Y]), [X, Y])
    assert_same(before, after, 8, 8, 3)
    assert "AddN" in ops(after)
    assert ("_FusedConv2D", "BiasAdd", "Add", "Relu") in fused(after)


@pytest.mark.parametrize("function", [lambda x: x + tf.ones([8, 1, 3]), lambda x: x + tf.ones([1, 8, 8, 3])])
def test_a_sum_that_broadcasts_stays(function):
    assert "AddN" not in ops(residual_sums(frozen(function, 8, 8, 3), [X, Y]))


def test_gelu_is_fused_with_the_product_before_it(fused):
    network = random_network(keras.layers.Dense(16, activation="gelu"), shape=(6,))
    before = frozen(network, 6)
    after = fusable_gelu(fold_affine(before, [X, Y]), [X, Y])
    assert_same(before, after, 6)
    assert "Erfc" not in ops(after)
    assert fused(after) == [("_FusedMatMul", "BiasAdd", "GeluExact")]


def test_what_only_looks_like_gelu_stays():
    before = frozen(lambda x: (0.5 * x) * tf.math.erfc(-x * 0.7), 6)
    assert "Erfc" in ops(fusable_gelu(before, [X, Y]))


def in_files(graph_def, folder):
    """The same with its large constants in files."""
    made = GraphDef(library=graph_def.library, versions=graph_def.versions)
    for node in graph_def.node:
        large = node.op == "Const" and node.ByteSize() > weights.LARGE
        value = tf.make_ndarray(node.attr["value"].tensor) if large else None
        made.node.append(node if value is None else weights.node(node.name, value, folder))
    return made


def test_large_constants_stay_in_files_whatever_is_made_of_a_graph(tmp_path):
    layers = [keras.layers.Dense(200, use_bias=False), keras.layers.BatchNormalization()]
    whole = frozen(random_network(*layers, shape=(100,)), 100)
    before = in_files(whole, tmp_path)
    assert before.ByteSize() < weights.LARGE < whole.ByteSize()
    after = cleaned(fold_affine(cleaned(before), [X, Y]))
    assert after.ByteSize() < weights.LARGE
    assert ops(after).count(weights.OP) == 1
    assert sorted(ops(weights.within(after))) == sorted(ops(cleaned(fold_affine(whole, [X, Y]))))
    assert_same(whole, weights.within(after), 100)
    assert_same(whole, after, 100)
    assert Graph(after, [X, Y]).shape(Y).as_list() == [None, 200]


def test_equal_constants_in_files_are_shared(tmp_path):
    kernel = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    before = frozen(lambda x: (x @ kernel) @ tf.constant(kernel), 200)
    after = shared_constants(in_files(before, tmp_path), [X, Y])
    assert ops(after).count(weights.OP) == 1
    assert_same(before, after, 200)


def test_constants_that_are_cast_to_bfloat16_are_kept_in_it(tmp_path):
    kernel = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    before = in_files(
        frozen(lambda x: tf.cast(tf.cast(x, tf.bfloat16) @ tf.cast(kernel, tf.bfloat16), tf.float32), 200), tmp_path
    )
    after = bfloat16_constants(before, [X, Y])
    (kept,) = [node for node in after.node if node.op == weights.OP]
    assert weights.size(kept) == kernel.nbytes / 2
    assert_same(before, after, 200, rtol=0)


def test_nothing_waits_for_what_is_ready_at_once():
    graph = Graph(frozen(lambda x: tf.ensure_shape(x, [None, 2]) + 1.0, 2), {X, Y})
    graph.add("HashTableV2", "table", key_dtype=tf.string, value_dtype=tf.int64)
    checked = graph.of_op("EnsureShape")[0].name
    waiting = graph.of_op("Const", "AddV2")
    graph.add("NoOp", "ready", ["^table"])
    for node in waiting:
        node.input.extend(["^table", "^ready", f"^{checked}"])
    after = without_idle_waits(graph.finished(), graph.kept)
    assert_same(graph.finished(), after, 2)
    assert not {"HashTableV2", "NoOp"} & {*ops(after)}
    assert len(waiting) == sum(f"^{checked}" in node.input for node in after.node) == 2


def twice_each(x):
    """In a loop whose steps may overlap."""
    return tf.map_fn(lambda row: 2 * row, x)


def squared_twice(x):
    """In a loop whose steps follow one another."""
    return tf.while_loop(lambda i, _: i < 2, lambda i, x: (i + 1, x**2), (0, x), parallel_iterations=1)[1]


def test_a_loop_is_run_as_it_is_where_no_step_begins_early():
    before = frozen(lambda x: squared_twice(twice_each(squared_twice(x)) / 8), 4)
    after = enclosed_loops(before, [X, Y])
    assert_same(before, after, 4, rtol=0)
    made = after.library.function[len(before.library.function) :]
    (apart,) = [node for node in after.node if "While" in node.op]
    whole = [node for function in made for node in function.node_def]
    assert len(whole) == 2
    marks = [node.attr["_lower_using_switch_merge"].b for node in (apart, *whole)]
    assert marks == [True, False, False]
    assert enclosed_loops(after, [X, Y]) == after


def test_in_bfloat16_a_loop_fills_its_list_as_before():
    """Where the processor has no bfloat16, TensorFlow changes nothing."""
    kernel = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    graph_def = frozen(lambda x: tf.nn.relu(tf.map_fn(lambda row: 2 * row, x) @ kernel), 5)
    after = grappler.in_bfloat16(graph_def, signatures())
    x = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    np.testing.assert_allclose(answer(after, x), answer(graph_def, x), rtol=2**-5, atol=2**-4)


def test_in_bfloat16_a_loop_is_given_what_it_takes():
    """TensorFlow cannot change what goes into a loop that is not enclosed, nor sees that it cannot."""
    one, other = np.random.default_rng(0).normal(size=(2, 5, 5)).astype(np.float32)
    graph_def = frozen(lambda x: squared_twice(tf.nn.relu(x @ one)) @ other, 5)
    after = grappler.in_bfloat16(enclosed_loops(graph_def, [X, Y]), signatures())
    x = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    expected = answer(graph_def, x)
    np.testing.assert_allclose(answer(after, x), expected, atol=2**-4 * np.abs(expected).max())
