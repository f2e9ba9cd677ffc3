"""The HTTP side: aiohttp reads requests and writes responses, ``rest`` answers them.

A call to a worker thread and back costs a small model more than its graph does. So what was quick lately is answered
where it was read, in the event loop, and only the rest in worker threads.
"""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from serving.embedded.rest import Response, RestApi

SHUTDOWN_SECONDS = 10.0
QUICK_SECONDS = 1e-3
QUICK_BODY_BYTES = 4096
_BODY_TOO_LARGE = (
    b"<HTML><HEAD>\n<TITLE>413 Request Entity Too Large</TITLE>\n</HEAD><BODY>\n"
    b"<H1>Request Entity Too Large</H1>\n</BODY></HTML>\n"
)


class RestServer:
    """Serves ``api`` on one port. Bodies over ``api.max_body_bytes`` are refused with 413 before they are kept."""

    def __init__(self, api: RestApi, num_threads: int):
        self._api = api
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="rest")
        self._pace = _Pace()
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Opens the port (0: any free one); the number of it. OSError where it is taken."""
        server = web.Server(
            self._handle,
            request_factory=self._request,
            auto_decompress=False,  # a body that does not inflate has an answer of its own
            access_log=None,
        )
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        await site.start()
        return self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Takes no new connections, finishes the requests under way."""
        if self._runner:
            await self._runner.cleanup()
        self._threads.shutdown(wait=False)

    def _request(self, message, payload, protocol, writer, task) -> web.BaseRequest:
        return web.BaseRequest(
            message,
            payload,
            protocol,
            writer,
            task,
            asyncio.get_running_loop(),
            client_max_size=self._api.max_body_bytes,
        )

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            response = web.Response(status=413, body=_BODY_TOO_LARGE, content_type="text/html")
            response.force_close()
            return response
        call = (request.method, request.raw_path, request.headers, body)
        if not self._api.may_wait and len(body) <= QUICK_BODY_BYTES and self._pace.is_quick(request.raw_path):
            answer = self._answer(*call)
        else:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, *call)
        response = web.Response(
            status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type, **answer.headers}
        )
        if answer.close:
            response.force_close()
        return response

    def _answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        start = time.perf_counter()
        answer = self._api.answer(method, target, headers, body)
        self._pace.record(target, time.perf_counter() - start)
        return answer


class _Pace:
    """How long each target takes: a moving average that a slow call raises at once and quick ones lower by steps."""

    MAX_TARGETS = 1000

    def __init__(self):
        self._seconds: dict[str, float] = {}

    def is_quick(self, target: str) -> bool:
        return self._seconds.get(target, QUICK_SECONDS) < QUICK_SECONDS

    def record(self, target: str, seconds: float) -> None:
        if len(self._seconds) >= self.MAX_TARGETS and target not in self._seconds:
            self._seconds.clear()  # targets come from outside: unknown ones must not fill the memory
        before = self._seconds.get(target, seconds)
        self._seconds[target] = max(seconds, 0.9 * before + 0.1 * seconds)
