"""Servers that do as they are told: they fail in a given order, then answer."""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc

from serving.errors import CODE_OF_HTTP_STATUS
from serving.protos import serving_pb2 as pb

OK = "OK"


class Scripted:
    """A server that fails with each of ``script`` in turn, then answers. ``asked`` counts the requests.

    ``peers`` are the other ends of its connections.
    """

    def __init__(self, script: list[str], delay: float = 0.0):
        self.script = list(script)
        self.delay = delay
        self.asked = 0
        self.peers = set()

    def next(self, peer: object) -> str:
        self.asked += 1
        self.peers.add(peer)
        time.sleep(self.delay)
        return self.script.pop(0) if self.script else OK


def over_rest(state: Scripted, tls: ssl.SSLContext | None = None) -> tuple[str, Callable[[], None]]:
    """The address of a server that knows only models' status, and what stops it."""
    status_of = {code: status for status, code in reversed(CODE_OF_HTTP_STATUS.items())}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections

        def do_GET(self):
            outcome = state.next(self.client_address)
            if outcome == OK:
                status, reply = 200, {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}
            else:
                status, reply = status_of[outcome], {"error": f"scripted {outcome}"}
            body = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # the client gave up waiting
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close():
        server.shutdown()
        server.server_close()

    return f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", close


def over_grpc(state: Scripted, tls: grpc.ServerCredentials | None = None) -> tuple[str, Callable[[], None]]:
    """The same over gRPC."""

    def status(_request, context):
        outcome = state.next(context.peer())
        if outcome != OK:
            context.abort(grpc.StatusCode[outcome], f"scripted {outcome}")
        available = pb.ModelVersionStatus(version=1, state=pb.ModelVersionStatus.AVAILABLE)
        return pb.GetModelStatusResponse(model_version_status=[available])

    handler = grpc.unary_unary_rpc_method_handler(
        status, pb.GetModelStatusRequest.FromString, pb.GetModelStatusResponse.SerializeToString
    )
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service = grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", {"GetModelStatus": handler})
    server.add_generic_rpc_handlers([service])
    anywhere = "127.0.0.1:0"
    port = server.add_secure_port(anywhere, tls) if tls else server.add_insecure_port(anywhere)
    server.start()
    return f"{'grpcs' if tls else 'grpc'}://127.0.0.1:{port}", lambda: server.stop(0)
