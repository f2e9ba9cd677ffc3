"""A Run of published weights, without training: made, published and asked."""

import numpy as np
import pytest
from click.testing import CliRunner
from keras.src.applications import imagenet_utils

import export
import recipes
from export import fresh_process
from recipes.commands import pretrained
from recipes.examples import to_png
from tests.export.conftest import started_here


def test_a_run_of_published_weights_answers_as_they_do(mirror, tmp_path):
    mirror.vouch()
    run = recipes.pretrained("mobilenet_v3_small", run_dir=tmp_path / "run")
    assert len(run.examples) == 64
    assert [each["license"] for each in run.facts["licenses"]] == ["Apache-2.0"]
    assert len(set(run.bundle.labels)) == 1000  # names that occur twice have got their WordNet ids
    # The answer to a photograph is the published network's, on the same pixels.
    picture = run.examples.raw["image_bytes"][:4]
    pixels = run.bundle.preprocessing.unit_of(run.bundle.preprocess({"image_bytes": picture})) * 255
    expected = mirror.networks[True].predict(np.asarray(pixels), verbose=0)
    np.testing.assert_allclose(run.bundle.predict({"image_bytes": picture})["probabilities"], expected, atol=1e-5)


@pytest.mark.slow
def test_a_run_of_published_weights_is_published_as_it_is(mirror, tmp_path, monkeypatch):
    mirror.vouch()
    run = recipes.pretrained("mobilenet_v3_small", run_dir=tmp_path / "run")
    monkeypatch.setattr(fresh_process, "started", started_here)
    version = export.publish(recipes.load_run(run.dir), tmp_path / "served" / "mobilenet", golden=4)
    assert export.verify(version.path).ok


def test_a_run_of_published_weights_on_ones_own_pictures(mirror, tmp_path, drawing, caplog):
    mirror.vouch()
    (tmp_path / "mine").mkdir()
    content = to_png(np.full((50, 40, 3), 90, np.uint8))
    (tmp_path / "mine" / "grey.png").write_bytes(content)
    folders = ["--run-dir", str(tmp_path / "run"), "--examples", str(tmp_path / "mine")]
    with drawing():
        done = CliRunner().invoke(pretrained, ["mobilenet_v3_small", *folders])
    assert done.exit_code == 0, done.output
    assert "1000 classes, 1 examples" in done.output
    assert [path.name for path in (tmp_path / "run").glob("*.png")] == ["predictions.png"]
    # TensorFlow warns of many tracings, and counts those of all models together.
    assert not [each for each in caplog.records if each.name != "tensorflow"]
    assert recipes.load_run(tmp_path / "run").examples.raw["image_bytes"].tolist() == [content]


def test_what_has_no_published_weights(tmp_path):
    with pytest.raises(ValueError, match=r"Unknown published weights of 'resnet20' 'imagenet'\. Accepted: none"):
        recipes.pretrained("resnet20", run_dir=tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="No pictures in"):
        recipes.pretrained("mobilenet_v2", run_dir=tmp_path / "run", examples=tmp_path / "empty")
    assert not (tmp_path / "run").exists()


def test_labels_that_cannot_be_fetched_are_asked_for_before_the_weights(mirror, tmp_path, monkeypatch):
    mirror.vouch()
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", None)
    nowhere = (tmp_path / "nowhere.json").as_uri()
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX_PATH", nowhere)
    with pytest.raises(OSError, match="names of ImageNet's classes cannot be fetched"):
        recipes.pretrained("mobilenet_v3_small", run_dir=tmp_path / "run")
    assert not list(mirror.cache.iterdir())
    assert not (tmp_path / "run").exists()


def test_damaged_weights_leave_no_run(mirror, tmp_path):
    with pytest.raises(ValueError, match="are damaged"):
        recipes.pretrained("mobilenet_v3_small", run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_without_a_head_for_the_task_are_no_run(tmp_path):
    with pytest.raises(ValueError, match="'imagenet' of 'fcn8s' has no head for semantic-segmentation"):
        recipes.pretrained("fcn8s", run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
