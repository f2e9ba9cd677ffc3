"""The HTTP side: aiohttp reads requests and writes responses, ``rest`` answers them.

A call to a worker thread and back costs a small model more than its graph does. So what was quick lately is answered
where it was read, in the event loop, and only the rest in worker threads.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from aiohttp import StreamReader, web

from serving.embedded import json_response
from serving.embedded.connections import ConnectionServer, closing_response
from serving.embedded.limits import Limits
from serving.embedded.rest import Response, RestApi
from serving.embedded.status import HTTP_STATUS, Code

SHUTDOWN_SECONDS = 10.0
QUICK_SECONDS = 1e-3
QUICK_BODY_BYTES = 4096


class RestServer:
    """Serves ``api`` on one port, within ``limits``: a body that is too large or comes too slowly is not kept."""

    def __init__(self, api: RestApi, num_threads: int, limits: Limits):
        self._api = api
        self._limits = limits
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="rest")
        self._pace = _Pace()
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Opens the port (0: any free one); the number of it. OSError where it is taken."""
        server = ConnectionServer(self._handle, self._limits)
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

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        request.protocol.begin(request.content)
        try:
            body = await self._body(request)
        except _BodyRefused as refused:
            return closing_response(*refused.args)
        call = (request.method, request.raw_path, request.headers, body)
        if not self._api.may_wait and len(body) <= QUICK_BODY_BYTES and self._pace.is_quick(request.raw_path):
            answer = self._answer(*call)
        else:
            answer = await self._answer_in_thread(call)
        response = web.Response(
            status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type, **answer.headers}
        )
        if answer.close:
            response.force_close()
        return response

    async def _body(self, request: web.BaseRequest) -> bytes:
        """The body, whole. Raises _BodyRefused as soon as it is known to be too large, or to come too slowly."""
        content = request.content
        if content.is_eof():  # it came with the head, as small ones do
            body = content.read_nowait()
            self._check_size(len(body))
            return body
        self._check_size(request.content_length or 0)
        body = bytearray()
        try:
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # the answer itself has not begun
            async for part in self._parts(content):
                body += part
                self._check_size(len(body))
        except TimeoutError:
            raise _BodyRefused(408, self._too_slow(len(body))) from None
        except (
            web.RequestPayloadError,
            ConnectionError,
            RuntimeError,
        ) as error:  # the last of a connection that is gone
            content.feed_eof()  # there is nothing to read on to
            raise _BodyRefused(400, f"The body of the request has no end: {error}") from None
        return bytes(body)

    def _check_size(self, num_bytes: int) -> None:
        limit = self._limits.max_body_bytes
        if num_bytes > limit:
            raise _BodyRefused(413, f"The body of the request has more than {limit} bytes (--max_request_bytes)")

    async def _parts(self, content: StreamReader) -> AsyncIterator[bytes]:
        """The parts of a body as they come. TimeoutError where they come too slowly: each buys time, but none for later
        than ``head_seconds`` from now.
        """
        limits, now = self._limits, asyncio.get_running_loop().time
        deadline = now() + limits.head_seconds
        while not content.at_eof():
            async with asyncio.timeout_at(deadline):
                part = await content.readany()
            yield part
            bought = len(part) / max(1, limits.min_bytes_per_second)
            deadline = min(deadline + bought, now() + limits.head_seconds)

    def _too_slow(self, num_bytes: int) -> str:
        return (
            f"After {num_bytes} bytes the body of the request came too slowly. Accepted: "
            f"{self._limits.min_bytes_per_second} bytes a second (--min_body_bytes_per_second)"
        )

    async def _answer_in_thread(self, call: tuple) -> Response:
        try:
            async with asyncio.timeout(self._limits.answer_seconds or None):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, *call)
        except TimeoutError:
            message = f"No answer within {self._limits.answer_seconds:g} s (--rest_api_timeout_in_ms)"
            return Response(HTTP_STATUS[Code.DEADLINE_EXCEEDED], json_response.error(message))

    def _answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        start = time.perf_counter()
        answer = self._api.answer(method, target, headers, body)
        self._pace.record(target, time.perf_counter() - start)
        return answer


class _BodyRefused(Exception):
    """(status, why)"""


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
