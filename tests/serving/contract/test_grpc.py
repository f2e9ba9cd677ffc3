"""The gRPC API: a generated TF Serving client must get the same messages, codes and texts from this server."""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from serving.protos import serving_pb2 as pb
from serving.tensors import to_array, to_tensor

RESPONSES = {
    "Predict": pb.PredictResponse,
    "Classify": pb.ClassificationResponse,
    "Regress": pb.RegressionResponse,
    "MultiInference": pb.MultiInferenceResponse,
    "GetModelMetadata": pb.GetModelMetadataResponse,
    "GetModelStatus": pb.GetModelStatusResponse,
    "HandleReloadConfigRequest": pb.ReloadConfigResponse,
}
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


class Stub:
    """Any method, by its name."""

    def __init__(self, channel: grpc.Channel):
        self._channel = channel

    def __call__(self, method: str, request):
        service = "ModelService" if method in ("GetModelStatus", "HandleReloadConfigRequest") else "PredictionService"
        serialize = bytes if isinstance(request, bytes) else type(request).SerializeToString
        call = self._channel.unary_unary(
            f"/tensorflow.serving.{service}/{method}",
            request_serializer=serialize,
            response_deserializer=RESPONSES[method].FromString,
        )
        return call(request, timeout=30)

    def error(self, method: str, request) -> tuple[str, str]:
        """(code, details) of a call that must fail."""
        with pytest.raises(grpc.RpcError) as caught:
            self(method, request)
        return caught.value.code().name, caught.value.details()


@pytest.fixture
def stub(contract_server) -> Iterator[Stub]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{contract_server.grpc_port}", options) as channel:
        yield Stub(channel)


def predict(model: str, output_filter=(), signature: str = "", **inputs) -> pb.PredictRequest:
    spec = pb.ModelSpec(name=model, signature_name=signature)
    tensors = {name: value if isinstance(value, pb.TensorProto) else to_tensor(value) for name, value in inputs.items()}
    return pb.PredictRequest(model_spec=spec, inputs=tensors, output_filter=output_filter)


def floats(*values) -> np.ndarray:
    return np.array(values, np.float32)


def examples(*rows: dict) -> pb.Input:
    made = pb.Input()
    made.example_list.SetInParent()
    for row in rows:
        example = made.example_list.examples.add()
        for name, values in row.items():
            example.features.feature[name].float_list.value.extend(values)
    return made


def test_an_answer_names_version_and_signature_and_is_in_the_field_that_clients_read(stub):
    response = stub("Predict", predict("affine", x=floats([1, 2, 3])))
    assert response.model_spec.name == "affine"
    assert response.model_spec.version.value == 2
    assert response.model_spec.signature_name == "serving_default"
    assert list(response.outputs["y"].float_val) == pytest.approx([28.1, -1.7])
    assert not response.outputs["y"].tensor_content


def test_a_label_chooses_a_version(stub):
    request = predict("affine", x=floats([1, 2, 3]))
    request.model_spec.version_label = "stable"
    response = stub("Predict", request)
    assert response.model_spec.version.value == 1
    np.testing.assert_allclose(to_array(response.outputs["y"]), [[14.1, -0.95]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "uint16", "complex64", "int64", "bool"])
def test_dtypes_that_json_has_not_are_answered(stub, dtype):
    array = np.array([[0, 1]], dtype)
    response = stub("Predict", predict("identity", signature=dtype, x=array))
    np.testing.assert_array_equal(to_array(response.outputs["y"]), array)
    assert to_array(response.outputs["y"]).dtype == array.dtype


def test_no_rows_give_no_rows(stub):
    response = stub("Predict", predict("affine", x=np.zeros((0, 3), np.float32)))
    assert to_array(response.outputs["y"]).shape == (0, 2)


def test_messages_may_be_large(stub):
    array = np.arange(3 << 20, dtype=np.float32)
    response = stub("Predict", predict("identity", signature="float32", x=array))
    np.testing.assert_array_equal(to_array(response.outputs["y"]), array)


def test_an_output_filter_leaves_the_others_out(stub):
    request = predict("pair", ["sum"], a=floats([1, 2]), b=np.array([[3]], np.int32))
    assert set(stub("Predict", request).outputs) == {"sum"}


@pytest.mark.parametrize(
    ("request_", "code", "details"),
    [
        (pb.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (predict("", x=floats([1])), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (predict("nope", x=floats([1])), "NOT_FOUND", "Servable not found for request: Latest(nope)"),
        (
            predict("affine", signature="nope", x=floats([1])),
            "FAILED_PRECONDITION",
            'Serving signature key "nope" not found.',
        ),
        (
            predict("affine"),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            predict("affine", x=floats([1]), z=floats([1])),
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
            "Missing but required: {}.",
        ),
        (
            predict("affine", z=floats([1])),
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value "
            "provided. Inputs expected to be in the request {z}, or default input alias set: ",
        ),
        (
            predict("affine", x=np.array([[1, 2, 3]])),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but int64 is provided",
        ),
        (
            predict("affine", x=pb.TensorProto(dtype=pb.DT_FLOAT, tensor_content=b"abc")),
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ),
        (predict("affine", x=pb.TensorProto(dtype=pb.DT_RESOURCE)), "INVALID_ARGUMENT", "tensor parsing error: x"),
        (
            predict("pair", ["sum", "sum"], a=floats([1, 2]), b=np.array([[3]], np.int32)),
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: sum",
        ),
        (
            predict("pair", ["nope"], a=floats([1, 2]), b=np.array([[3]], np.int32)),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: nope Outputs expected to be in the set {prod,sum}.",
        ),
    ],
)
def test_a_wrong_predict_says_what_is_wrong(stub, request_, code, details):
    assert stub.error("Predict", request_) == (code, details)


def test_garbage_is_refused_and_the_server_lives(stub):
    assert stub.error("Predict", b"\xff\xff\xff")[0] == "INTERNAL"
    stub("Predict", predict("affine", x=floats([1, 2, 3])))


def test_classify_and_regress_examples(stub):
    spec = pb.ModelSpec(name="examples")
    response = stub("Classify", pb.ClassificationRequest(model_spec=spec, input=examples({"x": [0.5, 0.25]})))
    (result,) = response.result.classifications
    assert [(item.label, item.score) for item in result.classes] == [("first", 0.5), ("second", 0.25)]
    assert response.model_spec.signature_name == "serving_default"
    spec.signature_name = "regress"
    response = stub("Regress", pb.RegressionRequest(model_spec=spec, input=examples({"x": [0.5, 0.25]})))
    assert [item.value for item in response.result.regressions] == [0.75]


def test_a_context_stands_in_for_what_examples_lack(stub):
    asked = pb.Input()
    asked.example_list_with_context.context.features.feature["x"].float_list.value.extend([1, 2])
    asked.example_list_with_context.examples.add()
    spec = pb.ModelSpec(name="examples", signature_name="regress")
    response = stub("Regress", pb.RegressionRequest(model_spec=spec, input=asked))
    assert [item.value for item in response.result.regressions] == [3]


def test_no_examples_are_refused(stub):
    request = pb.ClassificationRequest(model_spec=pb.ModelSpec(name="examples"), input=examples())
    assert stub.error("Classify", request) == ("INVALID_ARGUMENT", "Input is empty.")


def tasks(*described: tuple[str, str, str]) -> pb.MultiInferenceRequest:
    request = pb.MultiInferenceRequest(input=examples({"x": [0.5, 0.25]}))
    for model, signature, method in described:
        request.tasks.add(model_spec=pb.ModelSpec(name=model, signature_name=signature), method_name=method)
    return request


def test_one_request_may_classify_and_regress(stub):
    response = stub("MultiInference", tasks(("examples", "", CLASSIFY), ("examples", "regress", REGRESS)))
    first, second = response.results
    assert first.classification_result.classifications[0].classes[1].score == 0.25
    assert second.regression_result.regressions[0].value == 0.75
    assert (second.model_spec.signature_name, second.model_spec.version.value) == ("regress", 1)


@pytest.mark.parametrize(
    ("described", "code", "details"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            [("examples", "", CLASSIFY), ("affine", "", CLASSIFY)],
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            [("examples", "", CLASSIFY), ("examples", "", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: serving_default",
        ),
        (
            [("examples", "", "tensorflow/serving/predict")],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_a_wrong_multi_inference_says_what_is_wrong(stub, described, code, details):
    assert stub.error("MultiInference", tasks(*described)) == (code, details)


def test_metadata_holds_the_signatures_under_tf_servings_type(stub):
    request = pb.GetModelMetadataRequest(model_spec=pb.ModelSpec(name="pair"), metadata_field=["signature_def"])
    response = stub("GetModelMetadata", request)
    packed = response.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = pb.SignatureDefMap.FromString(packed.value).signature_def
    assert signatures["serving_default"].inputs["b"].dtype == pb.DT_INT32
    assert response.model_spec.version.value == 1


@pytest.mark.parametrize(
    ("fields", "details"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["signature_def", "foo"], "Metadata field foo is not supported"),
    ],
)
def test_metadata_has_one_field(stub, fields, details):
    request = pb.GetModelMetadataRequest(model_spec=pb.ModelSpec(name="pair"), metadata_field=fields)
    assert stub.error("GetModelMetadata", request) == ("INVALID_ARGUMENT", details)


def test_status_lists_the_newest_first(stub):
    response = stub("GetModelStatus", pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name="affine")))
    assert [(item.version, item.state) for item in response.model_version_status] == [(2, 30), (1, 30)]
    request = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name="nope"))
    assert stub.error("GetModelStatus", request) == ("NOT_FOUND", "Could not find any versions of model nope")


def test_a_reload_that_cannot_be_served_changes_nothing(stub):
    assert stub.error("HandleReloadConfigRequest", pb.ReloadConfigRequest()) == (
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. "
        "Only ModelConfigList is currently supported",
    )
    request = pb.ReloadConfigRequest()
    request.config.model_config_list.config.add(name="z", base_path="z", model_platform="tensorflow")
    assert stub.error("HandleReloadConfigRequest", request) == (
        "INVALID_ARGUMENT",
        "Expected model z to have an absolute path or URI; got base_path()=z",
    )
    stub("Predict", predict("affine", x=floats([1, 2, 3])))
