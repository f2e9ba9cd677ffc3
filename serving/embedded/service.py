"""The calls of PredictionService and ModelService: request message in, response message out, ServingError for the rest.

Knows nothing of gRPC: a request arrives parsed, and the answer is a message. REST shares everything but the messages.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.embedded import inference
from serving.embedded.core import Core
from serving.embedded.manager import LoadedVersion
from serving.embedded.metrics import Metrics
from serving.embedded.status import Code, ServingError, invalid_argument
from serving.protos import serving_pb2 as pb
from serving.tensors import fill_tensor

SIGNATURE_DEF = "signature_def"
_SIGNATURE_DEF_MAP_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
_KIND_OF_METHOD = {inference.CLASSIFY: "classification", inference.REGRESS: "regression"}


class Service:
    """One method for each call.

    ``tensor_content`` says how predict sends numbers back; with ``checks_methods`` a signature is classified and
    regressed with only where it says that it is for that.
    """

    def __init__(self, core: Core, metrics: Metrics, tensor_content: bool = False, checks_methods: bool = False):
        self.core = core
        self.metrics = metrics
        self._as_values = not tensor_content
        self._checks_methods = checks_methods

    def predict(self, request: pb.PredictRequest) -> pb.PredictResponse:
        """Runs a signature on tensors."""
        _require_spec(request)
        spec = request.model_spec
        with self.core.servable(spec) as loaded, self.timed(loaded, "Predict"):
            outputs = inference.predict_tensors(
                loaded.servable, spec.signature_name, request.inputs, list(request.output_filter)
            )
        response = pb.PredictResponse()
        _describe(loaded, spec, response.model_spec)
        for name, array in outputs.items():
            fill_tensor(response.outputs[name], array, self._as_values)
        return response

    def classify(self, request: pb.ClassificationRequest) -> pb.ClassificationResponse:
        """Runs a classification signature on examples."""
        _require_spec(request)
        with self.core.servable(request.model_spec) as loaded, self.timed(loaded, "Classify"):
            self.check_method(loaded, request.model_spec.signature_name, inference.CLASSIFY)
            result = inference.classify(loaded.servable, request.model_spec.signature_name, request.input)
        response = pb.ClassificationResponse(result=result)
        _describe(loaded, request.model_spec, response.model_spec)
        return response

    def regress(self, request: pb.RegressionRequest) -> pb.RegressionResponse:
        """Runs a regression signature on examples."""
        _require_spec(request)
        with self.core.servable(request.model_spec) as loaded, self.timed(loaded, "Regress"):
            self.check_method(loaded, request.model_spec.signature_name, inference.REGRESS)
            result = inference.regress(loaded.servable, request.model_spec.signature_name, request.input)
        response = pb.RegressionResponse(result=result)
        _describe(loaded, request.model_spec, response.model_spec)
        return response

    def multi_inference(self, request: pb.MultiInferenceRequest) -> pb.MultiInferenceResponse:
        """Runs several signatures of one model on the same examples. The first task names the version."""
        spec = request.tasks[0].model_spec if request.tasks else pb.ModelSpec()
        with self.core.servable(spec) as loaded, self.timed(loaded, "MultiInference"):
            for task in request.tasks:
                self.check_method(loaded, task.model_spec.signature_name, task.method_name)
            results = inference.multi_inference(loaded.servable, request.tasks, request.input)
        response = pb.MultiInferenceResponse()
        for task, result in zip(request.tasks, results, strict=True):
            into = response.results.add()
            _describe(loaded, task.model_spec, into.model_spec)
            is_classification = isinstance(result, pb.ClassificationResult)
            (into.classification_result if is_classification else into.regression_result).CopyFrom(result)
        return response

    def get_model_metadata(self, request: pb.GetModelMetadataRequest) -> pb.GetModelMetadataResponse:
        """The signatures of a version that is available."""
        _require_spec(request)
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != SIGNATURE_DEF:
                raise invalid_argument(f"Metadata field {name} is not supported")
        response = pb.GetModelMetadataResponse()
        with self.core.servable(request.model_spec) as loaded:
            signatures = signature_map(loaded)
        response.model_spec.name = loaded.model
        response.model_spec.version.value = loaded.version
        response.metadata[SIGNATURE_DEF].type_url = _SIGNATURE_DEF_MAP_URL
        response.metadata[SIGNATURE_DEF].value = signatures.SerializeToString()
        return response

    def get_model_status(self, request: pb.GetModelStatusRequest) -> pb.GetModelStatusResponse:
        """The states of a model's versions."""
        _require_spec(request)
        return self.core.status(request.model_spec)

    def handle_reload_config_request(
        self, request: pb.ReloadConfigRequest, is_cancelled: Callable[[], bool] = lambda: False
    ) -> pb.ReloadConfigResponse:
        """Replaces the whole configuration and waits until every new model has an answer, or nobody waits for it."""
        if request.config.WhichOneof("config") is None:
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        self.core.wait_until_settled(self.core.configure(request.config), is_cancelled, what="model(s)")
        response = pb.ReloadConfigResponse()
        response.status.SetInParent()
        return response

    def check_method(self, loaded: LoadedVersion, signature_name: str, method: str) -> None:
        """INVALID_ARGUMENT for a signature that is not for ``method``, where the server was told to look."""
        signature = loaded.servable.signatures.get(signature_name or inference.DEFAULT_SIGNATURE)
        kind = _KIND_OF_METHOD.get(method)
        if self._checks_methods and kind and signature is not None and signature.method_name != method:
            raise invalid_argument(
                f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}"
            )

    @contextmanager
    def timed(self, loaded: LoadedVersion, call: str) -> Iterator[None]:
        """Counts the time in the graph when it ends well."""
        start = time.perf_counter()
        yield
        microseconds = (time.perf_counter() - start) * 1e6
        self.metrics.runtime_latency.record(loaded.model, call, "TF1", value=microseconds)

    def count(self, model: str, call: str, entrypoint: str, start: float, code: Code) -> None:
        """Counts a request that began at ``start`` (``time.perf_counter``), and its latency if it ended well.

        Models that nobody ever configured are counted as one without a name: there is no end to them.
        """
        self.metrics.requests.add(model if self.core.manager.knows(model) else "", code.name)
        if code == Code.OK:
            microseconds = (time.perf_counter() - start) * 1e6
            self.metrics.request_latency.record(model, call, entrypoint, value=microseconds)


def signature_map(loaded: LoadedVersion) -> pb.SignatureDefMap:
    """The signatures of a loaded version as one message."""
    return pb.SignatureDefMap(signature_def=loaded.servable.signatures)


def _require_spec(request) -> None:
    if not request.HasField("model_spec"):
        raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")


def _describe(loaded: LoadedVersion, asked: pb.ModelSpec, into: pb.ModelSpec) -> None:
    """The name and signature that were asked for, and the version that answered."""
    into.name = asked.name
    into.version.value = loaded.version
    into.signature_name = asked.signature_name or inference.DEFAULT_SIGNATURE
