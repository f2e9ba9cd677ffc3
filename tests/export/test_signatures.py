"""What a client finds in a published version: names, dtypes and Keras' answers on raw input."""

import numpy as np
import pytest
import tensorflow as tf

from export import saved_model
from export.signatures import serialized_examples, signatures_of
from tests.export import small_runs

FLOAT, ID, STRING = "float32", "int64", "string"


def tensors(described):
    return {name: (tensor["dtype"], tensor["shape"]) for name, tensor in described.items()}


def test_pictures_can_be_asked_as_tensors_and_as_bytes(image_version):
    """A client written against the documented names and dtypes must find them in the file a server reads."""
    found = saved_model.describe(image_version.path)
    answer = {"probabilities": (FLOAT, [None, 3]), "class_ids": (ID, [None]), "classes": (STRING, [None])}
    assert found.keys() == {"serving_default", "bytes"}
    assert tensors(found["serving_default"]["inputs"]) == {"image": (FLOAT, [None, 12, 12, 1])}
    assert tensors(found["bytes"]["inputs"]) == {"image_bytes": (STRING, [None])}
    assert tensors(found["serving_default"]["outputs"]) == tensors(found["bytes"]["outputs"]) == answer


def test_a_table_keeps_its_column_names(classifier_version):
    """Upper case, blanks, brackets, Greek: a column is sent by the name it has in the CSV."""
    found = saved_model.describe(classifier_version.path)
    assert tensors(found["row"]["inputs"]) == {column: (FLOAT, [None]) for column in small_runs.COLUMNS}
    loaded = tf.saved_model.load(str(classifier_version.path)).signatures["row"]
    assert loaded.structured_input_signature[1].keys() == set(small_runs.COLUMNS)


def test_classify_has_the_shape_that_tf_serving_asks_for(classifier_version):
    found = saved_model.describe(classifier_version.path)["classify"]
    assert tensors(found["inputs"]) == {"inputs": (STRING, [None])}
    assert tensors(found["outputs"]) == {"classes": (STRING, [None, 2]), "scores": (FLOAT, [None, 2])}


def test_regress_has_the_shape_that_tf_serving_asks_for(regressor_version):
    found = saved_model.describe(regressor_version.path)
    assert found.keys() == {"serving_default", "row", "regress"}
    assert tensors(found["regress"]["outputs"]) == {"outputs": (FLOAT, [None])}


@pytest.mark.parametrize("kind", ["image", "classifier", "regressor", "awkward"])
def test_every_signature_answers_as_keras_does(kind, request):
    """The point of a version: the same answer as `bundle.predict`, whichever way one asks."""
    run, version = (request.getfixturevalue(f"{kind}_{what}") for what in ("run", "version"))
    bundle, raw = run.bundle, run.examples.raw
    signatures = tf.saved_model.load(str(version.path)).signatures
    expected = bundle.predict(raw)
    tolerance = 3e-2 if kind == "awkward" else 1e-5  # bfloat16 has 8 bits

    def same(answer, name, wanted):
        array = answer[name].numpy()
        if array.dtype == object:
            np.testing.assert_array_equal(array, wanted)
        else:
            np.testing.assert_allclose(array, wanted, rtol=tolerance, atol=tolerance)

    tensor = signatures["serving_default"](**{bundle.model.inputs[0].name: bundle.preprocess(raw)})
    specs = bundle.preprocessing.raw_specs()
    answer = signatures[bundle.preprocessing.signature](**{k: tf.constant(raw[k], s.dtype) for k, s in specs.items()})
    for name, wanted in expected.items():
        same(tensor, name, wanted)
        same(answer, name, wanted)
    if "classify" in signatures:
        answer = signatures["classify"](inputs=tf.constant(serialized_examples(raw)))
        same(answer, "scores", expected["probabilities"])
        same(answer, "classes", [[label.encode() for label in bundle.labels]] * len(run.examples))
    if "regress" in signatures:
        same(signatures["regress"](inputs=tf.constant(serialized_examples(raw))), "outputs", expected["value"][:, 0])


def test_pictures_that_take_much_room_are_answered_in_parts(image_run, monkeypatch):
    """Three at a time, and a last one alone: the same tensors, and the same answers."""
    raw = {name: array[:7] for name, array in image_run.examples.raw.items()}
    bundle = image_run.bundle
    tensors, answers = bundle.preprocess(raw), bundle.predict(raw)
    monkeypatch.setattr("recipes.bundle.NUMBERS_ANSWERED", 3 * 12 * 12)
    assert [len(part["image_bytes"]) for part in bundle.in_parts(raw)] == [3, 3, 1]
    np.testing.assert_array_equal(bundle.preprocess(raw), tensors)
    (default,) = (signature for signature in signatures_of(bundle) if signature.name == "serving_default")
    for found in (bundle.predict(raw), default.keras(raw, None)):
        assert found["classes"].tolist() == answers["classes"].tolist()
        np.testing.assert_allclose(found["probabilities"], answers["probabilities"], rtol=1e-5)


@pytest.mark.parametrize(("numbers", "at_once"), [(1, 2), (10**9, 64)])
def test_texts_are_answered_in_parts_where_layers_are_wide_but_never_alone(numbers, at_once, monkeypatch):
    """Noise is what a batch changes: it is not seen in the answer to one text."""
    bundle = small_runs.text_run("words").bundle
    raw = {"text": np.array([b"a text", b"another one", b"", b"more"] * 20, object)}
    answers, asked, predict = bundle.predict(raw), [], bundle.model.predict_on_batch
    monkeypatch.setattr("recipes.bundle.NUMBERS_ANSWERED", numbers)
    monkeypatch.setattr(bundle.model, "predict_on_batch", lambda x: asked.append(len(x)) or predict(x))
    np.testing.assert_allclose(bundle.predict(raw)["probabilities"], answers["probabilities"], rtol=1e-5)
    assert max(asked) == at_once


def test_what_is_for_training_only_is_off(awkward_version, awkward_run):
    """With augmentation or Dropout left on, a served model would answer differently every time."""
    ask = tf.saved_model.load(str(awkward_version.path)).signatures["serving_default"]
    image = awkward_run.bundle.preprocess(awkward_run.examples.raw)
    once, again = (ask(image=tf.constant(image))["probabilities"].numpy() for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_mixed_precision_answers_in_float32(awkward_version):
    """TF Serving's REST API refuses float16 and bfloat16."""
    outputs = saved_model.describe(awkward_version.path)["serving_default"]["outputs"]
    assert outputs["probabilities"]["dtype"] == FLOAT


def test_inputs_of_two_signatures_keep_their_names_apart(tmp_path):
    """Each of them has a first input whose name TensorFlow would change."""
    import keras

    from export.signatures import Signature

    model = keras.Sequential([keras.Input((1,), name="x"), keras.layers.Dense(1)])

    def signature(name, column):
        specs = {column: tf.TensorSpec([None], tf.float32)}
        return Signature(name, specs, lambda inputs: {"y": 2 * inputs[column]}, None, None)

    saved_model.write([model], [signature("serving_default", "a b"), signature("row", "c d")], tmp_path)
    found = saved_model.describe(tmp_path)
    assert found["serving_default"]["inputs"].keys() == {"a b"}
    assert found["row"]["inputs"].keys() == {"c d"}


def test_several_values_have_no_regress():
    """TF Serving's Regress gives one number per example; a second one would be lost."""
    import zoo
    from export.signatures import signatures_of
    from recipes.answers import ValueAnswer
    from recipes.bundle import Bundle
    from recipes.preprocessing import TablePreprocessing

    model = zoo.build("linear_regression", input_shape=(1,), num_classes=2)
    bundle = Bundle(model, "regression", TablePreprocessing(("x",), (0.0,), (1.0,)), ValueAnswer())
    assert [signature.name for signature in signatures_of(bundle)] == ["serving_default", "row"]
