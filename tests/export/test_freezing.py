"""Frozen and rewritten versions: every signature, whatever it begins with, gives the answers that were proved."""

from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

import zoo
from export import comparison, golden, replay, saved_model
from export.inspection import checkpoint
from export.publishing import publish
from export.rewriting import PASSES, weights, writing
from export.rewriting.freezing import INIT, Frozen, freeze
from export.rewriting.writing import TAG
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


@pytest.fixture
def scratch(tmp_path):
    """A folder for large constants."""
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


@pytest.mark.parametrize(
    "kind", [kind if kind in FAST else pytest.param(kind, marks=pytest.mark.slow) for kind in RUNS]
)
def test_the_proof_holds_without_variables(kind, here, scratch, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "LARGE", 1)
    version = publish(RUNS[kind](), tmp_path / "plain")
    frozen = freeze(version.path, scratch)
    ops = {node.op for node in frozen.graph_def.node}
    assert weights.OP in ops
    assert not {"VarHandleOp", "ReadVariableOp"} & ops
    rewritten = frozen.after(*PASSES)
    for name, one in {"frozen": frozen, "rewritten": rewritten}.items():
        assert set(one.signatures) - {INIT} == set(version.card["signatures"])
        assert problems(one, version, tmp_path / name) == []
        assert not (tmp_path / name / "variables").exists()
    monkeypatch.setattr(writing, "MOST", 0)
    monkeypatch.setattr(writing, "SHARD", 1000)
    assert problems(rewritten, version, tmp_path / "variables") == []
    assert (tmp_path / "variables" / "variables" / "variables.index").is_file()
    assert not list(checkpoint.problems(saved_model.read(tmp_path / "variables" / saved_model.PROTO).meta_graphs[0]))


def problems(frozen: Frozen, version, folder):
    """What differs from a version's recorded answers."""
    frozen.write(folder)
    replies, found = replay.replay(folder, version.path), []
    for name, of_signature in golden.load(folder).items():
        allowed = comparison.recorded_tolerances(version.proof["signatures"][name])
        found += comparison.compare_replay(name, of_signature, replies, allowed).problems
    return found


def test_a_network_is_fused_behind_the_reading_of_pictures_as_without(here, scratch, tmp_path):
    """Where TensorFlow's optimizer fails it says so in the log alone, and leaves the graph as it is."""
    version = publish(small_runs.image_run(), tmp_path / "plain")
    freeze(version.path, scratch).after(*PASSES).write(tmp_path / "rewritten")
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
def test_a_constant_is_there_once_however_many_signatures_use_it(kind, large, here, scratch, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "LARGE", large)
    run = small_runs.image_run() if kind == "pictures" else small_runs.text_run("words")
    version = publish(run, tmp_path / "plain")
    graph_def = freeze(version.path, scratch).graph_def
    found = sorted(weights.size(node) for node in graph_def.node if node.op == weights.OP)
    kernels = [4 * weight.size for weight in run.model.get_weights()]
    assert len(version.card["signatures"]) == 2
    assert found == sorted(size for size in kernels if size >= large) != []


def test_what_is_too_large_for_a_protocol_buffer_is_not_put_into_one(here, scratch, tmp_path, monkeypatch):
    frozen = freeze(publish(small_runs.table_run(), tmp_path / "plain").path, scratch)
    monkeypatch.setattr(weights, "LARGEST", 100)
    with pytest.raises(ValueError, match=r"smaller than 100 bytes\. Received: \d"):
        frozen.after(weights.within)


def test_a_checkpoint_that_cannot_be_written_is_an_error_of_the_disk(here, scratch, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "LARGE", 1)
    monkeypatch.setattr(writing, "MOST", 0)
    frozen = freeze(publish(small_runs.table_run(), tmp_path / "plain").path, scratch)
    (tmp_path / "frozen").mkdir()
    (tmp_path / "frozen" / "variables").write_text("in its way")
    with pytest.raises(OSError, match="checkpoint cannot be written"):
        frozen.write(tmp_path / "frozen")


def test_versions_with_variables_of_the_same_names_do_not_meet_in_a_process(tmp_path):
    signature, answers = meta_graph_pb2.SignatureDef(), []
    for infos, name in ((signature.inputs, "x"), (signature.outputs, "y")):
        infos[name].name, infos[name].dtype = f"{name}:0", tf.float32.as_datatype_enum
    for number in (1, 2):
        graph_def = weights.GraphDef(node=[weights.node("kernel", np.full(20_000, number, np.float32), tmp_path)])
        graph_def.node.add(name="x", op="Placeholder").attr["dtype"].type = tf.float32.as_datatype_enum
        graph_def.node.add(name="y", op="Mul", input=["x", "kernel"]).attr["T"].type = tf.float32.as_datatype_enum
        with mock.patch.object(writing, "MOST", 0):
            writing.write(graph_def, {"one": signature}, tmp_path / f"version{number}")
        answers.append(tf.saved_model.load(str(tmp_path / f"version{number}")).signatures["one"])
    assert [float(answer(tf.constant(3.0))["y"][0]) for answer in answers] == [3.0, 6.0]
