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
            while chunk := response.read1(_CHUNK):  # urllib3's time-out is for each read: a trickle would never end
                data += chunk
                if time.monotonic() > deadline:
                    response.close()
                    raise Failure("DEADLINE_EXCEEDED", f"the answer was still coming after {timeout:.3g} s")
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


def _reason(error: Exception) -> str:
    """The words of a connection error without urllib3's object addresses."""
    return re.sub(r"^\w*Connection\w*\(.*?\): |<[^>]*>: ", "", str(error)) or type(error).__name__
