"""Frozen and rewritten versions: every signature, whatever it begins with, gives the answers that were proved."""

import pytest
import tensorflow as tf

import zoo
from export import comparison, golden, replay
from export.publishing import publish
from export.rewriting import PASSES
from export.rewriting.freezing import INIT, TAG, Frozen, freeze
from tests import writers
from tests.export import small_runs

RUNS = {
    "pictures": lambda: small_runs.image_run(zoo.build("mobilenet_v2", **zoo.spec("mobilenet_v2").tiny)),
    "residuals": lambda: small_runs.image_run(zoo.build("resnet50", **zoo.spec("resnet50").tiny)),
    "awkward": lambda: small_runs.image_run(small_runs.awkward_model()),
    "table": small_runs.table_run,
    "words": lambda: small_runs.text_run("words"),
    "wordpiece": lambda: small_runs.text_run("wordpiece"),
    "byte pairs": lambda: small_runs.text_run("byte_pairs"),
    "writer": lambda: small_runs.writing_run(writers.gpt),
    "masks": lambda: small_runs.of_pictures("unet"),
    "boxes": lambda: small_runs.of_pictures("faster_rcnn_small"),
    "styles": lambda: small_runs.of_pictures("style_transfer"),
    "makes": lambda: small_runs.of_pictures("dcgan"),
}
FAST = ("residuals", "words")


@pytest.mark.parametrize(
    "kind", [kind if kind in FAST else pytest.param(kind, marks=pytest.mark.slow) for kind in RUNS]
)
def test_the_proof_holds_without_variables(kind, here, tmp_path):
    version = publish(RUNS[kind](), tmp_path / "plain")
    frozen = freeze(version.path)
    assert not {"VarHandleOp", "ReadVariableOp"} & {node.op for node in frozen.graph_def.node}
    for name, one in {"frozen": frozen, "rewritten": frozen.after(*PASSES)}.items():
        assert set(one.signatures) - {INIT} == set(version.card["signatures"])
        assert problems(one, version, tmp_path / name) == []


def problems(frozen: Frozen, version, folder):
    """What differs from a version's recorded answers."""
    frozen.write(folder)
    replies, found = replay.replay(folder, version.path), []
    for name, of_signature in golden.load(folder).items():
        allowed = comparison.recorded_tolerances(version.proof["signatures"][name])
        found += comparison.compare_replay(name, of_signature, replies, allowed).problems
    return found


def test_a_network_is_fused_behind_the_reading_of_pictures_as_without(here, tmp_path):
    """Where TensorFlow's optimizer fails it says so in the log alone, and leaves the graph as it is."""
    version = publish(small_runs.image_run(), tmp_path / "plain")
    freeze(version.path).after(*PASSES).write(tmp_path / "rewritten")
    fused = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signatures = tf.compat.v1.saved_model.load(session, [TAG], str(tmp_path / "rewritten")).signature_def
        for name, examples in golden.load(version.path).items():
            metadata, one = tf.compat.v1.RunMetadata(), golden.rows(examples.inputs, 1)
            session.run(
                [info.name for info in signatures[name].outputs.values()],
                {info.name: one[key] for key, info in signatures[name].inputs.items()},
                tf.compat.v1.RunOptions(output_partition_graphs=True),
                metadata,
            )
            ops = [node.op for part in metadata.partition_graphs for node in part.node]
            fused[name] = sorted(op for op in ops if "Fused" in op)
    assert fused["bytes"] == fused["serving_default"] != []


@pytest.mark.parametrize(("kind", "large"), [("pictures", 4000), ("words", 8000)])
def test_a_constant_is_there_once_however_many_signatures_use_it(kind, large, here, tmp_path):
    run = small_runs.image_run() if kind == "pictures" else small_runs.text_run("words")
    version = publish(run, tmp_path / "plain")
    tensors = [node.attr["value"].tensor for node in freeze(version.path).graph_def.node if node.op == "Const"]
    found = sorted(len(tensor.tensor_content) for tensor in tensors if len(tensor.tensor_content) > large)
    kernels = [4 * weight.size for weight in run.model.get_weights()]
    assert len(version.card["signatures"]) == 2
    assert found == sorted(size for size in kernels if size > large) != []


def test_what_is_too_large_for_a_protocol_buffer_is_refused(here, tmp_path, monkeypatch):
    frozen = freeze(publish(small_runs.table_run(), tmp_path / "plain").path)
    monkeypatch.setattr("export.rewriting.freezing.LARGEST", 100)
    with pytest.raises(ValueError, match=r"smaller than 100 bytes\. Received: \d"):
        frozen.write(tmp_path / "frozen")
    assert not (tmp_path / "frozen").exists()
