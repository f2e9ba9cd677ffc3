"""The HTTP side: aiohttp reads requests and writes responses, ``rest`` answers them in worker threads."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from serving.embedded.rest import RestApi

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 10.0
_BODY_TOO_LARGE = (
    b"<HTML><HEAD>\n<TITLE>413 Request Entity Too Large</TITLE>\n</HEAD><BODY>\n"
    b"<H1>Request Entity Too Large</H1>\n</BODY></HTML>\n"
)


class RestServer:
    """Serves ``api`` on one port. Bodies over ``api.max_body_bytes`` are refused with 413 before they are kept."""

    def __init__(self, api: RestApi, num_threads: int):
        self._api = api
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="rest")
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
        answer = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._api.answer, request.method, request.raw_path, request.headers, body
        )
        response = web.Response(
            status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type, **answer.headers}
        )
        if answer.close:
            response.force_close()
        return response
