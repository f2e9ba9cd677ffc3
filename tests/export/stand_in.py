"""A stand-in for TF Serving, just large enough to replay a proof at: one SavedModel over REST and gRPC."""

import base64
import json
import ssl
import threading
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


@contextmanager
def serving(version, name, spoil=lambda outputs: outputs, certificate=None):
    """Serve a version; gives the addresses of REST and gRPC. `spoil` may change what is answered.

    With trustme's `certificate` it is served over TLS.
    """
    signatures = tf.saved_model.load(str(version.path)).signatures

    def answer(signature, inputs):
        outputs = signatures[signature](**{key: tf.constant(value) for key, value in inputs.items()})
        return spoil({key: tensor.numpy() for key, tensor in outputs.items()})

    http = ThreadingHTTPServer(("127.0.0.1", 0), _rest_handler(f"/v1/models/{name}/versions/{version.number}", answer))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = _Grpc(name, version.number, answer)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(servicer, server)
    if certificate:
        chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
        credentials = grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    http_scheme, grpc_scheme = ("https://", "grpcs://") if certificate else ("http://", "")
    try:
        yield {"rest": f"{http_scheme}127.0.0.1:{http.server_port}", "grpc": f"{grpc_scheme}127.0.0.1:{port}"}
    finally:
        http.shutdown()
        http.server_close()
        server.stop(None)


def _rest_handler(path, answer):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._reply(self.path == path, {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            inputs = {key: _array(value) for key, value in body["inputs"].items()}
            try:
                outputs = {key: _plain(array) for key, array in answer(body["signature_name"], inputs).items()}
            except Exception as error:
                return self._reply(False, {}, 400, str(error))
            outputs = next(iter(outputs.values())) if len(outputs) == 1 else outputs
            return self._reply(self.path == f"{path}:predict", {"outputs": outputs})

        def _reply(self, found, value, status=404, error="Servable not found"):
            data = json.dumps(value if found else {"error": error}).encode()
            self.send_response(200 if found else status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    return Handler


def _array(value):
    if isinstance(value[0], dict):
        return np.array([base64.b64decode(item["b64"]) for item in value], object)
    return np.array(value, np.float32)


def _plain(array):
    return array.astype(str).tolist() if array.dtype == object else array.tolist()


class _Grpc(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, name, number, answer):
        self.name, self.number, self.answer = name, number, answer

    def GetModelStatus(self, request, context):  # noqa: N802
        if (request.model_spec.name, request.model_spec.version.value) != (self.name, self.number):
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found")
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        status = get_model_status_pb2.ModelVersionStatus(version=self.number, state=available)
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=[status])

    def Predict(self, request, context):  # noqa: N802
        inputs = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        try:
            outputs = self.answer(request.model_spec.signature_name, inputs)
        except Exception as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        for key, array in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(array))
        return response
