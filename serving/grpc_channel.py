"""TensorFlow Serving's gRPC API: PredictionService and ModelService over one channel, messages of any size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np

from serving.errors import Failure
from serving.metadata import ModelMetadata, Signature, TensorSpec, VersionStatus, decode_strings, dtype_name, visible
from serving.protos import serving_pb2 as pb
from serving.tensors import dtype_name as data_type_name
from serving.tensors import to_array, to_tensor
from serving.transport import Answer, ModelRef

if TYPE_CHECKING:
    from serving.tls import Tls

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),  # the client retries, within the caller's deadline
    ("grpc.enable_http_proxy", 0),  # REST takes no proxy from the environment either
    ("grpc.use_local_subchannel_pool", 1),  # a client's connection is its own
    # a restarted server is found again within a second, not after gRPC's two minutes
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class GrpcTransport:
    """``host:port`` or ``unix:/path``. If ``blocking``, thread-safe; else to be made where its event loop runs."""

    tells_version = True

    def __init__(self, address: str, tls: Tls | None, *, blocking: bool):
        self.address = f"grpcs://{address}" if tls and not address.startswith("unix:") else address
        self._blocking = blocking
        api = grpc if blocking else grpc.aio
        if tls:
            self._channel = api.secure_channel(address, _credentials(tls), options=_OPTIONS + _named(address))
        else:
            self._channel = api.insecure_channel(address, options=_OPTIONS)
        self._predict = self._method("PredictionService/Predict", pb.PredictRequest, pb.PredictResponse)
        self._metadata = self._method(
            "PredictionService/GetModelMetadata", pb.GetModelMetadataRequest, pb.GetModelMetadataResponse
        )
        self._status = self._method("ModelService/GetModelStatus", pb.GetModelStatusRequest, pb.GetModelStatusResponse)
        self._reload = self._method(
            "ModelService/HandleReloadConfigRequest", pb.ReloadConfigRequest, pb.ReloadConfigResponse
        )

    async def predict(
        self, model: ModelRef, signature_name: str, signature: Signature, inputs: dict[str, np.ndarray], timeout: float
    ) -> Answer:
        request = encode_request(model, signature_name, inputs)
        return decode_answer(await self._call(self._predict, request, timeout))

    async def metadata(self, model: ModelRef, timeout: float) -> ModelMetadata:
        request = pb.GetModelMetadataRequest(model_spec=model_spec(model), metadata_field=["signature_def"])
        return parse_metadata(await self._call(self._metadata, request, timeout))

    async def status(self, model: ModelRef, timeout: float) -> tuple[VersionStatus, ...]:
        request = pb.GetModelStatusRequest(model_spec=model_spec(model))
        return parse_status(await self._call(self._status, request, timeout))

    async def reload(self, config: pb.ModelServerConfig, timeout: float) -> None:
        await self._call(self._reload, pb.ReloadConfigRequest(config=config), timeout)

    async def close(self) -> None:
        closing = self._channel.close()
        if not self._blocking:
            await closing

    def _method(self, path: str, request: type, response: type):
        return self._channel.unary_unary(
            f"/tensorflow.serving.{path}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    async def _call(self, method, request, timeout: float):
        try:
            call = method(request, timeout=timeout)
            return call if self._blocking else await call
        except grpc.RpcError as error:
            raise Failure(error.code().name, error.details() or "") from None


def model_spec(model: ModelRef, signature_name: str = "") -> pb.ModelSpec:
    spec = pb.ModelSpec(name=model.name, signature_name=signature_name)
    if model.version is not None:
        spec.version.value = model.version
    elif model.label is not None:
        spec.version_label = model.label
    return spec


def encode_request(model: ModelRef, signature_name: str, inputs: dict[str, np.ndarray]) -> pb.PredictRequest:
    request = pb.PredictRequest(model_spec=model_spec(model, signature_name))
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(to_tensor(array))
    return request


def decode_answer(response: pb.PredictResponse) -> Answer:
    outputs = {name: _output_array(name, tensor) for name, tensor in sorted(response.outputs.items())}
    return Answer(response.model_spec.version.value, outputs)


def parse_metadata(response: pb.GetModelMetadataResponse) -> ModelMetadata:
    signatures = pb.SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
    return ModelMetadata(
        name=response.model_spec.name,
        version=response.model_spec.version.value,
        signatures=visible({name: _parse_signature(signature) for name, signature in signatures.items()}),
    )


def parse_status(response: pb.GetModelStatusResponse) -> tuple[VersionStatus, ...]:
    return tuple(
        VersionStatus(status.version, pb.ModelVersionStatus.State.Name(status.state), status.status.error_message)
        for status in response.model_version_status
    )


def _parse_signature(signature: pb.SignatureDef) -> Signature:
    return Signature(
        inputs={name: _parse_spec(info) for name, info in sorted(signature.inputs.items())},
        outputs={name: _parse_spec(info) for name, info in sorted(signature.outputs.items())},
        method_name=signature.method_name,
        defaults=frozenset(signature.defaults),
    )


def _parse_spec(info: pb.TensorInfo) -> TensorSpec:
    sizes = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(dtype_name(data_type_name(info.dtype)), None if info.tensor_shape.unknown_rank else sizes)


def _output_array(name: str, tensor: pb.TensorProto) -> np.ndarray:
    try:
        array = to_array(tensor)
    except ValueError as error:
        raise Failure("UNIMPLEMENTED", f"output {name!r} cannot be read: {error}") from None
    if array.dtype == object:
        return decode_strings(name, array)
    return array if array.flags.writeable else array.copy()  # REST's arrays can be written to, so can these


def _named(address: str) -> tuple[tuple[str, str], ...]:
    """A socket has no host whose name a certificate could have: it is this machine's."""
    return (("grpc.ssl_target_name_override", "localhost"),) if address.startswith("unix:") else ()


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    ca, key, certificate = (path and Path(path).read_bytes() for path in (tls.ca, tls.key, tls.certificate))
    return grpc.ssl_channel_credentials(ca, key, certificate)
