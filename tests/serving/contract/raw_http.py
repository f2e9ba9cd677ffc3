"""HTTP by the byte: what a careless or malicious client sends, and what comes back."""

import contextlib
import re
import socket
import time

ANSWER_SECONDS = 20.0
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


class Conversation:
    """One connection, of which every step ends within some seconds (TimeoutError)."""

    def __init__(self, port: int, seconds: float = ANSWER_SECONDS):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self._received = self.socket.makefile("rb")
        self.is_last = False  # whether the server has said that it closes

    def send(self, data: bytes) -> None:
        """Sends all of it."""
        self.socket.sendall(data)

    def answer(self, method: str = "POST") -> tuple[int, bytes]:
        """(status, body) of the next answer, to a request of ``method``. ConnectionError where none comes."""
        while True:
            status_line = self._received.readline()
            if status_line == b"\r\n":
                continue  # the end of a head that was read line by line
            if not (match := _STATUS_LINE.match(status_line)):
                raise ConnectionError(f"no answer but {status_line!r}")
            status, length = int(match[1]), 0
            while (line := self._received.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length" and method != "HEAD":
                    length = int(value)
                self.is_last |= name.lower() == b"connection" and value.strip().lower() == b"close"
            if status != 100:
                return status, self._received.read(length)

    def line(self) -> bytes:
        """The next line, as it came."""
        return self._received.readline()

    def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        parts, deadline = [], time.monotonic() + ANSWER_SECONDS
        with contextlib.suppress(ConnectionError):
            while part := self._received.read1(1 << 16):
                parts.append(part)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the answer has no end: {parts[-1]!r}")
        return b"".join(parts)

    def close(self) -> None:
        """Ends it."""
        self._received.close()
        self.socket.close()

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def statuses(data: bytes) -> list[int]:
    """The statuses of the answers in ``data``."""
    return [int(status) for status in _STATUS_LINE.findall(data) if status != b"100"]


def ask(port: int, data: bytes, method: str = "POST", seconds: float = ANSWER_SECONDS) -> tuple[int, bytes]:
    """(status, body) of the answer to ``data`` on a connection of its own."""
    with Conversation(port, seconds) as conversation:
        conversation.send(data)
        return conversation.answer(method)


def post(target: str, body: bytes, *headers: str) -> bytes:
    """A request that is right, with ``headers`` in the place of Content-Length if there are any."""
    lines = [f"POST {target} HTTP/1.1", "Host: x", *(headers or [f"Content-Length: {len(body)}"])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


TARGET = "/v1/models/affine:predict"
GOOD = post(TARGET, b'{"instances": [[1, 2, 3]]}')
"""A request to the contract suite's model that is answered."""
