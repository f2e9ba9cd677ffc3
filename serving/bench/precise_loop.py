"""An event loop that wakes within a tenth of a millisecond of the time it was told."""

import asyncio
import select
import selectors


def new_event_loop() -> asyncio.AbstractEventLoop:
    """For ``asyncio.Runner``. asyncio's own loop sleeps whole milliseconds on Linux, up to one too long, and uvloop's
    wakes up to one too early: as much as a small model takes to answer.
    """
    if not hasattr(select, "epoll"):  # kqueue's time is exact
        return asyncio.SelectorEventLoop()
    return asyncio.SelectorEventLoop(_Selector())


if hasattr(select, "epoll"):

    class _Selector(selectors.EpollSelector):
        """epoll waits for milliseconds, select for microseconds, and an epoll is a file that select can wait for."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)
