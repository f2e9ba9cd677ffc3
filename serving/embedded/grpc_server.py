"""The gRPC side: PredictionService and ModelService of TF Serving, each call in a worker thread."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.message import DecodeError

from serving.embedded.limits import Limits
from serving.embedded.service import Service
from serving.embedded.status import Code, ServingError
from serving.protos import serving_pb2 as pb

log = logging.getLogger(__name__)

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcServer:
    """Serves ``service`` on a port, on a Unix socket, or both. Answers may have any size."""

    def __init__(
        self,
        service: Service,
        num_threads: int,
        limits: Limits,
        *,
        credentials: grpc.ServerCredentials | None = None,
        arguments: Sequence[tuple[str, str | int]] = (),
        has_health: bool = False,
    ):
        """``credentials`` make it TLS; ``arguments`` are further ones of gRPC's channels."""
        self._service = service
        self._credentials = credentials
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._threads,
            options=[
                ("grpc.max_receive_message_length", limits.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # two servers on one port would answer in turn
                ("grpc.max_allowed_incoming_connections", limits.max_connections),
                ("grpc.server_handshake_timeout_ms", int(1000 * limits.head_seconds)),
                ("grpc.max_connection_idle_ms", int(1000 * limits.idle_seconds)),
                *arguments,
            ],
            maximum_concurrent_rpcs=limits.max_connections,
        )
        self._server.add_generic_rpc_handlers((self._prediction_handlers(), self._model_handlers()))
        if has_health:
            from serving.embedded import health

            health.add_to(self._server)

    def start(self, *addresses: str) -> None:
        """Opens each ``host:port`` or ``unix:path``. OSError where one is taken."""
        for address in addresses:
            try:
                if self._credentials:
                    self._server.add_secure_port(address, self._credentials)
                else:
                    self._server.add_insecure_port(address)
            except RuntimeError as error:
                raise OSError(f"cannot listen on {address}: {error}") from None
        self._server.start()

    def stop(self, grace_seconds: float) -> None:
        """Takes no new calls and finishes those under way, for so long."""
        self._server.stop(grace_seconds).wait()

    def _prediction_handlers(self) -> grpc.GenericRpcHandler:
        service = self._service
        return grpc.method_handlers_generic_handler(
            "tensorflow.serving.PredictionService",
            {
                "Predict": self._handler("Predict", service.predict, pb.PredictRequest),
                "Classify": self._handler("Classify", service.classify, pb.ClassificationRequest),
                "Regress": self._handler("Regress", service.regress, pb.RegressionRequest),
                "MultiInference": self._handler("MultiInference", service.multi_inference, pb.MultiInferenceRequest),
                "GetModelMetadata": self._handler(None, service.get_model_metadata, pb.GetModelMetadataRequest),
            },
        )

    def _model_handlers(self) -> grpc.GenericRpcHandler:
        def reload(request: pb.ReloadConfigRequest, context: grpc.ServicerContext) -> pb.ReloadConfigResponse:
            return self._service.handle_reload_config_request(request, lambda: not context.is_active())

        return grpc.method_handlers_generic_handler(
            "tensorflow.serving.ModelService",
            {
                "GetModelStatus": self._handler(None, self._service.get_model_status, pb.GetModelStatusRequest),
                "HandleReloadConfigRequest": self._handler(None, reload, pb.ReloadConfigRequest, with_context=True),
            },
        )

    def _handler(
        self, counted_as: str | None, method: Callable, request_type: type, with_context: bool = False
    ) -> grpc.RpcMethodHandler:
        """``method`` as gRPC calls it; requests are counted under the name ``counted_as``.

        Messages are parsed here: where gRPC's own parsing fails it keeps 17 kB for good, and a trace in the log.
        """

        def call(data: bytes, context: grpc.ServicerContext):
            try:
                request = request_type.FromString(data)
            except DecodeError:
                context.set_code(grpc.StatusCode.INTERNAL)
                context.set_details("Exception deserializing request!")
                return None
            start, code = time.perf_counter(), Code.OK
            try:
                return method(request, context) if with_context else method(request)
            except ServingError as error:
                code, message = error.code, error.message
            except Exception as error:  # a fault of ours must have an answer, and a trace in the log
                log.exception("%s failed", method.__name__)
                code, message = Code.INTERNAL, f"{type(error).__name__}: {error}"
            finally:
                if counted_as:
                    self._service.count(_model_of(request), counted_as, "GRPC", start, code)
            context.set_code(_STATUS_CODES[code])
            context.set_details(message)
            return None

        return grpc.unary_unary_rpc_method_handler(call, response_serializer=_serialize)


def _serialize(response) -> bytes:
    return response.SerializeToString() if response is not None else b""


def _model_of(request) -> str:
    tasks = getattr(request, "tasks", None)
    if tasks is not None:
        return tasks[0].model_spec.name if tasks else ""
    return request.model_spec.name
