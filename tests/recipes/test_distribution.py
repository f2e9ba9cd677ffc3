"""Trainings on JAX, on several devices and in several processes: the same losses as on one, and what is refused."""

import ast
import json

import keras
import numpy as np
import pytest

import export
import recipes
from recipes import backend, distribution
from tests.recipes.launched import ROOT, launch

PICTURES = np.zeros((40, 8, 8, 1), np.uint8), np.arange(40) % 2
DATA = {"distribute": "data"}


def assert_same_figures(told, other):
    assert len(told["history"]) == len(other["history"])
    for mine, theirs in zip(told["history"], other["history"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    assert told["metrics"] == pytest.approx(other["metrics"], rel=1e-5, abs=1e-5)


def trained(folder, case, *trainings, **where):
    """What is told of each training, the same by every process."""
    first, *others = launch(folder, case, *trainings, **where)
    assert first.code == 0, first.said
    for other in others:
        assert (other.code, other.told) == (0, first.told), other.said
    return first.told


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory):
    """The folder of two trainings on JAX, with two devices there: on one of them, and on both; what is told of them."""
    folder = tmp_path_factory.mktemp("on_jax")
    return folder, trained(folder, "pictures", {}, DATA, devices=2)


def test_two_devices_train_as_one_does(on_jax):
    """With dropout, augmentation, averaged weights, and a last batch that cannot be shared out."""
    _, (one, two) = on_jax
    assert one["distributed"] is None
    assert two["distributed"] == {"by": "data", "devices": 2, "processes": 1}
    assert_same_figures(two, one)


def test_what_was_trained_on_jax_is_published_by_its_answers(on_jax, tmp_path):
    folder, _ = on_jax
    run = recipes.load_run(folder / "1")
    version = export.publish(run, tmp_path / "mlp", allow_worse=True)
    proof = json.loads((version.path / "proof.json").read_text())
    assert proof["trained_on"] == {"backend": "jax", "signature": "bytes", "examples": len(run.examples)}
    assert version.card["lineage"]["backend"] == "jax"
    assert "jax" in version.card["lineage"]["versions"]


@pytest.mark.slow
def test_what_answers_otherwise_than_on_jax_is_not_published(on_jax, tmp_path):
    folder, _ = on_jax
    run = recipes.load_run(folder / "1")
    run.answers["probabilities"] = run.answers["probabilities"][:, ::-1]
    with pytest.raises(export.ProofFailed, match="bytes"):
        export.publish(run, tmp_path / "mlp", allow_worse=True)
    assert not (tmp_path / "mlp").exists() or not any(path.name.isdigit() for path in (tmp_path / "mlp").iterdir())


def test_a_run_without_the_answers_of_its_backend_is_not_taken(on_jax, tmp_path):
    folder, _ = on_jax
    for path in (folder / "0").iterdir():
        if path.name != "answers.npz":
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(ValueError, match=r"was trained on jax, and its answers are not there: answers\.npz"):
        recipes.load_run(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "options"),
    [("balanced", DATA), ("normalised", DATA), ("texts", DATA), ("tags", DATA), ("texts", {"distribute": "model"})],
    ids=["class weights", "batch normalisation", "texts", "tags", "a Transformer's weights apart"],
)  # fmt: skip
def test_on_jax_every_kind_of_training_is_the_same_on_two_devices(tmp_path, case, options):
    one, two = trained(tmp_path, case, {}, options, devices=2)
    assert two["distributed"]["by"] == options["distribute"]
    assert_same_figures(two, one)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["balanced", "normalised"])
def test_mirrored_devices_of_tensorflow_train_as_one_does(tmp_path, case):
    """Where every batch can be shared out: 36 pictures make three of twelve."""
    options = {"batch_size": 12, "validation": 0.125}
    one, two = trained(tmp_path, case, options, {**options, **DATA}, backend="tensorflow", devices=2)
    assert two["distributed"] == {"by": "data", "devices": 2, "processes": 1}
    assert_same_figures(two, one)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_train_as_one_does(tmp_path, processes):
    (one,) = trained(tmp_path / "one", "pictures", {})
    (several,) = trained(tmp_path / "several", "pictures", {}, processes=processes)
    assert several["distributed"] == {"by": "data", "devices": processes, "processes": processes}
    assert_same_figures(several, one)
    assert sorted(path.name for path in (tmp_path / "several").iterdir()) == ["0"], "the first one's Run, and no other"


@pytest.mark.slow
def test_a_process_that_is_killed_ends_them_all_and_they_go_on_from_there(tmp_path):
    options = {"epochs": 3, "checkpoint_every": "2steps"}
    survivor, killed = launch(tmp_path / "run", "pictures", options, processes=2, doomed={"die_at": 8})
    assert (survivor.code, killed.code) == (1, -9)
    assert "Process 0 of 2 cannot reach the others any more: one of them has ended." in survivor.said
    assert "--resume" in survivor.said
    (resumed,) = trained(tmp_path / "run", "pictures", {**options, "resume": True}, processes=2)
    (whole,) = trained(tmp_path / "whole", "pictures", options, processes=2)
    assert resumed == whole
    mine, theirs = (recipes.load_run(tmp_path / name / "0").model.get_weights() for name in ("run", "whole"))
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_processes_with_other_options_are_told_apart(tmp_path):
    for ended in launch(tmp_path, "pictures", {}, processes=2, doomed={"learning_rate": 0.5}):
        assert ended.code == 1
        assert "All processes must train with the same model, data and options. Process 1 has" in ended.said


# Refused, before any data is read


@pytest.mark.parametrize("kind", ["data", "model"])
def test_one_device_is_not_several(tmp_path, kind):
    wanted = "needs several devices. Received: 1" if kind == "data" else "needs Keras on jax. Received: tensorflow"
    with pytest.raises(ValueError, match=wanted):
        recipes.image_classification("lenet5", "no such data", distribute=kind, run_dir=str(tmp_path / "run"))
    assert not any(tmp_path.iterdir())


def test_networks_trained_by_means_of_others_stay_on_one_device():
    with pytest.raises(ValueError, match=r"style-transfer trains networks by means of others.*Accepted: auto"):
        recipes.style_transfer("style_transfer", "no such data", distribute="data")


def test_several_processes_need_jax(monkeypatch):
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with pytest.raises(ValueError, match=r"2 processes and KERAS_BACKEND=tensorflow. Accepted: KERAS_BACKEND=jax"):
        recipes.image_classification("lenet5", "no such data")


def test_a_batch_must_be_shared_out(monkeypatch):
    monkeypatch.setattr(distribution, "_tensorflow_devices", lambda kind: ["/cpu:0"] * 3)
    monkeypatch.setattr(distribution, "Mirrored", lambda devices: type("Place", (), {"devices": len(devices)}))
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of the 3 devices. Received: 64"):
        recipes.image_classification("lenet5", "no such data", distribute="data")


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: recipes.image_generation("gan", "no such data"), "an adversarial pair, here that of gan, needs Keras"),
        (lambda: recipes.stylize("chelsea", "gravel"), "The optimisation of a picture needs Keras on tensorflow"),
        (lambda: recipes.explain("no such run", "no.png"), "An explanation needs Keras on tensorflow"),
        (lambda: export.publish("no such run", "served/x"), "Publishing needs Keras on tensorflow. Received: jax"),
    ],
    ids=["adversarial pair", "stylize", "explain", "publish"],
)
def test_what_takes_tensorflow_says_so(monkeypatch, refused, message):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend.JAX)
    with pytest.raises(ValueError, match=message):
        refused()


def test_jax_is_imported_where_it_computes_alone():
    """TensorFlow imports it where it is installed; but a recipe on TensorFlow needs none."""
    for file in (ROOT / "recipes").rglob("*.py"):
        for node in ast.parse(file.read_text()).body:
            names = [alias.name for alias in getattr(node, "names", [])] + [getattr(node, "module", None) or ""]
            assert not any(name.partition(".")[0] == "jax" for name in names), file
