"""The gRPC side: PredictionService and ModelService of TF Serving, each call in a worker thread."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError

from serving.embedded.limits import Limits
from serving.embedded.service import Service
from serving.embedded.status import Code, ServingError
from serving.protos import serving_pb2 as pb

log = logging.getLogger(__name__)

SENDING_SECONDS = 0.1
UNIX = "unix:"

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
        self._threads = _Threads(num_threads, thread_name_prefix="grpc")
        self._closed = _Closed()
        self._socket_paths: list[Path] = []
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
        self._server.add_generic_rpc_handlers((self._closed, self._prediction_handlers(), self._model_handlers()))
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
            if address.startswith(UNIX):
                self._socket_paths.append(Path(address.removeprefix(UNIX)))
        self._server.start()

    def stop(self, grace_seconds: float) -> None:
        """Refuses new calls with UNAVAILABLE and finishes those that were taken, for so long.

        The ports close with the process. gRPC's own stop would cancel calls that have come and are not yet taken, and
        say to their callers that they had done it themselves (https://github.com/grpc/grpc/issues/41785): who asks
        again after UNAVAILABLE does not after CANCELLED.
        """
        self._closed.is_closed = True
        for path in self._socket_paths:
            path.unlink(missing_ok=True)
        futures.wait(list(self._threads.unfinished), grace_seconds)
        time.sleep(SENDING_SECONDS)

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


class _Threads(futures.ThreadPoolExecutor):
    """Worker threads that tell what they have not finished."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.unfinished: set[futures.Future] = set()

    def submit(self, *arguments, **options) -> futures.Future:
        """A call to do as soon as a thread is free."""
        future = super().submit(*arguments, **options)
        self.unfinished.add(future)
        future.add_done_callback(self.unfinished.discard)
        return future


class _Closed(grpc.GenericRpcHandler):
    """Asked first about every call. Once ``is_closed`` it takes them all, and refuses them."""

    def __init__(self):
        self.is_closed = False

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Who answers the call; None for the next one to be asked."""
        return grpc.unary_unary_rpc_method_handler(_refuse) if self.is_closed else None


def _refuse(data: bytes, context: grpc.ServicerContext) -> bytes:
    context.set_code(grpc.StatusCode.UNAVAILABLE)
    context.set_details("The server is stopping")
    return b""


def _serialize(response) -> bytes:
    return response.SerializeToString() if response is not None else b""


def _model_of(request) -> str:
    tasks = getattr(request, "tasks", None)
    if tasks is not None:
        return tasks[0].model_spec.name if tasks else ""
    return request.model_spec.name
