"""Planted faults: what a careless export does wrong must be found before anything is published."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
import zoo
from export import comparison, saved_model, signatures
from export.comparison import Tolerance
from export.golden import Golden
from recipes.answers import ValueAnswer
from recipes.bundle import Bundle
from tests.export import small_runs


@pytest.fixture
def refused(here, tmp_path):
    """Publish, and return the words in which it was refused."""

    def words(run):
        with pytest.raises(export.ProofFailed) as error:
            export.publish(run, tmp_path / "m")
        assert not (tmp_path / "m").exists()
        return str(error.value)

    return words


def after_writing(monkeypatch, fault):
    """Let `fault` happen between the SavedModel and Keras' answers."""
    write = saved_model.write

    def written(*args):
        write(*args)
        fault()

    monkeypatch.setattr(saved_model, "write", written)


def test_one_changed_weight_is_found(refused, monkeypatch):
    """A SavedModel of other weights than the ones evaluated: the person must not serve it."""
    run = small_runs.image_run()
    kernel = run.model.get_layer("logits").kernel
    changed = kernel.numpy()
    changed[0, 0] += 0.5
    after_writing(monkeypatch, lambda: kernel.assign(changed))
    said = refused(run)
    assert "Signature 'serving_default', output 'probabilities', example " in said
    assert "received [" in said
    assert "expected [" in said


@pytest.fixture
def skewed(monkeypatch):
    """Let the graph of raw input, and it alone, be another one."""

    def by(graph):
        raw = signatures._raw
        monkeypatch.setattr(signatures, "_raw", lambda bundle: dataclasses.replace(raw(bundle), graph=graph))

    return by


@pytest.mark.parametrize("change", [{"resize": "nearest"}, {"scale": 1 / 127.5}, {"mean": (0.5,)}])
def test_another_preprocessing_is_found(change, refused, skewed):
    """Training-serving skew: a graph that resizes or scales otherwise than training did."""
    run = small_runs.image_run()
    other = dataclasses.replace(run.bundle.preprocessing, **change)
    skewed(dataclasses.replace(run.bundle, preprocessing=other).graph_of_raw)
    said = refused(run)
    assert "Signature 'bytes'" in said
    assert "Signature 'serving_default'" not in said


def test_colours_in_another_order_are_found(refused, skewed):
    """Blue first, as OpenCV reads pictures, for a network that was trained on red first."""
    run = small_runs.image_run(zoo.build("lenet5", input_shape=(12, 12, 3), num_classes=3))
    skewed(lambda raw: run.bundle.graph(run.bundle.preprocessing(raw)[..., ::-1]))
    assert "Signature 'bytes', output 'probabilities'" in refused(run)


def test_a_vocabulary_shifted_by_one_is_found(refused, skewed):
    """A token that is left out of a vocabulary gives all behind it the ids of their neighbours."""
    run = small_runs.text_run("words")

    def shifted(raw):
        ids = run.bundle.preprocessing(raw)
        return run.bundle.graph(tf.where(ids > 4, ids - 1, ids))

    skewed(shifted)
    assert "Signature 'text', output 'probabilities'" in refused(run)


def test_a_missing_value_that_is_answered_is_found(refused, skewed):
    """NaN becomes a class like any other: a person acts on an answer to what was never measured."""
    run = small_runs.table_run()
    columns = run.bundle.preprocessing.columns
    skewed(lambda raw: run.bundle.graph(run.bundle.preprocessing.one(tf.stack([raw[c] for c in columns], -1))))
    assert "Signature 'row' answers input 0 of those that are to be refused" in refused(run)


def test_outputs_of_half_precision_are_refused(here, tmp_path, monkeypatch):
    """TF Serving's REST API cannot send them."""
    graph = Bundle.graph

    def halved(bundle, tensor, raw=None):
        answer = graph(bundle, tensor)
        return {**answer, "probabilities": tf.cast(answer["probabilities"], tf.float16)}

    monkeypatch.setattr(Bundle, "graph", halved)
    with pytest.raises(ValueError, match=r"cannot be served\. Received: float16"):
        export.publish(small_runs.table_run(), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_swapped_labels_are_found(refused, monkeypatch):
    """The right number under the wrong name is the fault nobody sees in a metric."""
    graph = Bundle.graph

    def swapped(bundle, tensor, raw=None):
        labels = (bundle.labels[1], bundle.labels[0], *bundle.labels[2:])
        bundle = dataclasses.replace(bundle, answer=dataclasses.replace(bundle.answer, labels=labels))
        return graph(bundle, tensor)

    monkeypatch.setattr(Bundle, "graph", swapped)
    said = refused(small_runs.image_run())
    assert "output 'classes'" in said
    assert "'dog'" in said


@pytest.mark.parametrize("layer", ["RandomFlip", "BatchNormalization", "Dropout", None])
def test_a_model_left_in_training_mode_is_found(layer, refused, monkeypatch, awkward_run):
    """What plain `model.export()` does with augmentation layers; BatchNorm and Dropout too, each alone and together."""

    def in_training(bundle, tensor, raw=None):
        return bundle.answer(bundle.model(tensor, training=True))

    run = awkward_run
    if layer is not None:
        image = keras.Input((12, 12, 1), name="image")
        x = keras.layers.Flatten()(getattr(keras.layers, layer)(*([0.5] if layer == "Dropout" else []))(image))
        run = small_runs.image_run(keras.Model(image, keras.layers.Dense(3, name="logits")(x)))
    monkeypatch.setattr(Bundle, "graph", in_training)
    assert "Signature 'serving_default', output 'probabilities'" in refused(run)


def test_missing_variables_are_found(refused, monkeypatch, tmp_path, image_run):
    """TensorFlow's loaders accept such a folder; TF Serving calls it available and answers with errors."""
    import shutil

    write = saved_model.write

    def written(resources, signatures, folder):
        write(resources, signatures, folder)
        shutil.rmtree(folder / "variables")

    monkeypatch.setattr(saved_model, "write", written)
    assert "cannot be loaded" in refused(image_run)


def test_a_failing_warm_up_record_is_found(refused, monkeypatch, image_run):
    """TF Serving refuses to load a version for it."""
    from export import warmup

    monkeypatch.setattr(warmup, "rows", lambda batch, count: {name: array[:0, None] for name, array in batch.items()})
    assert "A warm-up record failed" in refused(image_run)


def test_nan_answers_of_keras_prove_nothing(here, tmp_path):
    run = small_runs.table_run("linear_regression")
    run.bundle = dataclasses.replace(run.bundle, answer=ValueAnswer(mean=(np.nan,)))
    with pytest.raises(ValueError, match="Keras answers with NaN"):
        export.publish(run, tmp_path / "m")


def test_an_example_with_a_missing_value_proves_nothing(here, tmp_path):
    run = small_runs.table_run("linear_regression")
    next(iter(run.examples.raw.values()))[0] = np.nan
    with pytest.raises(ValueError, match=r"Keras refuses an example .* A value of a row is missing or infinite"):
        export.publish(run, tmp_path / "m")


def test_two_rows_for_one_cannot_be_served(here, tmp_path):
    """Who asks for a batch could not tell which answer is whose."""
    rows = keras.Input((3,), name="rows")
    doubled = keras.layers.Lambda(lambda x: keras.ops.repeat(x, 2, axis=0), output_shape=(3,))(rows)
    run = small_runs.table_run("linear_regression")
    model = small_runs.scrambled(keras.Model(rows, keras.layers.Dense(1)(doubled)))
    run.bundle = dataclasses.replace(run.bundle, model=model)
    with pytest.raises(ValueError, match=r"Keras answers 11 examples with 22 rows: output 'value'"):
        export.publish(run, tmp_path / "m")


def test_a_model_that_mixes_its_rows_cannot_be_proved(here, tmp_path):
    """An answer that depends on who else asks at the moment."""
    rows = keras.Input((3,), name="rows")
    mixed = keras.layers.Lambda(lambda x: x - keras.ops.mean(x, axis=0, keepdims=True))(rows)
    run = small_runs.table_run("linear_regression")
    model = small_runs.scrambled(keras.Model(rows, keras.layers.Dense(1)(mixed)))
    run.bundle = Bundle(model, "regression", run.bundle.preprocessing, run.bundle.answer)
    with pytest.raises(ValueError, match="one example at a time otherwise"):
        export.publish(run, tmp_path / "m")


def probabilities(*rows):
    array = np.array(rows, np.float32)
    return {
        "probabilities": array,
        "class_ids": array.argmax(-1),
        "classes": array.argmax(-1).astype(str).astype(object),
    }


def test_a_tie_may_go_either_way_and_nothing_else():
    """Two classes within rounding of each other are no failure; a class that was clear is one."""
    allowed = {"probabilities": Tolerance(1e-4, 1e-3)}
    expected = probabilities([0.5, 0.5 - 1e-6], [0.9, 0.1])
    examples = Golden({"x": np.zeros(2)}, expected)
    tied = probabilities([0.5 - 1e-6, 0.5], [0.9, 0.1])
    found = comparison.compare("s", examples, tied, allowed)
    assert not found.problems
    assert found.class_agreement == 0.5
    clear = {**expected, "class_ids": np.array([0, 1])}
    (problem,) = comparison.compare("s", examples, clear, allowed).problems
    assert problem == "Signature 's', output 'class_ids', example 1: received 1, expected 0 (1 of 2 examples differ)."


def test_texts_that_agree_are_counted():
    written = np.array([b"357", b"12"], object)
    examples = Golden({"x": np.zeros(2)}, {"generated_text": written, "log_probability": np.zeros(2, np.float32)})
    answers = {**examples.outputs, "generated_text": np.array([b"357", b"21"], object)}
    found = comparison.compare("s", examples, answers, {"log_probability": Tolerance(1e-5, 1e-3)})
    assert found.class_agreement == 0.5
    assert len(found.problems) == 1


@pytest.mark.parametrize(
    ("answers", "said"),
    [({}, "is missing"), ({"y": np.zeros((3, 1))}, "shape"), ({"y": np.array([[np.nan], [1.0]])}, "example 0")],
)
def test_missing_misshapen_and_nan_answers_are_problems(answers, said):
    examples = Golden({"x": np.zeros(2)}, {"y": np.ones((2, 1), np.float32)})
    (problem,) = comparison.compare("s", examples, answers, {"y": Tolerance(1e-5, 1e-3)}).problems
    assert said in problem


def test_the_tolerance_is_the_models_own(image_run, awkward_run):
    """A float32 network gets no more room than rounding needs; bfloat16 gets what 8 bits need."""
    from export import proof

    def room(run):
        signature = signatures.signatures_of(run.bundle)[0]
        examples = proof.collect(signature, run.examples.raw)
        return proof.tolerances(signature, examples, run.examples.raw, run.model)["probabilities"]

    assert room(image_run).absolute < 1e-4 < 1e-2 < room(awkward_run).absolute < 0.1
