"""HTTP from threads: a pool of kept-alive connections."""

import re
import time

import urllib3

from serving.errors import Failure
from serving.tls import Tls

_POOL_SIZE = 32  # connections kept per server; more threads than this still work, their connections are not kept
_CHUNK = 1 << 20


class BlockingHttp:
    """Thread-safe. Its coroutines never suspend: they block."""

    def __init__(self, tls: Tls | None):
        self._pool = urllib3.PoolManager(maxsize=_POOL_SIZE, retries=False, ssl_context=tls and tls.context())

    async def exchange(self, method: str, url: str, timeout: float, body: bytes | None) -> tuple[int, bytes]:
        """The status and the body of one HTTP exchange, whose every step ends by the deadline. Raises Failure."""
        deadline = time.monotonic() + timeout
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers={"Content-Type": "application/json"} if body else None,
                timeout=urllib3.Timeout(total=timeout),
                redirect=False,
                preload_content=False,
            )
            data = bytearray()
            while chunk := _next(response, deadline):
                data += chunk
            response.release_conn()
            return response.status, bytes(data)
        except urllib3.exceptions.NewConnectionError as error:  # a subclass of a time-out, though it is none
            raise Failure("UNAVAILABLE", _reason(error)) from None
        except urllib3.exceptions.TimeoutError:
            raise Failure("DEADLINE_EXCEEDED", f"no answer in {timeout:.3g} s") from None
        except (urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError, OSError) as error:
            raise Failure("UNAVAILABLE", _reason(error)) from None
        except urllib3.exceptions.HTTPError as error:
            raise Failure("UNKNOWN", _reason(error)) from None

    async def close(self) -> None:
        self._pool.clear()


def _next(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The next part of the body. urllib3's own time-out is for each read, so that a trickle would never end."""
    left = deadline - time.monotonic()
    if left <= 0:
        response.close()
        raise urllib3.exceptions.TimeoutError
    if response.connection and response.connection.sock:  # it has none where the server closes after this answer
        response.connection.sock.settimeout(left)
    return response.read1(_CHUNK)


def _reason(error: Exception) -> str:
    """The words of a connection error without urllib3's object addresses."""
    return re.sub(r"^\w*Connection\w*\(.*?\): |<[^>]*>: ", "", str(error)) or type(error).__name__
