"""HTTP connections that nobody holds for nothing: how many, how long without a word, how slowly.

aiohttp reads and writes HTTP. Here is what it leaves open: that there is an end to the number of connections, and to
the time that the head of a request may take to come. Where the number is reached, the connection that has waited for
longest makes room; where every one has a request under way, the new one is told so. And a server that stops reads the
bodies that are on their way, which aiohttp's drops.
"""

import asyncio
import contextlib
import socket

from aiohttp import StreamReader, web

from serving.embedded import json_response
from serving.embedded.limits import Limits

LINGER_SECONDS = 2.0
MAX_LINGERING = 100
SWEEP_SECONDS = 1.0
LOOK_SECONDS = 0.01


class ConnectionServer(web.Server):
    """aiohttp's server with ``Connection`` in the place of its own."""

    def __init__(self, handler, limits: Limits, **options):
        super().__init__(handler, **options)
        self.limits = limits
        self.waiting: dict[Connection, None] = {}  # those without a request under way, the longest waiting first
        self.num_connections = self.num_lingering = 0
        self.is_stopping = False
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    def __call__(self) -> "Connection":
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self.limits.idle_seconds,
            auto_decompress=False,  # a body that does not inflate has an answer of its own
            access_log=None,
        )

    def has_room(self) -> bool:
        """Whether one more connection may be held, if need be in the place of one that waits."""
        if self.num_connections < self.limits.max_connections:
            return True
        longest_waiting = next(iter(self.waiting), None)
        if longest_waiting is None:
            return False
        del self.waiting[longest_waiting]
        longest_waiting.force_close()
        return True

    def pre_shutdown(self) -> None:
        """Ends the connections that wait. The others are still listened to: the rest of a body may be to come."""
        self.is_stopping = True
        for connection in self.waiting:
            connection.force_close()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Ends every connection, after the requests under way, or so many seconds from now."""
        self._sweeping.cancel()
        now = asyncio.get_running_loop().time
        end = now() + (timeout or 0.0)
        while now() < end and any(connection not in self.waiting for connection in self.connections):
            await asyncio.sleep(LOOK_SECONDS)
        await super().shutdown(LOOK_SECONDS)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for connection in list(self.waiting):
                if connection.is_late(now):
                    connection.refuse(408, f"The head of the request took over {self.limits.head_seconds:g} s to come")


class Connection(web.RequestHandler):
    """One connection. It waits, or it has a request under way: from ``begin`` until the answer is written."""

    __slots__ = ("_asked_at", "_body", "_server")

    def __init__(self, server: ConnectionServer, **options):
        super().__init__(server, **options)
        self._server = server
        self._asked_at = 0.0
        self._body: StreamReader | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Takes the connection, or says that there are too many."""
        has_room = self._server.has_room()
        self._server.num_connections += 1
        if not has_room:
            self.transport = transport
            self.refuse(503, f"{self._server.limits.max_connections} connections have a request under way")
            return
        super().connection_made(transport)
        _give_up_on_silent_readers(transport, self._server.limits.head_seconds)
        self._asked_at = self._loop.time()
        self._server.waiting[self] = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.waiting.pop(self, None)
        self._server.num_connections -= 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._asked_at:
            self._asked_at = self._loop.time()
        super().data_received(data)
        if self._messages and self._body is not None and not self._body.is_eof():
            # aiohttp queues what went wrong behind the request whose body it is, which waits for the body
            self._body.set_exception(web.RequestPayloadError("it is not in chunks as HTTP has them"))

    def begin(self, body: StreamReader) -> None:
        """A request has come with its head whole, and more or less of its body."""
        self._server.waiting.pop(self, None)
        self._body = body

    async def finish_response(self, request, resp, start_time):
        """Writes the answer."""
        if self._server.is_stopping:
            resp.force_close()
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._asked_at, self._body = 0.0, None
            if self.transport is not None:
                self._server.waiting[self] = None

    def is_late(self, now: float) -> bool:
        """Whether a head began to come (or, on a new connection, should have) too long ago."""
        return bool(self._asked_at) and now - self._asked_at > self._server.limits.head_seconds

    def refuse(self, status: int, message: str) -> None:
        """Says why and closes, a little later: words are lost where what the other side sends is not read."""
        transport, self.transport = self.transport, None
        self.force_close()
        if transport is None or transport.is_closing():
            return
        if self._server.num_lingering >= MAX_LINGERING:
            transport.abort()
            return
        transport.write(_refusal(status, message))
        with contextlib.suppress(OSError):
            transport.write_eof()
        self._server.num_lingering += 1
        self._loop.call_later(LINGER_SECONDS, self._let_go, transport)

    def _let_go(self, transport: asyncio.Transport) -> None:
        self._server.num_lingering -= 1
        transport.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.Response:
        """The answer to what is no HTTP. Only a fault of ours is worth a trace in the log."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        first_line = (message or "").strip().split("\n", 1)[0]
        return closing_response(status, f"This is no HTTP request: {first_line}")


def closing_response(status: int, message: str) -> web.Response:
    """An error after which the connection is closed, for nobody knows where the next request on it would begin."""
    response = web.Response(status=status, body=json_response.error(message), content_type="application/json")
    response.force_close()
    return response


def _refusal(status: int, message: str) -> bytes:
    body = json_response.error(message)
    reason = {408: "Request Timeout", 503: "Service Unavailable"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


def _give_up_on_silent_readers(transport: asyncio.Transport, seconds: float) -> None:
    """The system breaks a connection off whose other side takes nothing of an answer for so long."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
