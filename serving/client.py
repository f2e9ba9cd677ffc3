"""Asks a TensorFlow Serving server, REST or gRPC, with NumPy in and out and without TensorFlow.

with Client("http://127.0.0.1:8501") as client:                    # or "127.0.0.1:8500" for gRPC
    client.predict("lenet5", {"bytes": [png]}, signature="bytes")  # {"classes": array(['7'], dtype=object), …}
    client.predict_images("lenet5", ["seven.png", "two.png"])      # any number of files
"""

import functools
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from serving.asking import Asking

if TYPE_CHECKING:
    from serving.tls import Tls

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[Asking, P], Coroutine[None, None, T]],
) -> Callable[Concatenate["Client", P], T]:
    """The method for callers that wait: all that it awaits blocks, so its coroutine ends without ever suspending."""

    @functools.wraps(method)
    def call(self: "Client", *arguments: P.args, **options: P.kwargs) -> T:
        try:
            method(self._asking, *arguments, **options).send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("what blocks has suspended")

    return call


class Client:
    """A connection to one server. Thread-safe: share one between threads.

    ``target`` is ``http://host:port`` (or https) for REST, ``host:port``, ``grpc://host:port`` or ``grpcs://host:port``
    for gRPC, which with ``tls`` is over TLS too; ``unix:/path`` is gRPC over a Unix socket. ``timeout`` is in seconds
    and covers all of a call: connecting, every retry, reading the answer. A call is retried ``retries`` times, and only
    where the server was unavailable (gRPC's UNAVAILABLE, HTTP 503, nobody listening, a broken connection), with pauses
    that double and vary by chance.

    All methods raise the classes of ``serving.errors``, the same over both transports.
    """

    def __init__(self, target: str, *, timeout: float = 60.0, retries: int = 4, tls: "Tls | None" = None):
        self._asking = Asking(target, timeout=timeout, retries=retries, tls=tls, blocking=True, pause=_sleep)

    @property
    def address(self) -> str:
        return self._asking.address

    predict = _blocking(Asking.predict)
    predict_images = _blocking(Asking.predict_images)
    predict_texts = _blocking(Asking.predict_texts)
    predict_questions = _blocking(Asking.predict_questions)
    metadata = _blocking(Asking.metadata)
    status = _blocking(Asking.status)
    wait_ready = _blocking(Asking.wait_ready)
    reload = _blocking(Asking.reload)
    close = _blocking(Asking.close)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()


async def _sleep(seconds: float) -> None:
    time.sleep(seconds)
