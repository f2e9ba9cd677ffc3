"""Asks a TensorFlow Serving server from coroutines, over REST (aiohttp) or gRPC.

async with AsyncClient("127.0.0.1:8500") as client:
    answers = await asyncio.gather(*(client.predict("lenet5", [png], signature="bytes") for png in pngs))
"""

import asyncio
from typing import TYPE_CHECKING

from serving.asking import Asking

if TYPE_CHECKING:
    from serving.tls import Tls


class AsyncClient(Asking):
    """``Client`` for ``asyncio``: the same methods, answers and errors, to be awaited, ``close()`` too.

    It is made, used and closed in one running event loop. Any number of coroutines may share it. What takes no waiting
    is done in the loop: JSON is written and read there, and pictures are read, a batch at a time.
    """

    def __init__(self, target: str, *, timeout: float = 60.0, retries: int = 4, tls: "Tls | None" = None):
        asyncio.get_running_loop()  # RuntimeError where there is none
        super().__init__(target, timeout=timeout, retries=retries, tls=tls, blocking=False, pause=asyncio.sleep)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()
