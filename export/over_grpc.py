"""A server's gRPC API: the official stubs of `tensorflow-serving-api`, with TensorFlow's own conversion of arrays."""

from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.server import TIME_LIMIT, Refused, Server, Tls
from recipes.arrays import Arrays

SECURE = "grpcs://"


class Grpc(Server):
    """TF Serving's gRPC API; `address` is `host:port`, or `grpcs://host:port` over TLS."""

    def __init__(self, address: str, model: str, version: int, tls: Tls | None = None):
        target = address.removeprefix(SECURE)
        if "://" in target or ":" not in target:
            raise ValueError(f"Not the address of a gRPC server: {address!r}. Accepted: host:port, {SECURE}host:port.")
        super().__init__(address, model, version)
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        if tls or target != address:
            channel = grpc.secure_channel(target, _credentials(tls or Tls()), options=unlimited)
        else:
            channel = grpc.insecure_channel(target, options=unlimited)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)

    def predict(self, signature: str, inputs: Arrays, like: Arrays) -> Arrays:
        request = self._addressed(predict_pb2.PredictRequest())
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        try:
            response = self._predictions.Predict(request, timeout=TIME_LIMIT)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise self._silent(error.details()) from error
            raise Refused(f"{error.code().name}: {error.details()}") from error
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

    def _state(self) -> str:
        request = self._addressed(get_model_status_pb2.GetModelStatusRequest())
        try:
            statuses = self._models.GetModelStatus(request, timeout=TIME_LIMIT).model_version_status
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                raise self._lacks(error.details()) from error
            raise self._silent(error.details()) from error
        state = statuses[0].state if statuses else get_model_status_pb2.ModelVersionStatus.UNKNOWN
        return get_model_status_pb2.ModelVersionStatus.State.Name(state)

    def _addressed(self, request):
        request.model_spec.name = self.model
        request.model_spec.version.value = self.version
        return request


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        *(file and Path(file).read_bytes() for file in (tls.ca, tls.key, tls.certificate))
    )
