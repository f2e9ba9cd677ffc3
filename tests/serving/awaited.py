"""An ``AsyncClient`` for tests that are no coroutines: what is said of ``Client`` is held of both."""

import asyncio
import contextlib

import serving


class Awaited:
    """Has the methods of an AsyncClient, each awaited to its end in an event loop that the object owns."""

    def __init__(self, target: str, **options):
        with contextlib.ExitStack() as unless_made:
            self._runner = unless_made.enter_context(asyncio.Runner())
            self._client = self._runner.run(self._made(target, **options))
            unless_made.pop_all()

    async def _made(self, target: str, **options) -> serving.AsyncClient:
        return serving.AsyncClient(target, **options)

    @property
    def address(self) -> str:
        return self._client.address

    def __getattr__(self, name: str):
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._runner.run(method(*arguments, **options))

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __enter__(self) -> "Awaited":
        return self

    def __exit__(self, *_) -> None:
        self.close()
