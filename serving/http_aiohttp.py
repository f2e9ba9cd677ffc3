"""HTTP from coroutines: a pool of kept-alive connections that belongs to the event loop."""

import io
import os
import re

import aiohttp
from yarl import URL

from serving.errors import Failure
from serving.tls import Tls


class AsyncHttp:
    """To be made where its event loop runs. At most a hundred exchanges are under way, the next wait for their turn."""

    def __init__(self, tls: Tls | None):
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls.context() if tls else True), cookie_jar=aiohttp.DummyCookieJar()
        )

    async def exchange(self, method: str, url: str, timeout: float, body: bytes | None) -> tuple[int, bytes]:
        """The status and the body of one HTTP exchange, all of it within ``timeout`` seconds. Raises Failure."""
        try:
            async with self._session.request(
                method,
                URL(url, encoded=True),
                data=io.BytesIO(body) if body else None,  # aiohttp warns of large bytes: it would write them at once
                headers={"Content-Type": "application/json"} if body else None,
                timeout=aiohttp.ClientTimeout(total=timeout),
                allow_redirects=False,
            ) as response:
                return response.status, await response.read()
        except TimeoutError:
            raise Failure("DEADLINE_EXCEEDED", f"no answer in {timeout:.3g} s") from None
        except (aiohttp.ClientError, OSError) as error:  # nobody there, a broken connection, or no HTTP
            raise Failure("UNAVAILABLE", _reason(error)) from None

    async def close(self) -> None:
        await self._session.close()


def _reason(error: Exception) -> str:
    """The words of a connection error, with the operating system's where asyncio leaves them out."""
    words = str(error.__cause__ or error) or type(error).__name__
    return re.sub(
        r"(?<=\[Errno )(\d+)\] Connect call failed", lambda found: f"{found[1]}] {os.strerror(int(found[1]))}", words
    )
