"""Serves the page, and forwards what it asks to a model server, over REST or gRPC.

    with Playground("http://127.0.0.1:8501", {"lenet5": Path("served/lenet5")}) as playground:
        print(playground.url)

The page and the model server have different origins; so that neither needs to know of the other, requests go through
here. Whoever reaches the playground reaches the models: it listens on loopback unless told otherwise, and then answers
no request that a foreign page has led a browser to (no other host name, no body but JSON).
"""

import asyncio
import contextlib
import ipaddress
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from serving import version_folder
from serving.async_client import AsyncClient
from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServingError,
    Unavailable,
    Unsupported,
)
from serving.lines import curl_line, python_lines
from serving.metadata import ModelMetadata, nearest
from serving.playground.forms import describe
from serving.playground.json_values import with_bytes
from serving.playground.views import told, views

if TYPE_CHECKING:
    from serving.tls import Tls

LARGEST_BODY = 64 * 2**20
SHUTDOWN_SECONDS = 2.0

_PAGE = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_STATUSES = {
    InvalidInput: 400,
    ModelNotFound: 404,
    Overloaded: 429,
    Unsupported: 501,
    Unavailable: 503,
    DeadlineExceeded: 504,
}
_OTHER_FAILURE = 502


class Playground:
    """The page for ``models``, each with its base path or version folder where one is at hand, served from a thread.

    ``target`` is the model server's address and ``tls`` how it is known, as ``Client`` takes them. ``port`` 0 is a free
    one. ``timeout`` is that of a request, in seconds.

    Raises ValueError for a target that is no address or a host that is none, OSError where the port is taken.
    """

    def __init__(
        self,
        target: str,
        models: Mapping[str, Path | None],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        timeout: float = 60.0,
        tls: "Tls | None" = None,
    ):
        host = "127.0.0.1" if host == "localhost" else host
        self._host = ipaddress.ip_address(host)
        self._asked = _Asked(target.rstrip("/"), dict(models), tls)
        self._connect = lambda: AsyncClient(target, timeout=timeout, tls=tls)
        self._ends: Callable[[], object] = lambda: None
        started: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(port, started)), daemon=True)
        self._thread.start()
        self.url = f"http://{self._authority(started.result())}"

    def stop(self) -> None:
        """Takes no more requests, and returns when those under way are answered, or have had two seconds for it."""
        self._ends()
        self._thread.join()

    def __enter__(self) -> "Playground":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def _authority(self, port: int) -> str:
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(self._host), str(self._host))
        return f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"

    async def _run(self, port: int, started: Future[int]) -> None:
        """The life of the server, in its own event loop."""
        end, loop = asyncio.Event(), asyncio.get_running_loop()
        self._ends = lambda: loop.call_soon_threadsafe(end.set)
        async with contextlib.AsyncExitStack() as stack:
            try:
                client = await stack.enter_async_context(self._connect())
                local_only = self._host.is_loopback
                page = application(client, self._asked, local_only=local_only)
                runner = web.AppRunner(page, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
                stack.push_async_callback(runner.cleanup)
                await runner.setup()
                await web.TCPSite(runner, str(self._host), port).start()
            except Exception as error:
                started.set_exception(error)
                return
            started.set_result(runner.addresses[0][1])
            await end.wait()


@dataclass(frozen=True)
class _Asked:
    """Whom the page asks, what is known of each model, and how the server is known over TLS."""

    address: str
    models: Mapping[str, Path | None]
    tls: "Tls | None"

    def path(self, model: str) -> Path | None:
        if model not in self.models:
            known = ", ".join(self.models)
            raise web.HTTPNotFound(text=f"No model {model!r} here. There is: {known}{nearest(model, self.models)}")
        return self.models[model]


def application(client: AsyncClient, asked: _Asked, *, local_only: bool) -> web.Application:
    """The page, the models that it lists, and what it asks of them."""

    async def listed(request: web.Request) -> web.Response:
        return _json({"models": list(asked.models), "address": asked.address})

    async def described(request: web.Request) -> web.Response:
        name = request.match_info["model"]
        path = asked.path(name)
        metadata = await client.metadata(name)
        return _json(await asyncio.to_thread(describe, metadata, path))

    async def answered(request: web.Request) -> web.Response:
        name = request.match_info["model"]
        path = asked.path(name)
        question = _Question.read(await request.text())
        return _json(await _answer(client, asked, name, path, question))

    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_guard(local_only), _readable_errors])
    app.add_routes(
        [
            web.get("/", _page_file),
            web.get("/page/{file}", _page_file),
            web.get("/api/models", listed),
            web.get("/api/models/{model}", described),
            web.post("/api/models/{model}", answered),
        ]
    )
    return app


@dataclass(frozen=True)
class _Question:
    """What the page sends: inputs as TensorFlow Serving's REST takes them, and names of the files that they are of."""

    signature: str
    inputs: dict[str, object]
    files: dict[str, str]

    @classmethod
    def read(cls, text: str) -> "_Question":
        try:
            body = json.loads(text)
            question = cls(body["signature"], body["inputs"], body.get("files", {}))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(f"A question is JSON with signature and inputs. Received: {text[:200]!r}") from None
        if not (isinstance(question.signature, str) and isinstance(question.inputs, dict)) or not (
            isinstance(question.files, dict) and all(isinstance(name, str) for name in question.files.values())
        ):
            raise ValueError(f"signature is a string, inputs and files are objects. Received: {text[:200]!r}")
        return question


async def _answer(
    client: AsyncClient, asked: _Asked, model: str, path: Path | None, question: _Question
) -> dict[str, object]:
    inputs = {name: with_bytes(value) for name, value in question.inputs.items()}
    metadata = await client.metadata(model)  # before the clock starts: it is then known to the client, too
    began = time.perf_counter()
    outputs = await client.predict(model, inputs, signature=question.signature)
    seconds = time.perf_counter() - began
    signature = metadata.signature(question.signature)
    request = asked.address, model, question.signature, question.inputs, question.files, asked.tls
    return {
        "version": metadata.version,
        "milliseconds": round(seconds * 1000, 2),
        "views": views(outputs, _labels(path, metadata)),
        "outputs": told(outputs, signature),
        "curl": curl_line(*request) if asked.address.startswith("http") else None,
        "python": python_lines(*request),
    }


def _labels(path: Path | None, metadata: ModelMetadata) -> list[str]:
    return version_folder.labels(version_folder.find(path, metadata.version)) if path else []


async def _page_file(request: web.Request) -> web.Response:
    name = request.match_info.get("file", "index.html")
    file = next((file for file in _PAGE.iterdir() if file.name == name and file.suffix in _TYPES), None)
    if file is None:
        raise web.HTTPNotFound(text=f"No such file of the page: {name}")
    return web.Response(body=file.read_bytes(), content_type=_TYPES[file.suffix], charset="utf-8")


def _guard(local_only: bool) -> Callable:
    """Refuses what a foreign page has led a browser to: another host's name for this one, and any body but JSON."""

    @web.middleware
    async def guard(request: web.Request, handler: Callable) -> web.StreamResponse:
        if local_only and not _is_local(request.host):
            raise web.HTTPForbidden(text=f"This listens on loopback only, and is no host {request.host}.")
        if request.method == "POST" and request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="A question is sent as application/json.")
        response = await handler(request)
        response.headers.update(_HEADERS)
        return response

    return guard


def _is_local(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    return False


@web.middleware
async def _readable_errors(request: web.Request, handler: Callable) -> web.StreamResponse:
    """Errors as JSON, for the page to show their words."""
    try:
        return await handler(request)
    except ServingError as error:
        return _json({"error": str(error), "kind": type(error).__name__}, _STATUSES.get(type(error), _OTHER_FAILURE))
    except ValueError as error:
        return _json({"error": str(error), "kind": "InvalidInput"}, 400)
    except web.HTTPRequestEntityTooLarge:
        return _json({"error": f"More than {LARGEST_BODY >> 20} MiB are not sent.", "kind": "InvalidInput"}, 413)
    except web.HTTPNotFound as error:
        return _json({"error": error.text, "kind": "NotFound"}, 404)


def _json(value: object, status: int = 200) -> web.Response:
    return web.json_response(value, status=status)
