"""The REST API: (method, target, headers, body) -> response. No sockets (model_servers/http_rest_api_handler.cc)."""

import logging
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.embedded import inference, json_request, json_response
from serving.embedded.routes import BadVersionError, Route, is_api, parse_route, path_of
from serving.embedded.service import Service, signature_map
from serving.embedded.status import HTTP_STATUS, Code, ServingError, failed_precondition, invalid_argument
from serving.protos import serving_pb2 as pb

log = logging.getLogger(__name__)

JSON = "application/json"
HTML = "text/html; charset=ISO-8859-1"
_CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
_NOT_FOUND_PAGE = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


@dataclass
class Response:
    """An HTTP response before it meets a socket."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False


@dataclass
class RestApi:
    """Answers requests. ``metrics_path`` is where Prometheus scrapes, None for nowhere.

    ``may_wait`` says that one request may wait for another, so that they have to be answered in threads.
    """

    service: Service
    metrics_path: str | None = None
    cors: bool = False
    max_body_bytes: int = 1 << 30
    may_wait: bool = False

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        """The response to a request. ``target`` is the raw one of the request line; ``headers`` ignore case."""
        target = path_of(target)
        if self.metrics_path and target.split("?", 1)[0] == self.metrics_path:
            return self._metrics_page(target)
        if not is_api(target):
            return Response(404, _NOT_FOUND_PAGE, "text/html", close=True)
        response = _preflight(headers) if method == "OPTIONS" else self._call(method, target, headers, body)
        if self.cors:
            response.headers = _CORS_HEADERS
        return response

    def _call(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        start = time.perf_counter()
        route, code = None, Code.OK
        try:
            route = parse_route(method, target)
            response = Response(200, self._dispatch(route, self._unpacked(headers, body)))
        except ServingError as error:
            code = error.code
            response = Response(HTTP_STATUS[code], json_response.error(error.message))
        except BadVersionError:
            code = Code.INVALID_ARGUMENT
            response = Response(HTTP_STATUS[code], b"")
        except RecursionError:
            code = Code.INVALID_ARGUMENT
            response = Response(HTTP_STATUS[code], json_response.error("JSON lists are nested too deeply"))
        except Exception as error:  # a fault of ours must cost one answer, not the connection
            log.exception("%s %s failed", method, target)
            code = Code.INTERNAL
            response = Response(HTTP_STATUS[code], json_response.error(f"{type(error).__name__}: {error}"))
        model, call = (route.spec.name, route.call if method == "POST" else "") if route else ("", "")
        self.service.count(model, call, "REST", start, code)
        return response

    def _dispatch(self, route: Route, body: bytes) -> bytes:
        if route.call == "predict":
            return self._predict(route.spec, body)
        if route.call == "classify":
            return self._classify(route.spec, body)
        if route.call == "regress":
            return self._regress(route.spec, body)
        if not route.spec.name:
            raise invalid_argument("Missing model name in request.")
        if route.call == "metadata":
            return self._metadata(route.spec)
        return json_response.model_status(self.service.core.status(route.spec))

    def _predict(self, spec: pb.ModelSpec, body: bytes) -> bytes:
        request = json_request.parse_document(body)
        with self.service.core.servable(spec) as loaded:
            infos = inference.signature_inputs(loaded.servable, request.signature_name)
            inputs, is_rows = json_request.predict_inputs(request, infos)
            with self.service.timed(loaded, "Predict"):
                outputs = inference.predict(loaded.servable, request.signature_name, inputs)
        return json_response.predictions(outputs) if is_rows else json_response.outputs_object(outputs)

    def _classify(self, spec: pb.ModelSpec, body: bytes) -> bytes:
        request = json_request.parse_document(body)
        examples = json_request.examples(request)
        with self.service.core.servable(spec) as loaded, self.service.timed(loaded, "Classify"):
            self.service.check_method(loaded, request.signature_name, inference.CLASSIFY)
            return json_response.classifications(inference.classify(loaded.servable, request.signature_name, examples))

    def _regress(self, spec: pb.ModelSpec, body: bytes) -> bytes:
        request = json_request.parse_document(body)
        examples = json_request.examples(request)
        with self.service.core.servable(spec) as loaded, self.service.timed(loaded, "Regress"):
            self.service.check_method(loaded, request.signature_name, inference.REGRESS)
            return json_response.regressions(inference.regress(loaded.servable, request.signature_name, examples))

    def _metadata(self, spec: pb.ModelSpec) -> bytes:
        with self.service.core.servable(spec) as loaded:
            return json_response.model_metadata(loaded.model, loaded.version, signature_map(loaded))

    def _metrics_page(self, target: str) -> Response:
        if target != self.metrics_path:
            text = f"Unexpected path: {target}. Should be {self.metrics_path}"
            return Response(400, text.encode("utf-8", "surrogateescape"), "text/plain")
        return Response(200, self.service.metrics.page(), "text/plain")

    def _unpacked(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """The body, inflated if it says that it is gzip. One that does not inflate counts as empty."""
        if not body or "gzip" not in headers.get("Content-Encoding", ""):
            return body
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            inflated = inflater.decompress(body, self.max_body_bytes + 1)
        except zlib.error:
            return b""
        if len(inflated) > self.max_body_bytes:
            raise invalid_argument(f"The request body is larger than {self.max_body_bytes} bytes when inflated")
        return inflated if inflater.eof else b""


def _preflight(headers: Mapping[str, str]) -> Response:
    """CORS asks before it sends: any origin of the web may."""
    origin = headers.get("Origin", "")
    code = Code.OK if "http://" in origin or "https://" in origin else failed_precondition("").code
    return Response(HTTP_STATUS[code], b"", HTML)
