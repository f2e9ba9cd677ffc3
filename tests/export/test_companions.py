"""Files beside the SavedModel: a person without TensorFlow gets the answers that were proved, or no file at all."""

import dataclasses
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import export
from export import companions, fresh_process, golden, manifest, saved_model, timing
from export.companions import COMPANIONS, companion, making
from export.companions.companion import Unavailable
from export.rewriting import freezing
from export.signatures import DEFAULT, signatures_of
from recipes.bundle import Bundle
from tests.export import small_runs
from tests.export.conftest import started_here
from tests.export.test_choosing import changed

NAMES = tuple(COMPANIONS)


@pytest.fixture(scope="module")
def version(image_run, tmp_path_factory):
    """Not to be written to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "SECONDS", 0.0)
        patch.setattr(fresh_process, "started", started_here)
        return export.publish(image_run, tmp_path_factory.mktemp("served") / "m", companions=NAMES)


def frozen(run, folder):
    """What companions are made of, of a Run that is not published."""
    signature = signatures_of(run.bundle)[0]
    saved_model.write([run.model], [signature], folder)
    return making._frozen(folder), signature


def made(name, graph, folder):
    """What a companion answers."""
    file = folder / COMPANIONS[name].file
    file.write_bytes(COMPANIONS[name].make(graph))
    return companions.load(file)[DEFAULT]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_held_to_what_the_savedmodel_is_held_to(name, version):
    record, proof = version.proof["companions"][name], version.proof["signatures"][DEFAULT]
    assert record["file"] == version.card["companions"][name] == COMPANIONS[name].file
    assert set(record["versions"]) == set(COMPANIONS[name].packages)
    (found,) = record["signatures"].values()
    assert found["examples"] == proof["examples"]
    assert found["class_agreement"] == 1
    probabilities = found["outputs"]["probabilities"]
    assert probabilities["tolerance"] == proof["outputs"]["probabilities"]["tolerance"]
    assert probabilities["largest_difference"]["absolute"] <= probabilities["tolerance"]["absolute"]
    assert f"  {COMPANIONS[name].file}\n" in (version.path / manifest.FILE).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_timed_beside_the_savedmodel_and_never_takes_its_place(name, version):
    tried = {trial["variant"]: trial for trial in version.card["optimization"]["tried"]}
    assert list(tried) == ["plain", *NAMES]
    assert version.card["optimization"]["variant"] == "plain"
    assert tried["plain"]["verdict"] == "published"
    assert tried[name]["verdict"] == f"beside it, in {COMPANIONS[name].file}"
    assert set(tried[name]["relative"]) == {f"{DEFAULT}@1", f"{DEFAULT}@8"} < set(tried["plain"]["relative"])
    assert tried[name]["bytes"] == (version.path / COMPANIONS[name].file).stat().st_size


@pytest.mark.parametrize("name", NAMES)
def test_the_example_in_the_readme_asks_it(name, version, monkeypatch):
    text = (version.path / "README.md").read_text()
    assert f"answer `{DEFAULT}` as the SavedModel does. It alone has `bytes`." in text
    (example,) = (code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if COMPANIONS[name].file in code)
    monkeypatch.chdir(version.path)
    names = {}
    exec(example, names)
    expected = golden.load(version.path)[DEFAULT].outputs["probabilities"]
    answers = names["answers"].values() if isinstance(names["answers"], dict) else names["answers"]
    (answer,) = (array for array in answers if array.shape == expected.shape)
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_a_server_finds_the_signatures_names_in_the_litert_file(version):
    """TensorFlow Serving reads no signature of it, but the names of its tensors."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(str(version.path / "model.tflite"))
    signature = version.card["signatures"][DEFAULT]
    assert {each["name"] for each in model.get_input_details()} == signature["inputs"].keys()
    assert {each["name"] for each in model.get_output_details()} == signature["outputs"].keys()
    assert "`--prefer_tflite_model`" in (version.path / "README.md").read_text()


def test_the_batch_of_an_onnx_file_has_a_name(version):
    import onnx

    graph = onnx.load(version.path / "model.onnx").graph
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in (*graph.input, *graph.output)} == {"batch"}


def test_nothing_stands_against_companions_of_ours(version):
    assert export.inspect(version.path).problems == ()


@pytest.fixture
def copy(version, tmp_path):
    return shutil.copytree(version.path, tmp_path / "handed-on" / "1")


def test_verify_asks_them_again_in_a_fresh_process(version):
    report = export.verify(version.path)
    assert report.ok
    assert report.not_asked == ()
    assert {f"{DEFAULT} of model.onnx", f"{DEFAULT} of model.tflite"} < report.signatures.keys()


@pytest.mark.parametrize("name", NAMES)
def test_verify_finds_a_companion_of_other_weights(name, copy, here, image_run, tmp_path):
    file = copy / COMPANIONS[name].file
    graph, _ = frozen(image_run, tmp_path / "saved")
    file.write_bytes(COMPANIONS[name].make(changed(graph)))
    manifest.write(copy)
    report = export.verify(copy)
    assert report.problems
    assert all(problem.startswith(f"{file.name}: Signature 'serving_default', output ") for problem in report.problems)


def test_verify_says_what_it_could_not_ask(version, here, monkeypatch):
    monkeypatch.setattr(companion, "installed", lambda package: package != "onnxruntime")
    report = export.verify(version.path)
    assert report.ok
    assert report.not_asked == (
        "Not asked: companion 'onnx' takes onnxruntime. Missing: onnxruntime. "
        "Accepted: pip install servable-zoo[onnx].",
    )
    assert f"{DEFAULT} of model.tflite" in report.signatures


@pytest.mark.parametrize("name", NAMES)
def test_one_wrong_answer_and_nothing_is_published(name, here, tmp_path, monkeypatch):
    freeze = freezing.freeze
    monkeypatch.setattr(freezing, "freeze", lambda *asked: changed(freeze(*asked), by=1.01))
    with pytest.raises(export.ProofFailed, match=f"companion '{name}' does not answer as Keras does") as error:
        export.publish(small_runs.table_run(), tmp_path / "m", companions=[name])
    assert "Signature 'serving_default', output 'probabilities', example " in str(error.value)
    assert not (tmp_path / "m").exists()


def test_a_model_that_a_companion_cannot_express_is_not_published(here, tmp_path, monkeypatch):
    def refuse(graph):
        raise Unavailable("LiteRT has no form of EncodePng")

    monkeypatch.setitem(COMPANIONS, "litert", dataclasses.replace(COMPANIONS["litert"], make=refuse))
    with pytest.raises(
        ValueError, match=r"^Nothing was published: .*cannot be had as companion 'litert': LiteRT has no"
    ):
        export.publish(small_runs.table_run(), tmp_path / "m", companions="litert")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("name", "run", "said"),
    [
        ("litert", small_runs.awkward_model, "LiteRT has no form of BiasAdd, Conv2D, MatMul"),  # in bfloat16
        ("onnx", small_runs.awkward_model, "unsupported type: tensor.bfloat16"),
        ("litert", "dcgan", "LiteRT has no form of TensorListReserve"),  # of strings, which the PNGs are
        ("onnx", "dcgan", "No Op registered for EncodePng"),
    ],
)
def test_what_a_companion_cannot_express_is_named(name, run, said, tmp_path):
    run = small_runs.of_pictures(run) if isinstance(run, str) else small_runs.image_run(run())
    graph, _ = frozen(run, tmp_path / "saved")
    with pytest.raises(Unavailable, match=said):
        COMPANIONS[name].make(graph)


def test_onnx_has_recurrent_layers_for_texts_of_any_length(tmp_path):
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.LSTM(3, name="lstm")(keras.layers.Embedding(300, 4, name="embedding")(tokens))
    model = small_runs.scrambled(keras.Model(tokens, keras.layers.Dense(3, name="logits")(x)))
    run = small_runs.text_run("words")
    run.bundle = Bundle(model, run.bundle.task, run.bundle.preprocessing, run.bundle.answer)
    graph, _ = frozen(run, tmp_path / "saved")
    ask = made("onnx", graph, tmp_path)
    for shape in ((2, 5), (1, 7)):
        ids = np.random.default_rng(0).integers(1, 300, shape)
        expected = run.bundle.predict_tensors({"tokens": ids}, None)
        np.testing.assert_allclose(ask({"tokens": ids})["probabilities"], expected["probabilities"], atol=1e-5)


def test_an_output_of_onnx_may_be_called_as_an_input_is(tmp_path):
    image = keras.Input((12, 12, 1), name="probabilities")
    x = keras.layers.Flatten(name="flatten")(image)
    run = small_runs.image_run(keras.Model(image, keras.layers.Dense(3, name="logits")(x)))
    graph, signature = frozen(run, tmp_path / "saved")
    answers = made("onnx", graph, tmp_path)(signature.inputs_of(run.examples.raw))
    expected = signature.keras(run.examples.raw, None)
    assert answers.keys() == expected.keys()
    np.testing.assert_allclose(answers["probabilities"], expected["probabilities"], atol=1e-5)


def test_a_missing_package_is_named_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(companion, "installed", lambda package: package not in ("onnx", "tf2onnx"))
    with pytest.raises(ValueError, match=r"Missing: onnx, tf2onnx\. Accepted: pip install servable-zoo\[onnx\]"):
        export.publish(small_runs.table_run(), tmp_path / "m", companions=["litert", "onnx"])
    assert not (tmp_path / "m").exists()


def test_an_unknown_companion_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Unknown companion 'tflite'\. .*Accepted: litert, onnx"):
        export.publish(small_runs.table_run(), tmp_path / "m", companions=["tflite"])


def test_the_command_line_offers_all_of_them():
    from export.commands import publish

    (option,) = (option for option in publish.params if option.name == "companions")
    assert tuple(option.type.choices) == NAMES


def test_asking_them_takes_neither_tensorflow_nor_keras():
    """So `zoo verify` starts at once, and the fresh process has nothing to hide behind."""
    code = "import sys, export.companions; sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
