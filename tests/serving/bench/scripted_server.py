"""A server whose answers and delays a test decides: REST and gRPC on loopback, in a thread of its own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import grpc
from aiohttp import web

from serving.errors import CODE_OF_HTTP_STATUS

_STATUS = {code: status for status, code in reversed(CODE_OF_HTTP_STATUS.items())} | {"OK": 200}


async def at_once() -> str:
    return "OK"


class ScriptedServer:
    """``script`` is awaited for each request and gives the code to answer with; ``bodies`` are those that came."""

    def __init__(self):
        self.script: Callable[[], Awaitable[str]] = at_once
        self.bodies: list[bytes] = []
        self.page: str | None = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._call(self._start())

    def address(self, api: str) -> str:
        return self.rest_url if api == "REST" else self.grpc_address

    def close(self) -> None:
        """Ends at once, and breaks what is under way."""
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _call(self, coroutine) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._predict)
        app.router.add_get("/monitoring/prometheus/metrics", self._metrics)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.rest_url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        self._grpc = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(self._predict_grpc)
        self._grpc.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": method})]
        )
        self.grpc_address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        await self._grpc.start()

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._grpc.stop(None)

    async def _predict(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        return web.Response(status=_STATUS[await self.script()])

    async def _predict_grpc(self, body: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.bodies.append(body)
        code = await self.script()
        if code != "OK":
            await context.abort(grpc.StatusCode[code])
        return b""

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self.page) if self.page is not None else web.Response(status=404)
