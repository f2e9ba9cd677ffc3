"""The HTTP side alone, with an API that a test holds up."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from serving.embedded.limits import Limits
from serving.embedded.rest import Response
from serving.embedded.rest_server import SHUTDOWN_SECONDS, RestServer
from tests.serving.contract.raw_http import Conversation, post

LIMITS = Limits(answer_seconds=0.5)


class HeldApi:
    """Answers when it is let."""

    def __init__(self):
        self.may_answer = threading.Event()
        self.may_wait = True

    def answer(self, method: str, target: str, headers, body: bytes) -> Response:
        self.may_answer.wait(20)
        return Response(200, b"{}")


def while_serving(api: HeldApi, limits: Limits, talk: Callable[[int], object]) -> object:
    """What ``talk(port)`` gives, run in a thread beside the server."""

    async def serve() -> object:
        server = RestServer(api, 2, limits)
        port = await server.start("127.0.0.1", 0)
        try:
            return await asyncio.to_thread(talk, port)
        finally:
            api.may_answer.set()
            await server.stop()

    return asyncio.run(serve())


def test_an_answer_that_takes_too_long_is_given_up():
    api = HeldApi()

    def talk(port: int) -> list[tuple[int, bytes]]:
        with Conversation(port) as conversation:
            conversation.send(post("/slow", b" " * 5000))
            first = conversation.answer()
            api.may_answer.set()
            conversation.send(post("/slow", b" " * 5000))
            return [first, conversation.answer()]

    (status, words), (later, _) = while_serving(api, LIMITS, talk)
    assert (status, later) == (504, 200)
    assert b"No answer within 0.5 s (--rest_api_timeout_in_ms)" in words


def test_without_a_limit_an_answer_is_waited_for():
    api = HeldApi()

    def talk(port: int) -> tuple[int, bytes]:
        with Conversation(port) as conversation:
            conversation.send(post("/slow", b" " * 5000))
            threading.Timer(0.5, api.may_answer.set).start()
            return conversation.answer()

    assert while_serving(api, replace(LIMITS, answer_seconds=0), talk) == (200, b"{}")


@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
@pytest.mark.parametrize("size", [5000, 2_000_000])
def test_who_leaves_within_a_body_does_no_harm(size, expect, caplog):
    api = HeldApi()
    api.may_answer.set()

    def talk(port: int) -> tuple[int, bytes]:
        with Conversation(port) as leaving:
            leaving.send(post("/", b" " * (size // 2), f"Content-Length: {size}", *expect))
        with Conversation(port) as staying:
            staying.send(post("/", b" " * size))
            return staying.answer()

    start = time.monotonic()
    assert while_serving(api, LIMITS, talk) == (200, b"{}")
    assert time.monotonic() - start < 10
    assert not caplog.records


def test_a_stop_reads_the_body_that_is_on_its_way_and_ends_who_waits():
    api = HeldApi()
    api.may_answer.set()

    async def stop() -> tuple[tuple[int, bytes], bool, bytes, float]:
        server = RestServer(api, 2, LIMITS)
        port = await server.start("127.0.0.1", 0)
        with Conversation(port) as waiting, Conversation(port) as sending:
            waiting.send(post("/", b"all"))
            await asyncio.to_thread(waiting.answer)
            sending.send(post("/", b"ha", "Content-Length: 4"))
            await asyncio.sleep(0.2)
            start = time.monotonic()
            stopped = asyncio.create_task(server.stop())
            rest = await asyncio.to_thread(waiting.rest)
            sending.send(b"lf")
            answer = await asyncio.to_thread(sending.answer)
            await stopped
            return answer, sending.is_last, rest, time.monotonic() - start

    answer, is_last, rest, seconds = asyncio.run(stop())
    assert (answer, is_last, rest) == ((200, b"{}"), True, b"")
    assert seconds < SHUTDOWN_SECONDS / 2


def test_a_body_of_megabytes_arrives_whole():
    received = []
    api = HeldApi()
    api.answer = lambda method, target, headers, body: received.append(body) or Response(200, b"{}")
    body = bytes(range(256)) * 20_000

    def talk(port: int) -> tuple[int, bytes]:
        with Conversation(port) as conversation:
            conversation.send(post("/", body))
            return conversation.answer()

    assert while_serving(api, LIMITS, talk)[0] == 200
    assert received == [body]
