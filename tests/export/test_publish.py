"""What is in a version, and what is refused before there is one."""

import dataclasses
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

import export
from export import card, checks, golden, saved_model
from recipes import licenses
from recipes.answers import ValueAnswer
from recipes.bundle import Bundle
from tests.export import small_runs


def refused(run, base, match):
    with pytest.raises(ValueError, match=match):
        export.publish(run, base)
    assert not base.exists()


def test_a_version_is_complete(image_version):
    assert image_version.number == 1
    names = ["README.md", "SHA256SUMS", "assets", "assets.extra", "bom.json", "card.json", "fingerprint.pb", "golden"]
    names += ["labels.txt", "proof.json", "saved_model.pb", "variables"]
    assert sorted(path.name for path in image_version.path.iterdir()) == names
    assert (image_version.path / "labels.txt").read_text().split() == list(small_runs.LABELS)
    assert [path.name for path in image_version.path.parent.iterdir() if not path.name.startswith(".")] == ["1"]


def test_sha256sum_checks_the_manifest(image_version):
    """A stranger has coreutils, not this package."""
    done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=image_version.path, capture_output=True)
    assert done.returncode == 0, done.stdout


def test_a_server_of_another_user_can_read_it(image_version):
    """In production the server does not run as the one who publishes."""
    umask = os.umask(0)
    os.umask(umask)
    for path in [image_version.path, *image_version.path.rglob("*")]:
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        assert path.stat().st_mode & 0o777 == wanted, path


def test_the_proof_says_what_was_compared(image_version, image_run):
    proof = image_version.proof
    assert proof["versions"]["tensorflow"] == tf.__version__
    assert proof["lineage"]["run"] == image_run.dir.name
    assert proof["refused"] == ["no picture"]
    assert proof["machine"] == os.uname().machine
    for signature in ("serving_default", "bytes"):
        record = proof["signatures"][signature]
        assert record["examples"] == len(image_run.examples) + len(proof["edge_cases"])
        assert record["class_agreement"] == 1
        probabilities = record["outputs"]["probabilities"]
        assert probabilities["largest_difference"]["absolute"] <= probabilities["tolerance"]["absolute"] <= 1e-3


def test_the_card_describes_the_version(image_version):
    """What `zoo versions` and a person deciding on a rollback read."""
    found = image_version.card
    assert found["architecture"] == "lenet5"
    assert found["task"] == "image-classification"
    assert found["intended_use"].startswith("image-classification of inputs like those of")
    assert found["metrics"] == {"accuracy": 0.5}
    assert found["lineage"]["seed"] == 7
    assert len(found["lineage"]["weights_sha256"]) == 64
    assert found["signatures"] == saved_model.describe(image_version.path)


def test_the_owner_states_the_licence_of_what_is_theirs(classifier_run):
    """Of the weights, and of their own data; not of what others have published, nor of weights of unknown origin."""
    of_others = [
        licenses.record("data", "digits", "CC-BY-4.0", "the data set"),
        licenses.record("data", "mnist", "none stated", "the data set"),
        licenses.record("weights", "/some/file.keras"),
    ]
    run = dataclasses.replace(classifier_run, facts={"licenses": [licenses.record("data", "mine.csv"), *of_others]})
    assert card.all_licenses(run, "pets", None) == [
        licenses.record("weights", "pets"),
        licenses.record("data", "mine.csv"),
        *of_others,
    ]
    assert card.all_licenses(run, "pets", "MIT") == [
        licenses.record("weights", "pets", "MIT", "the owner"),
        licenses.record("data", "mine.csv", "MIT", "the owner"),
        *of_others,
    ]


@pytest.mark.parametrize("license", ["", " ", "MIT\nApache-2.0"])
def test_a_licence_is_one_line(license, classifier_run, tmp_path):
    with pytest.raises(ValueError, match="license is one line, such as CC-BY"):
        export.publish(classifier_run, tmp_path / "m", license=license)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("run", "facts", "said"),
    [
        (small_runs.image_run, {"evaluated_on": "test"}, ["the test part", "knows 3 classes", "at 12 x 12 pixels"]),
        (
            small_runs.image_run,
            {"evaluated_on": "test", "data": {"leaks": {"test": 2}, "examples": {"test": 9}}},
            ["the test part", "2 of the 9 examples of the test part", "knows 3 classes", "at 12 x 12 pixels"],
        ),
        (lambda: small_runs.text_run("words", too_long="refuse"), {}, ["Nobody", "3 classes", "12 tokens is refused"]),
        (lambda: small_runs.table_run("linear_regression"), {}, ["Nobody", "a missing value"]),
    ],
)
def test_the_card_says_what_not_to_expect(run, facts, said):
    run = run()
    found = card.limitations(dataclasses.replace(run, facts=facts))
    assert len(found) == len(said)
    for sentence, part in zip(found, said, strict=True):
        assert part in sentence


@pytest.mark.parametrize("kind", ["image", "classifier"])
def test_the_example_request_is_sound_shell_and_json(kind, request, tmp_path):
    """A newcomer copies it; a broken quote or a lost letter of base64 would be the first impression."""
    version = request.getfixturevalue(f"{kind}_version")
    data = small_runs.picture(40, 40)
    (tmp_path / "picture.png").write_bytes(data)
    example = version.card["example"].replace("curl ", "printf '%s\\n' ", 1)
    printed = subprocess.run(["bash", "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    url, _, body = printed.splitlines()
    body = json.loads(body)
    assert url == f"http://localhost:8501/v1/models/{version.path.parent.name}:predict"
    assert body["inputs"].keys() == version.card["signatures"][body["signature_name"]]["inputs"].keys()
    if kind == "image":
        import base64

        assert base64.b64decode(body["inputs"]["image_bytes"][0]["b64"]) == data


@pytest.mark.parametrize("kind", ["image", "classifier", "regressor"])
def test_every_signature_is_warmed_at_one_and_more_rows(kind, request):
    """Without a record the first person to ask waits for seconds; with a bad one TF Serving refuses the version."""
    version = request.getfixturevalue(f"{kind}_version")
    file = str(version.path / "assets.extra/tf_serving_warmup_requests")
    sizes = {}
    for data in tf.data.TFRecordDataset(file).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(data)
        assert log.WhichOneof("log_type") == "predict_log"
        request_ = log.predict_log.request
        rows = {tf.make_ndarray(tensor).shape[0] for tensor in request_.inputs.values()}
        assert request_.inputs.keys() == version.card["signatures"][request_.model_spec.signature_name]["inputs"].keys()
        sizes.setdefault(request_.model_spec.signature_name, []).append(*rows)
    assert sizes == {signature: [1, 8] for signature in version.card["signatures"]}


def test_golden_examples_stay_small(here, tmp_path, monkeypatch, image_run):
    """Big tensors would make a version mostly proof: all are proved, fewer kept; never none, and the edge cases."""
    from export import proof

    monkeypatch.setattr(proof, "STORED_BYTES", 1)
    version = export.publish(image_run, tmp_path / "m", golden=7)
    odd = len(version.proof["edge_cases"])
    assert {name: len(examples) for name, examples in golden.load(version.path).items()} == {
        "bytes": 1 + odd,
        "serving_default": 1 + odd,
    }
    for record in version.proof["signatures"].values():
        assert (record["examples"], record["stored"]) == (7 + odd, 1 + odd)
    assert export.verify(version.path).ok


def test_a_run_is_published_from_its_folder(here, tmp_path):
    """What `zoo publish RUN BASE` does."""
    run = small_runs.table_run("linear_regression")
    run.dir = tmp_path / "run"
    run.dir.mkdir()
    run.save()
    lines = []
    assert export.publish(run.dir, tmp_path / "m", tell=lines.append).card["lineage"]["run"] == "run"
    assert any("serving_default" in line for line in lines)


def test_nan_in_a_weight_is_named(tmp_path):
    run = small_runs.image_run()
    kernel = run.model.get_layer("c1").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    refused(run, tmp_path / "m", r"'c1/kernel'.*NaN or infinity in 150 of 150")


def test_an_input_without_a_name_is_refused(tmp_path):
    """Keras would call it keras_tensor_17, and 18 in the next run: no client could be written."""
    model = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    refused(small_runs.image_run(model), tmp_path / "m", "no name of its own.*keras_tensor")


def test_labels_must_match_the_head(tmp_path):
    refused(small_runs.image_run(labels=("cat", "dog")), tmp_path / "m", "Received: 2 labels for 3 outputs")


def labelled(run, right, count=64, accuracy=None):
    """The Run with examples of which its network is right about the first `right` ones."""
    pictures = small_runs.pictures(count)
    said = [name.decode() for name in run.bundle.predict({"image_bytes": pictures})["classes"]]
    others = [run.bundle.labels[run.bundle.labels.index(name) - 1] for name in said]
    truth = np.array([*said[:right], *others[right:]], object)
    metrics = {} if accuracy is None else {"accuracy": accuracy}
    return dataclasses.replace(
        run, metrics=metrics, examples=dataclasses.replace(run.examples, raw={"image_bytes": pictures}, truth=truth)
    )


@pytest.mark.parametrize(("right", "accuracy"), [(0, None), (0, 0.0), (40, 0.95)])
def test_a_model_that_is_not_the_one_that_was_judged_is_refused(right, accuracy, here, tmp_path, image_run):
    """Labels in another order make every metric a lie; so few right examples tell."""
    run = labelled(image_run, right, accuracy=accuracy)
    refused(run, tmp_path / "m", rf"is right about {right} of its 64 examples.*Accepted: allow_worse=True")
    assert export.publish(run, tmp_path / "m", allow_worse=True).number == 1


@pytest.mark.parametrize(
    ("right", "count", "accuracy"), [(1, 64, None), (55, 64, 0.95), (62, 64, 1.0), (0, 15, 0.5), (0, 0, 0.9)]
)
def test_what_may_be_bad_luck_is_published(right, count, accuracy, image_run):
    run = labelled(image_run, right, count or 1, accuracy)
    classes = run.bundle.predict(run.examples.raw)["classes"][:count]
    checks.check_answers(run, classes)


def test_a_run_without_examples_cannot_be_proved(tmp_path):
    refused(small_runs.image_run(count=0), tmp_path / "m", "no examples")


def test_no_golden_example_is_refused(tmp_path, image_run):
    with pytest.raises(ValueError, match="golden=0"):
        export.publish(image_run, tmp_path / "m", golden=0)


def test_a_layer_that_cannot_be_traced_is_named_with_its_signature(tmp_path):
    class OnlyEager(keras.layers.Layer):
        def call(self, x):
            return x + np.asarray(x).mean()

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    rows = keras.Input((3,), name="rows")
    model = keras.Model(rows, keras.layers.Dense(1)(OnlyEager()(rows)))
    run = small_runs.table_run("linear_regression")
    run.bundle = Bundle(model, "regression", run.bundle.preprocessing, ValueAnswer())
    refused(run, tmp_path / "m", "Signature 'serving_default' cannot be traced")


def test_asking_for_the_calls_imports_no_tensorflow():
    """`zoo versions`, `rollback`, `prune` and the start of `verify` answer at once."""
    code = "import sys, export; export.versions, export.verify, export.rollback, export.prune; import export.commands;"
    code += "print(sorted({'tensorflow', 'keras', 'recipes.bundle'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_export_knows_nothing_of_serving():
    """Data flows one way; a fault of the server's code must not be able to hide in a proof."""
    from pathlib import Path

    for path in Path(export.__file__).parent.glob("*.py"):
        text = path.read_text()
        assert "import serving" not in text, path
        assert "from serving" not in text, path
