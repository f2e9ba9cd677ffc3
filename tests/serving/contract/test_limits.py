"""Callers who hold on to a server: too slow, too large, too many. It says no to them, and answers the others."""

import contextlib
import gzip
import itertools
import json
import resource
import selectors
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving.protos import serving_pb2 as pb
from serving.tensors import to_tensor
from tests.serving.contract.conftest import Running, start
from tests.serving.contract.raw_http import GOOD, TARGET, Conversation, ask, post
from tests.serving.contract.watching import Witness, memory, num_files

MAX_BYTES, MAX_CONNECTIONS, SECONDS = 100_000, 8, 3


@pytest.fixture(scope="module")
def strict(contract_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with little patience."""
    running = start(
        tmp_path_factory.mktemp("strict") / "server.log",
        "--model_name=affine",
        f"--model_base_path={contract_models / 'affine'}",
        f"--max_request_bytes={MAX_BYTES}",
        f"--max_connections={MAX_CONNECTIONS}",
        f"--connection_idle_seconds={2 * SECONDS}",
        f"--request_head_seconds={SECONDS}",
        "--min_body_bytes_per_second=10000",
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def usual(contract_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with the limits that it has where no flag says otherwise."""
    flags = "--model_name=affine", f"--model_base_path={contract_models / 'affine'}"
    running = start(tmp_path_factory.mktemp("usual") / "server.log", *flags)
    yield running
    running.stop()


def dribble(conversation: Conversation, data: bytes, pause: float = 0.1) -> tuple[int, bytes]:
    """The answer to ``data`` that is sent a byte at a time for as long as there is none."""
    with selectors.DefaultSelector() as readable:
        readable.register(conversation.socket, selectors.EVENT_READ)
        for byte in data:
            if readable.select(pause):
                break
            conversation.send(bytes([byte]))
    return conversation.answer()


def error(answer: tuple[int, bytes]) -> tuple[int, str]:
    status, body = answer
    return status, json.loads(body)["error"]


@pytest.mark.parametrize("asked_before", [False, True], ids=["first", "later"])
def test_a_head_that_comes_byte_by_byte_is_given_up(strict, asked_before):
    with Conversation(strict.rest_port) as slow:
        if asked_before:
            slow.send(GOOD)
            assert slow.answer()[0] == 200
        status, message = error(dribble(slow, b"GET /" + b"a" * 1000))
        assert (status, message) == (408, "The head of the request took over 3 s to come")
        assert slow.rest() == b""
    assert ask(strict.rest_port, GOOD)[0] == 200


@pytest.mark.parametrize("at_once", [0, 90_000], ids=["from the start", "in the end"])
def test_a_body_that_comes_byte_by_byte_is_refused(strict, at_once):
    with Conversation(strict.rest_port) as slow:
        slow.send(post(TARGET, b" " * at_once, "Content-Length: 95000"))
        status, message = error(dribble(slow, b" " * 1000))
    assert status == 408
    assert message.endswith("Accepted: 10000 bytes a second (--min_body_bytes_per_second)")


@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_a_gigabyte_is_refused_before_it_comes(strict, expect):
    head = post(TARGET, b"", "Content-Length: 1000000000", *expect)
    assert error(ask(strict.rest_port, head)) == (
        413,
        "The body of the request has more than 100000 bytes (--max_request_bytes)",
    )


def test_chunks_are_refused_when_they_become_too_many(strict):
    with Conversation(strict.rest_port) as conversation:
        conversation.send(post(TARGET, b"", "Transfer-Encoding: chunked"))
        for _ in range(12):
            conversation.send(b"2710\r\n" + b" " * 10_000 + b"\r\n")
        assert conversation.answer()[0] == 413


def test_a_small_body_that_inflates_to_a_large_one_is_refused(strict):
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < MAX_BYTES
    answer = ask(strict.rest_port, post(TARGET, bomb, "Content-Encoding: gzip", f"Content-Length: {len(bomb)}"))
    assert error(answer) == (400, "The request body is larger than 100000 bytes when inflated")


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"instances":['])
def test_json_of_ten_thousand_levels_is_refused(strict, opening):
    status, message = error(
        ask(strict.rest_port, post(TARGET, f'{{"instances": {opening * 10_000}'.encode()[:MAX_BYTES]))
    )
    assert status == 400
    assert "nested too deeply" in message


def test_who_asks_first_whether_to_go_on_is_told_to(strict):
    with Conversation(strict.rest_port) as conversation:
        body = b'{"instances": [[1, 2, 3]]}'
        conversation.send(post(TARGET, b"", f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert conversation.line() == b"HTTP/1.1 100 Continue\r\n"
        conversation.send(body)
        assert conversation.answer()[0] == 200


@pytest.mark.parametrize("num_chunks", [0, 10, 90_000], ids=["first", "later", "much later"])
def test_a_body_that_is_not_in_chunks_is_refused_soon(strict, num_chunks):
    chunks = b"1\r\n \r\n" * num_chunks
    start = time.monotonic()
    answer = ask(strict.rest_port, post(TARGET, chunks + b"zz\r\n" + chunks, "Transfer-Encoding: chunked"))
    assert answer[0] == 400
    assert time.monotonic() - start < SECONDS


def test_a_connection_without_a_request_is_closed_in_the_end(strict):
    with Conversation(strict.rest_port) as idle:
        idle.send(GOOD)
        assert idle.answer()[0] == 200
        assert idle.rest() == b""


def test_the_connection_that_waits_for_the_longest_makes_room(strict):
    held = [Conversation(strict.rest_port) for _ in range(MAX_CONNECTIONS)]
    try:
        for conversation in held:
            conversation.send(GOOD)
            assert conversation.answer()[0] == 200
        assert ask(strict.rest_port, GOOD)[0] == 200
        assert held[0].rest() == b""
        held[-1].send(GOOD)
        assert held[-1].answer()[0] == 200
    finally:
        for conversation in held:
            conversation.close()


def test_where_every_connection_has_a_request_under_way_a_new_one_is_told_so(strict):
    held = [Conversation(strict.rest_port) for _ in range(MAX_CONNECTIONS)]
    try:
        for conversation in held:
            conversation.send(post(TARGET, b"[", "Content-Length: 26", "Expect: 100-continue"))
            assert conversation.line() == b"HTTP/1.1 100 Continue\r\n"  # so it has begun
        assert error(ask(strict.rest_port, GOOD)) == (503, "8 connections have a request under way")
    finally:
        for conversation in held:
            conversation.close()
    deadline = time.monotonic() + 10
    while ask(strict.rest_port, GOOD)[0] == 503:
        assert time.monotonic() < deadline


def test_a_message_over_the_limit_is_refused(strict):
    with grpc.insecure_channel(f"127.0.0.1:{strict.grpc_port}") as channel:
        assert predict_over(channel, np.zeros((10_000, 3), np.float32)) == "RESOURCE_EXHAUSTED"
        assert predict_over(channel, np.zeros((1, 3), np.float32)) == "OK"


def predict_over(channel: grpc.Channel, x: np.ndarray, seconds: float = 30, wait_for_ready: bool = False) -> str:
    """The code of a call."""
    request = pb.PredictRequest(model_spec=pb.ModelSpec(name="affine"), inputs={"x": to_tensor(x)})
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict", pb.PredictRequest.SerializeToString)
    try:
        call(request, timeout=seconds, wait_for_ready=wait_for_ready)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_a_connection_that_never_speaks_grpc_is_closed(strict):
    with Conversation(strict.grpc_port) as silent:
        silent.rest()
    with grpc.insecure_channel(f"127.0.0.1:{strict.grpc_port}") as channel:
        assert predict_over(channel, np.zeros((1, 3), np.float32), wait_for_ready=True) == "OK"


# --- full size -----------------------------------------------------------------------------------------------------


@pytest.fixture
def many_files() -> int:
    """So many files may be open here; a test of ten thousand connections is skipped where they may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 11_000:
        pytest.skip(f"the system lets a process open {hard} files; 10,000 connections need 11,000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_gigabyte_takes_no_memory(usual, chunked):
    before, piece = memory(usual), b" " * (1 << 20)
    header = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1073741824"
    with Witness(usual.rest_port) as witness, Conversation(usual.rest_port) as conversation:
        conversation.send(post(TARGET, b"", header))
        sent, peak = 0, before
        try:
            for _ in range(1024):
                conversation.send(b"100000\r\n" + piece + b"\r\n" if chunked else piece)
                sent, peak = sent + 1, max(peak, memory(usual))
        except (ConnectionError, TimeoutError):
            pass  # it reads on for some seconds only
        assert conversation.answer()[0] == 413
    print(f"{sent} MiB sent, memory {before >> 20} -> {peak >> 20} MiB, witness {max(witness.seconds):.2f} s")
    assert peak - before < (300 << 20 if chunked else 50 << 20)
    assert max(witness.seconds) < 10


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_idle_connections(usual, many_files):
    before, files = memory(usual), num_files(usual)
    held: list[Conversation] = []
    try:
        with Witness(usual.rest_port) as witness:
            for _ in range(10_000):
                held.append(Conversation(usual.rest_port))
            assert num_files(usual) < files + 4096 + 200
            grown = memory(usual) - before
        print(f"memory +{grown >> 20} MiB, {num_files(usual) - files} held, witness {max(witness.seconds):.2f} s")
        assert grown < 200 << 20
        assert max(witness.seconds) < 10
    finally:
        for conversation in held:
            conversation.close()
    assert ask(usual.rest_port, GOOD)[0] == 200


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_idle_connections_to_the_port_of_grpc(usual, many_files):
    files, x = num_files(usual), np.zeros((1, 3), np.float32)
    held: list[Conversation] = []
    try:
        with grpc.insecure_channel(f"127.0.0.1:{usual.grpc_port}") as early:
            assert predict_over(early, x) == "OK"
            for _ in range(10_000):
                held.append(Conversation(usual.grpc_port))
                if len(held) % 1000 == 0:
                    assert predict_over(early, x) == "OK"
            print(f"{num_files(usual) - files} held")
            assert num_files(usual) < files + 4096 + 200
            assert ask(usual.rest_port, GOOD)[0] == 200
        with grpc.insecure_channel(f"127.0.0.1:{usual.grpc_port}") as late:
            assert predict_over(late, x, seconds=60, wait_for_ready=True) == "OK"
    finally:
        for conversation in held:
            conversation.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_thousand_callers_who_dribble_are_gone_after_a_while(usual):
    held = [Conversation(usual.rest_port) for _ in range(1000)]
    heads = [b"GET /", post(TARGET, b"", "Content-Length: 1000")]
    with Witness(usual.rest_port) as witness:
        for conversation, head in zip(held, itertools.cycle(heads)):
            conversation.send(head)
        ended = time.monotonic() + 60
        alive = list(held)
        while alive and time.monotonic() < ended:
            alive = [conversation for conversation in alive if still_takes(conversation, b"a")]
    for conversation in held:
        conversation.close()
    print(f"{len(alive)} left, witness {max(witness.seconds):.2f} s")
    assert not alive
    assert max(witness.seconds) < 10


def still_takes(conversation: Conversation, byte: bytes) -> bool:
    """Whether the other side has not closed the connection yet."""
    conversation.socket.settimeout(0.001)
    try:
        conversation.send(byte)
        return conversation.socket.recv(1000) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_caller_who_does_not_read_the_answers_is_dropped(usual):
    files = num_files(usual)
    large = post(TARGET, json.dumps({"instances": [[1.5, 2.5, 3.5]] * 100_000}).encode())
    with Conversation(usual.rest_port) as conversation:
        with contextlib.suppress(TimeoutError):  # the server takes no more while it cannot write
            for _ in range(8):
                conversation.send(large)
        deadline = time.monotonic() + 120
        while num_files(usual) > files:
            assert time.monotonic() < deadline, "the server waits for a reader for ever"
            time.sleep(0.5)
