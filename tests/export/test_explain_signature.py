"""A version that answers with a map: it must be the map that a person sees at home."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import export
import recipes
import serving
import zoo
from export import commands, comparison, proof, saved_model, signatures
from export.comparison import Tolerance
from export.golden import Golden
from tests import bright_spot
from tests.export import small_runs


@pytest.fixture(scope="module")
def run():
    """Of LeNet-5, whose head the gradient of Grad-CAM has to be taken through."""
    return small_runs.image_run(count=9)


@pytest.fixture(scope="module")
def version(run, tmp_path_factory):
    """Published as a person does: with the fresh process that has no Keras."""
    return export.publish(run, tmp_path_factory.mktemp("served") / "lenet5", explain="auto")


@pytest.fixture(scope="module")
def server(version):
    with serving.serve(version.path.parent, engine="embedded") as running:
        yield running


def test_a_client_finds_what_is_documented(version):
    described = saved_model.describe(version.path)
    assert described.keys() == {"serving_default", "bytes", "explain"}
    assert described["explain"]["inputs"] == {"image_bytes": {"dtype": "string", "shape": [None]}}
    assert described["explain"]["outputs"] == {
        "class_ids": {"dtype": "int64", "shape": [None]},
        "classes": {"dtype": "string", "shape": [None]},
        "heatmap": {"dtype": "float32", "shape": [None, 12, 12]},
        "probabilities": {"dtype": "float32", "shape": [None, 3]},
    }
    assert version.card["explain"] == "grad_cam"
    assert version.proof["signatures"]["explain"]["examples"] == 9 + len(version.proof["edge_cases"])


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_the_map_over_the_wire_is_the_map_at_home(protocol, run, server):
    own_size = [small_runs.picture(12, 12, seed=i) for i in range(5)]
    with serving.Client(server.rest_url if protocol == "REST" else server.grpc_address) as client:
        for pictures in (own_size, own_size[:1]):
            answer = client.predict("lenet5", {"image_bytes": pictures}, signature="explain")
            plain = client.predict("lenet5", {"image_bytes": pictures}, signature="bytes")
            np.testing.assert_allclose(answer["probabilities"], plain["probabilities"], rtol=1e-5)
            for i, picture in enumerate(pictures):
                expected = recipes.explain(run, picture)
                assert answer["classes"][i] == expected.class_name
                assert expected.heat_map.max() > 0.5
                np.testing.assert_allclose(answer["heatmap"][i], expected.heat_map, atol=1e-4)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_proof_of_the_maps_holds_at_a_server(protocol, version, server):
    address = {"rest": server.rest_url, "grpc": server.grpc_address}[protocol]
    report = export.verify(version.path, **{protocol: address})
    assert report.ok, report.problems
    assert report.signatures["explain"].absolute["heatmap"] < 1e-3


def test_the_graph_of_cam_looks_where_the_class_is_decided(tmp_path):
    run = bright_spot.run()
    saved_model.write([run.model], signatures.signatures_of(run.bundle, "cam"), tmp_path)
    ask = tf.saved_model.load(str(tmp_path)).signatures["explain"]
    answer = ask(image_bytes=tf.constant(list(run.examples.raw["image_bytes"])))
    assert [name.decode() for name in answer["classes"].numpy()] == list(run.examples.truth)
    for i in range(1, len(run.examples)):
        row, column = np.unravel_index(answer["heatmap"][i].numpy().argmax(), (12, 12))
        assert i <= row < i + 3
        assert 9 - i <= column < 12 - i


def test_another_map_than_keras_is_found(run, here, tmp_path, monkeypatch):
    """An export that mirrors, say, rows and columns: its probabilities would be right."""
    explain = signatures._explain

    def mirrored(bundle, method):
        right = explain(bundle, method)

        def graph(raw):
            answer = right.graph(raw)
            return answer | {"heatmap": tf.transpose(answer["heatmap"], (0, 2, 1))}

        return dataclasses.replace(right, graph=graph)

    monkeypatch.setattr(signatures, "_explain", mirrored)
    with pytest.raises(export.ProofFailed, match="Signature 'explain', output 'heatmap', example 0"):
        export.publish(run, tmp_path / "m", explain="grad_cam")
    assert not (tmp_path / "m").exists()


def test_what_cannot_be_served_is_refused_before_anything_is_written(run, classifier_run, tmp_path):
    mlp = small_runs.image_run(zoo.build("mlp", input_shape=(12, 12, 1), num_classes=3))
    refusals = [
        (run, "occlusion", "Unknown method 'occlusion'. Accepted: auto, cam, grad_cam"),
        (run, "cam", "Received: method='cam'. It allows: grad_cam, occlusion, which is not served"),
        (mlp, "auto", "'mlp' has no feature maps. Received: method='auto'. It allows: occlusion, which is not served"),
        (classifier_run, "auto", "Received: a model for binary-classification on tables"),
    ]
    for refused, method, said in refusals:
        with pytest.raises(ValueError, match=said):
            export.publish(refused, tmp_path / "m", explain=method)
        assert not (tmp_path / "m").exists()


def test_the_command_passes_the_method_on(monkeypatch, version):
    asked = {}
    monkeypatch.setattr("export.publish", lambda *args, **named: asked.update(named) or version, raising=False)
    result = CliRunner().invoke(commands.publish, ["runs/x", "served/x", "--explain", "grad_cam", "--json"])
    assert result.exit_code == 0, result.output
    assert asked["explain"] == "grad_cam"
    assert CliRunner().invoke(commands.publish, ["a", "b", "--explain", "occlusion"]).exit_code == 2


def test_nearly_flat_maps_can_be_proved():
    """Scaled up from next to nothing they are noise; in the proof they must be no more than that."""
    run = bright_spot.run()
    blank = run.bundle.model.get_layer("stage1")
    blank.set_weights([np.full((3, 3, 1, 2), 1e-9), np.array([0.5, 0.5])])
    signature = signatures.signatures_of(run.bundle, "grad_cam")[-1]
    examples = proof.collect(signature, run.examples.raw)
    assert examples.outputs["heatmap"].max() < 1e-3
    allowed = proof.tolerances(signature, examples, run.examples.raw, run.model)["heatmap"]
    assert allowed.absolute == signatures.INVISIBLE


def test_the_map_of_a_tied_class_may_be_the_other_ones():
    """Where rounding decides between two classes, it also decides which of them the map is of."""
    outputs = {
        "probabilities": np.array([[0.5, 0.5 - 1e-6], [0.9, 0.1]], np.float32),
        "class_ids": np.array([0, 0]),
        "heatmap": np.zeros((2, 3, 3), np.float32),
    }
    examples = Golden({"image_bytes": np.array([b"a", b"b"], object)}, outputs)
    allowed = {"probabilities": Tolerance(1e-4, 1e-3), "heatmap": Tolerance(0.01, 1e-3)}
    tied, clear = ({**outputs, "heatmap": np.zeros((2, 3, 3), np.float32)} for _ in range(2))
    tied["heatmap"][0] = 1
    clear["heatmap"][1] = 1
    assert not comparison.compare("explain", examples, tied, allowed).problems
    (problem,) = comparison.compare("explain", examples, clear, allowed).problems
    assert problem.startswith("Signature 'explain', output 'heatmap', example 1:")
