"""A version from a stranger: whatever could do more than compute is refused, and nothing of it is run to find out."""

import json
import os
import pickle
import re
import shutil
import struct
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import prediction_log_pb2

import export
from export import commands, manifest, saved_model
from export.inspection import operations


@pytest.fixture(scope="session")
def strangers(classifier_version):
    return classifier_version.path


@pytest.fixture
def copy(strangers, tmp_path):
    """A version in which a stranger may do what they like."""
    return shutil.copytree(strangers, tmp_path / "downloads/1")


def problems(folder):
    """What stands against a version whose manifest fits its files."""
    manifest.write(folder)
    found = export.inspect(folder)
    assert found.ok == (not found.problems)
    return "\n".join(found.problems)


def edited(folder, edit):
    """The version after an edit of its graph."""
    saved = saved_model.read(folder / "saved_model.pb")
    edit(saved.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    return folder


def rewritten(folder, signature, *specs, resources=()):
    """The version with another model: a function of a stranger's, saved by TensorFlow."""
    module = tf.Module()
    module.kept = resources
    traced = tf.function(signature).get_concrete_function(*specs)
    tf.saved_model.save(module, str(folder), {"row": traced, "serving_default": traced})
    return folder


def test_a_version_of_ours_passes(strangers):
    found = export.inspect(strangers)
    assert found, found.problems
    assert found.operations["MatMul"] >= 1
    assert {"RestoreV2", "SaveV2", "StatefulPartitionedCall"} <= found.operations.keys()
    assert found.refused == {}


def test_nothing_is_loaded(copy, tmp_path):
    """The planted operation would run when the version is loaded."""
    target = tmp_path / "owned"

    class Owned(tf.Module):
        @tf.function(input_signature=[])
        def initialize(self):
            tf.io.write_file(str(target), "owned")
            return tf.constant(0)

    module = Owned()
    answer = tf.function(lambda x: {"y": x}).get_concrete_function(tf.TensorSpec([None], tf.float32, "x"))
    tf.saved_model.save(module, str(copy), {"serving_default": answer, "row": answer})
    assert "WriteFile in function __inference_initialize" in problems(copy)
    assert not target.exists()


SERVED = {
    "ReadFile": lambda x: tf.io.read_file(x[0]),
    "EagerPyFunc": lambda x: tf.py_function(lambda y: y, [x[0]], tf.string),
    "PrintV2": lambda x: (tf.print(x[0], output_stream="file:///tmp/x"), x[0])[1],
    "RestoreV2": lambda x: tf.raw_ops.RestoreV2(
        prefix=x[0], tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.string]
    )[0],
    "SaveV2": lambda x: (
        tf.raw_ops.SaveV2(prefix="/tmp/x", tensor_names=["a"], shape_and_slices=[""], tensors=[x]),
        x[0],
    )[1],
    "TextLineDataset": lambda x: tf.data.TextLineDataset(x).reduce(tf.constant(""), lambda a, b: a + b),
    "InitializeTableFromTextFileV2": lambda x: (
        tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64),
            filename="/etc/passwd",
            key_index=-2,
            value_index=-1,
        ),
        x[0],
    )[1],
}
"""Operation → what a stranger's function answers with it, as TensorFlow traces it."""


@pytest.mark.parametrize("name", SERVED)
def test_what_a_stranger_traced_is_refused(name, copy):
    rewritten(copy, lambda text: {"y": SERVED[name](text)}, tf.TensorSpec([None], tf.string, "text"))
    manifest.write(copy)
    found = export.inspect(copy)
    assert name in found.operations
    assert any(problem.startswith(f"{name} in function __inference") for problem in found.problems), found.problems


PLANTED = [
    *("ReadFile", "WriteFile", "MatchingFiles", "FileSystemSetConfiguration", "ImmutableConst", "WholeFileReaderV2"),
    *("PyFunc", "PyFuncStateless", "EagerPyFunc", "LoadAndRemapMatrix", "GenerateVocabRemapping", "Save", "Restore"),
    *("RpcCall", "RpcServerStart", "RemoteCall", "Send", "_Recv", "CollectiveGatherV2", "NcclAllReduce"),
    *("DebugIdentityV3", "DumpTensor", "Print", "PrintV2", "WriteSummary", "CreateSummaryFileWriter"),
    *("TFRecordDataset", "SqlDataset", "DatasetFromGraph", "RegisterDatasetV2", "DataServiceDatasetV4", "IteratorV2"),
    *("XlaCallModule", "XlaCustomCallV2", "TPUExecute", "Abort", "SleepOp", "BarrierTakeMany", "SobolSample"),
    *("InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "Mine>RunShell", "read_file"),
]


def test_what_is_planted_anywhere_is_refused(copy):
    def plant(graph):
        nobody = graph.graph_def.library.function.add()
        nobody.signature.name = "nobody_calls_it"
        for name in PLANTED:
            graph.graph_def.node.add(name=f"a_{name}", op=name)
            graph.graph_def.library.function[0].node_def.add(name=f"b_{name}", op=name)
            nobody.node_def.add(name=f"c_{name}", op=name)

    said = problems(edited(copy, plant)).splitlines()
    called = saved_model.read(copy / "saved_model.pb").meta_graphs[0].graph_def.library.function[0].signature.name
    for name in PLANTED:
        for where in ("the main graph", f"function {called}", "function nobody_calls_it"):
            assert any(problem.startswith(f"{name} in {where}: ") for problem in said), (name, where)


def test_all_graphs_are_read(copy):
    saved = saved_model.read(copy / "saved_model.pb")
    saved.meta_graphs.add().graph_def.node.add(name="a", op="ReadFile")
    (copy / "saved_model.pb").write_bytes(saved.SerializeToString())
    assert "ReadFile in the main graph: reads or writes files" in problems(copy)


def test_nothing_that_does_more_than_compute_is_among_the_safe():
    """Those that TensorFlow says have effects, reviewed one by one: they keep values, or draw them."""
    with_effects = {name for name in operations.SAFE if operations.is_registered(name) and is_stateful(name)}
    keeping = r"(Anonymous|Mutable).*Table.*|.*Variable.*|VarHandleOp|VarIsInitializedOp|ResourceGather.*"
    keeping += r"|ResourceScatter.*|.*HashTable.*|InitializeTableV2|LookupTable.*|TensorArray.*V3"
    drawing = r"Multinomial|Random.*|TruncatedNormal|StatelessRandomGetAlg"
    calling = (
        r"Case|If|While|StatefulPartitionedCall|Assert|DisableCopyOnRead|CheckNumerics.*|GenerateBoundingBoxProposals"
    )
    assert [name for name in sorted(with_effects) if not re.fullmatch(f"{keeping}|{drawing}|{calling}", name)] == []


def is_stateful(name):
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(name).is_stateful


def saver_of(graph):
    """The function that restores."""
    node = next(node for node in graph.graph_def.node if node.name == graph.saver_def.restore_op_name)
    return node, next(f for f in graph.graph_def.library.function if f.signature.name == node.attr["f"].func.name)


def reach_restore_by_a_signature(graph):
    path = graph.signature_def["row"].inputs["path"]
    path.name, path.dtype = graph.saver_def.filename_tensor_name, tf.string.as_datatype_enum
    graph.signature_def["row"].outputs["done"].name = f"{graph.saver_def.restore_op_name}:0"


def restore_another_file(graph):
    _, function = saver_of(graph)
    function.node_def.add(name="mine", op="Const").attr["value"].tensor.string_val.append(b"/etc/passwd")
    next(node for node in function.node_def if node.op == "RestoreV2").input[0] = "mine:output:0"


def join_to_the_file_name(graph):
    _, function = saver_of(graph)
    function.node_def.add(name="up", op="Const").attr["value"].tensor.string_val.append(b"/../../../../etc/passwd")
    function.node_def.add(name="joined", op="StringJoin", input=[function.signature.input_arg[0].name, "up:output:0"])
    next(node for node in function.node_def if node.op == "RestoreV2").input[0] = "joined:output:0"


def feed_another_name(graph):
    node, _ = saver_of(graph)
    graph.graph_def.node.add(name="mine", op="Const")
    node.input[0] = "mine"


def call_restore_from_elsewhere(graph):
    _, function = saver_of(graph)
    graph.graph_def.library.function[0].node_def.add(name="again", op=function.signature.name, input=["a"])


@pytest.mark.parametrize(
    "edit",
    [
        reach_restore_by_a_signature,
        restore_another_file,
        join_to_the_file_name,
        feed_another_name,
        call_restore_from_elsewhere,
        lambda graph: graph.saver_def.ClearField("filename_tensor_name"),
        lambda graph: graph.graph_def.node.add(name="mine", op="RestoreV2"),
    ],
)
def test_only_the_saver_restores_and_only_the_file_it_is_told(edit, copy):
    assert "RestoreV2" in problems(edited(copy, edit))


def call_nobody(graph):
    graph.graph_def.node.add(name="a", op="PartitionedCall").attr["f"].func.name = "ReadFile"


def hide_an_operation(graph):
    graph.graph_def.library.function.add().signature.name = "ReadFile"


def blow_up(graph):
    tensor = graph.graph_def.node.add(name="bomb", op="Const").attr["value"].tensor
    tensor.dtype = tf.float32.as_datatype_enum
    tensor.tensor_shape.CopyFrom(tf.TensorShape([1 << 20, 1 << 20]).as_proto())
    tensor.float_val.append(0)


def hold_an_object(graph):
    tensor = graph.graph_def.node.add(name="thing", op="Const").attr["value"].tensor
    tensor.dtype = tf.variant.as_datatype_enum
    tensor.variant_val.add(type_name="anything")


def leave_the_folder(graph):
    graph.asset_file_def.add(filename="../../../etc/passwd")


def leave_the_folder_as_tensorflow_1_does(graph):
    asset = meta_graph_pb2.AssetFileDef(filename="/etc/passwd")
    graph.collection_def["saved_model_assets"].any_list.value.add().Pack(asset)


def be_a_layer(graph):
    graph.object_graph_def.nodes.add().user_object.identifier = "_tf_keras_layer"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (call_nobody, "PartitionedCall in the main graph calls function ReadFile, which is not there"),
        (hide_an_operation, "function ReadFile is called as an operation is"),
        (blow_up, "constants take 4,398,046,"),
        (hold_an_object, "thing in the main graph is a constant of no array, but an object"),
        (leave_the_folder, "asset '../../../etc/passwd' lies outside of assets/"),
        (leave_the_folder_as_tensorflow_1_does, "asset '/etc/passwd' lies outside of assets/"),
        (be_a_layer, "object _tf_keras_layer: Keras would rebuild it"),
    ],
)
def test_what_else_a_graph_may_not_have(edit, words, copy):
    assert words in problems(edited(copy, edit))


@pytest.mark.parametrize("content", [b"no graph", b"", None])
def test_what_is_no_graph_is_refused(content, copy):
    if content is None:
        (copy / "saved_model.pb").unlink()
        with pytest.raises(ValueError, match="holds no version"):
            export.inspect(copy)
        return
    (copy / "saved_model.pb").write_bytes(content)
    assert "saved_model.pb: " in problems(copy)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "extra: a link, which may lead anywhere"),
        (lambda path: path.symlink_to("/etc"), "extra: a link, which may lead anywhere"),
        (os.mkfifo, "extra: no file, but a pipe, socket or device"),
    ],
)
def test_what_is_no_file_is_not_opened(make, words, copy):
    make(copy / "extra")
    assert export.inspect(copy).problems == (words,)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("saved_model.cpb", "TensorFlow may load it in the place of saved_model.pb"),
        ("keras_metadata.pb", "Keras rebuilds layers from it"),
        ("assets/run.py", "it is code"),
        ("golden/x.PKL", "to load it may run code"),
        ("custom_ops.so", "it is code"),
        ("notes.txt", "no file of a version"),
        ("\x1b[2Jred", "\\x1b[2Jred: no file of a version"),
    ],
)
def test_other_files_are_refused(name, words, copy):
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(b"")
    said = problems(copy)
    assert words in said
    assert "\x1b" not in said


def test_files_are_those_of_the_manifest(copy):
    (copy / "labels.txt").write_text("mine")
    assert export.inspect(copy).problems == ("labels.txt: changed",)
    (copy / "SHA256SUMS").unlink()
    assert export.inspect(copy).problems == ("SHA256SUMS: missing, so nothing can be checked",)


def pickled(path):
    np.savez(path, **{"inputs/array/x": np.array([pickle.dumps("mine")], object)})


def compressed(path):
    np.savez_compressed(path, **{"inputs/array/x": np.zeros(10)})


def too_short(path):
    header = np.lib.format.magic(1, 0) + struct.pack("<H", 118)
    header += b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}".ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inputs/array/x.npy", header)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (pickled, "holds pickles, and to load it may run code"),
        (compressed, "is compressed, and may blow up"),
        (too_short, "is not as long as it says"),
        (lambda path: path.write_bytes(b"PK"), "no arrays of NumPy"),
    ],
)
def test_golden_arrays_are_arrays(write, words, copy):
    write(copy / "golden/row.npz")
    assert f"golden/row.npz: {'' if 'no arrays' in words else 'inputs/array/x.npy '}{words}" in problems(copy)


def predict(signature="row", size=1):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    request.inputs["x"].dtype = tf.float32.as_datatype_enum
    request.inputs["x"].tensor_shape.CopyFrom(tf.TensorShape([size]).as_proto())
    request.inputs["x"].float_val.append(0)
    return log


def session_run():
    log = prediction_log_pb2.PredictionLog()
    log.session_run_log.request.target.append("anything")
    return log


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        ([session_run()], "record 0 is a session_run_log, and no request for an answer"),
        ([predict(), predict("other")], "record 1 asks the signature 'other', which is not there"),
        ([predict(size=1 << 40)], "record 0 has an input 'x' that takes 4,398,046,511,104 bytes"),
        ([predict()] * 1001, "more than 1000 records"),
    ],
)
def test_warm_up_records_ask_the_model(logs, words, copy):
    with tf.io.TFRecordWriter(str(copy / "assets.extra/tf_serving_warmup_requests")) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    assert words in problems(copy)


@pytest.mark.parametrize(
    "content", [b"short", struct.pack("<QI", 1 << 60, 0) + b"x", struct.pack("<QI", 1, 0) + b"\xff1234"]
)
def test_warm_up_records_are_records(content, copy):
    (copy / "assets.extra/tf_serving_warmup_requests").write_bytes(content)
    assert "tf_serving_warmup_requests: " in problems(copy)


def test_an_onnx_companion_stays_within_its_file_and_its_operations(copy):
    import onnx

    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    inner = onnx.helper.make_graph([onnx.helper.make_node("Run", [], ["z"], domain="mine")], "inner", [], [])
    nodes = [onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], [tensor]))
    (copy / "model.onnx").write_bytes(model.SerializeToString())
    said = problems(copy)
    assert "model.onnx: operations of mine, which ONNX does not have" in said
    assert "model.onnx: data that lies in other files" in said
    (copy / "model.onnx").write_bytes(b"\xff\xff")
    assert "model.onnx: no ONNX model" in problems(copy)


@pytest.mark.parametrize(("name", "whose"), [("FlexReadFile", "TensorFlow's"), ("Mine", "somebody's own")])
def test_a_litert_companion_has_litert_s_operations(name, whose, copy):
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = schema.ModelT()
    model.version = 3
    model.operatorCodes = [schema.OperatorCodeT()]
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = name
    (copy / "model.tflite").write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    assert f"model.tflite: operation {name}, which is {whose} and not LiteRT's" in problems(copy)
    (copy / "model.tflite").write_bytes(b"\xff" * 40)
    assert "model.tflite: no LiteRT model" in problems(copy)


def test_the_command_lists_operations_and_tells_by_its_exit_status(strangers, copy, tmp_path):
    def run(*arguments, status=0):
        result = CliRunner().invoke(commands.verify, [*map(str, arguments), "--untrusted"], env={"COLUMNS": "200"})
        assert result.exit_code == status, result.output
        return result.output

    said = run(strangers)
    assert "MatMul" in said
    assert "Nothing stands against it" in said
    record = json.loads(run(strangers, "--json"))
    assert record["ok"] is True
    assert record["operations"]["MatMul"] >= 1

    edited(copy, lambda graph: graph.graph_def.node.add(name="a", op="ReadFile"))
    manifest.write(copy)
    said = run(copy, status=1)
    assert "reads or writes files" in said
    assert "Refused." in said
    record = json.loads(run(copy, "--json", status=1))
    assert record["refused"] == {"ReadFile": "reads or writes files"}
    run(copy, "--rest", "http://127.0.0.1:1", status=2)

    private, public = export.new_key(tmp_path / "release")
    export.sign(copy, private)
    record = json.loads(run(copy, "--json", "--signed-by", public, status=1))
    assert len(record["signed_by"]) == 64
    assert len(record["problems"]) == 1
