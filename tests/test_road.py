"""The whole road as a person travels it, on real digits: the demo, and what a person may do wrong on the way."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest

import export
import recipes
import serving

MNIST = os.path.isdir(os.path.join(os.environ.get("TFDS_DATA_DIR", ""), "mnist"))


@pytest.fixture(scope="module")
def road(tmp_path_factory, data_dir):
    """A Run on digits, its version 1, and a server for it."""
    folder = tmp_path_factory.mktemp("road")
    run = recipes.image_classification(
        "lenet5", "digits", epochs=3, run_dir=str(folder / "run"), data_dir=data_dir, verbose=False
    )
    version = export.publish(run, folder / "served" / "lenet5")
    with serving.serve(folder / "served" / "lenet5") as server:
        yield run, version, server


@pytest.fixture(params=["REST", "gRPC"])
def client(road, request):
    _, _, server = road
    with serving.Client(server.rest_url if request.param == "REST" else server.grpc_address) as client:
        yield client


def test_a_corrupt_picture_is_refused_and_the_server_lives(road, client):
    run, _, _ = road
    picture = run.examples.raw["image_bytes"][0]
    for corrupt in (b"not a picture", picture[:40], b""):
        with pytest.raises(serving.InvalidInput):
            client.predict("lenet5", {"image_bytes": [corrupt]}, signature="bytes")
    assert client.predict("lenet5", {"image_bytes": [picture]}, signature="bytes")["classes"].shape == (1,)


def test_wrong_shapes_signatures_and_models_are_named(client):
    with pytest.raises(serving.InvalidInput, match="28"):
        client.predict("lenet5", np.zeros((1, 5, 5, 1), np.float32))
    with pytest.raises(serving.InvalidInput, match="bytes"):
        client.predict("lenet5", {"image_bytes": [b""]}, signature="byte")
    with pytest.raises(serving.ModelNotFound, match="lenet"):
        client.predict("lenet", np.zeros((1, 28, 28, 1), np.float32))


def test_plain_http_with_a_base64_png_returns_the_label(road):
    run, _, server = road
    picture = run.examples.raw["image_bytes"][0]
    body = {"signature_name": "bytes", "instances": [{"b64": base64.b64encode(picture).decode()}]}
    request = urllib.request.Request(f"{server.rest_url}/v1/models/lenet5:predict", json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        (prediction,) = json.load(answer)["predictions"]
    assert prediction["classes"] == run.bundle.predict({"image_bytes": [picture]})["classes"][0].decode()


def test_a_version_changed_after_publishing_fails_and_names_the_file(road, tmp_path):
    _, version, _ = road
    copy = shutil.copytree(version.path, tmp_path / "lenet5" / "1")
    labels = copy / "labels.txt"
    labels.write_text(labels.read_text().replace("3", "8"))
    report = export.verify(copy)
    assert not report.ok
    assert any("labels.txt" in problem for problem in report.problems)


@pytest.mark.slow
def test_the_demo_travels_the_whole_road(tmp_path):
    command = [sys.executable, "-m", "zoo", "demo", "--dir", str(tmp_path / "demo"), "--epochs", "2"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=os.environ | {"HOME": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert "versions: 2 AVAILABLE, 1 " in done.stdout
    assert "Version 3 is a copy of version 1" in done.stdout
    assert len(re.findall(r"\d+ requests while it moved, all of them answered", done.stdout)) == 2
    assert "oneDNN" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not MNIST, reason="needs TFDS_DATA_DIR with mnist prepared")
@pytest.mark.parametrize(
    ("model", "options", "accuracy"),
    [
        ("mlp", {"epochs": 10}, 0.9253),
        ("mnist_cnn", {"epochs": 3}, 0.97),
        ("lenet5", {"epochs": 15, "learning_rate": 0.002, "schedule": "cosine"}, 0.985),  # as in RESULTS.md
    ],
)
def test_mnist_comes_out_as_the_courses_promise(tmp_path, model, options, accuracy):
    run = recipes.image_classification(model, "mnist", run_dir=str(tmp_path / "run"), verbose=False, **options)
    assert run.metrics["accuracy"] > accuracy
