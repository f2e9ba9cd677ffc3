"""Servers that misbehave, scripted: what the client retries, how long it waits, and what it says in the end."""

import socket
import threading
import time
from concurrent import futures

import grpc
import pytest

import serving
from serving.errors import Failure
from serving.grpc_channel import decode_answer
from serving.protos import serving_pb2 as pb
from tests.serving.scripted import Scripted, over_grpc, over_rest


@pytest.fixture(params=["rest", "grpc"])
def scripted(request):
    """``scripted(script, delay)``: a Scripted server and the target to ask it by, over both transports."""
    closers = []

    def start(script: list[str], delay: float = 0.0) -> tuple[Scripted, str]:
        state = Scripted(script, delay)
        target, close = (over_rest if request.param == "rest" else over_grpc)(state)
        closers.append(close)
        return state, target

    yield start
    for close in closers:
        close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def targets(port: int) -> list[str]:
    return [f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"]


def test_unavailable_is_retried_until_it_is_not(connect, scripted):
    state, target = scripted(["UNAVAILABLE", "UNAVAILABLE"])
    with connect(target) as client:
        assert client.status("m")[0].state == "AVAILABLE"
    assert state.asked == 3


def test_a_connection_is_kept(connect, scripted):
    state, target = scripted([])
    with connect(target) as client:
        for _ in range(3):
            client.status("m")
    assert (state.asked, len(state.peers)) == (3, 1)


def test_retries_end(connect, scripted):
    state, target = scripted(["UNAVAILABLE"] * 9)
    with connect(target, retries=2) as client, pytest.raises(serving.Unavailable) as error:
        client.status("m")
    assert state.asked == 3
    assert f"status of 'm' at {target.removeprefix('grpc://')}: scripted UNAVAILABLE" == str(error.value)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID_ARGUMENT", serving.InvalidInput),
        ("NOT_FOUND", serving.ModelNotFound),
        ("RESOURCE_EXHAUSTED", serving.Overloaded),
        ("INTERNAL", serving.ServerError),
        ("UNIMPLEMENTED", serving.Unsupported),
        ("DEADLINE_EXCEEDED", serving.DeadlineExceeded),
        ("ABORTED", serving.ServerError),
    ],
)
def test_every_other_failure_is_raised_at_once_and_alike(connect, scripted, code, kind):
    state, target = scripted([code])
    with connect(target) as client, pytest.raises(kind) as error:
        client.status("m")
    assert state.asked == 1
    assert type(error.value) is kind
    assert error.value.code == code
    assert f"scripted {code}" in str(error.value)


def test_the_deadline_ends_a_slow_answer(connect, scripted):
    _, target = scripted([], delay=5.0)
    start = time.monotonic()
    with connect(target, timeout=0.3) as client, pytest.raises(serving.DeadlineExceeded):
        client.status("m")
    assert time.monotonic() - start < 4.5


def test_the_deadline_covers_the_retries(connect, scripted):
    state, target = scripted(["UNAVAILABLE"] * 99)
    start = time.monotonic()
    either = serving.Unavailable, serving.DeadlineExceeded  # the latter if the last attempt is cut off
    with connect(target, retries=50) as client, pytest.raises(either):
        client.status("m", timeout=2.0)
    assert time.monotonic() - start < 8.0  # all the retries would take a minute
    assert 1 < state.asked < 50


@pytest.mark.parametrize("transport", [0, 1], ids=["rest", "grpc"])
def test_nobody_listening_is_unavailable(connect, free_port, transport):
    target = targets(free_port)[transport]
    with connect(target, retries=1) as client, pytest.raises(serving.Unavailable) as error:
        client.predict("m", [1.0])
    assert "refused" in str(error.value).lower()
    assert "predict 'm', signature 'serving_default', at " + target in str(error.value)


def test_a_restarted_server_is_found_again_by_the_same_client(connect, free_port):
    """A client lives longer than a server: after a restart it must not stay in gRPC's back-off for minutes."""

    def start():
        handler = grpc.unary_unary_rpc_method_handler(
            lambda _request, _context: pb.GetModelStatusResponse(),
            pb.GetModelStatusRequest.FromString,
            pb.GetModelStatusResponse.SerializeToString,
        )
        server = grpc.server(futures.ThreadPoolExecutor(1))
        service = grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", {"GetModelStatus": handler})
        server.add_generic_rpc_handlers([service])
        server.add_insecure_port(f"127.0.0.1:{free_port}")
        server.start()
        return server

    with connect(f"127.0.0.1:{free_port}", timeout=10) as client:
        server = start()
        client.status("m")
        server.stop(0).wait()
        for _ in range(5):
            with pytest.raises(serving.Unavailable):
                client.status("m", timeout=0.2)
        server = start()
        client.status("m")
        server.stop(0).wait()


def serve_bytes(*chunks: bytes, pause: float = 0.0):
    """A socket that answers one connection with ``chunks``, whatever is asked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            for chunk in chunks:
                try:
                    connection.sendall(chunk)
                except OSError:
                    return
                time.sleep(pause)

    threading.Thread(target=answer, daemon=True).start()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_trickling_answer_does_not_outlive_the_deadline(connect):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    listener, url = serve_bytes(head, *[b" "] * 200, pause=0.05)
    start = time.monotonic()
    with listener, connect(url, timeout=0.4) as client, pytest.raises(serving.DeadlineExceeded):
        client.status("m")
    assert time.monotonic() - start < 8


def test_an_answer_that_stalls_halfway_does_not_outlive_the_deadline(connect):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    listener, url = serve_bytes(head, b" ", pause=0.9)  # the next that happens is an end after 1.8 s
    with listener, connect(url, timeout=1.0, retries=0) as client, pytest.raises(serving.DeadlineExceeded):
        client.status("m")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 20\r\n\r\n<h1>Not  Found</h1> ", "not an answer of TF Serving"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "not an answer of TF Serving"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", "HTTP 302"),
    ],
)
def test_something_that_is_no_tf_serving_is_said_to_be_none(connect, answer, words):
    listener, url = serve_bytes(answer)
    with listener, connect(url, retries=0) as client, pytest.raises(serving.ServerError) as error:
        client.status("m")
    assert words in str(error.value)


@pytest.mark.parametrize("target", ["", "localhost", "ftp://host:1", "http://", "host:port", "grpc://host", "a/b:1"])
def test_a_target_that_is_no_address_is_refused(connect, target):
    with pytest.raises(ValueError) as error:
        connect(target)
    assert repr(target) in str(error.value)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1}, {"retries": -1}])
def test_options_that_make_no_sense_are_refused(connect, options):
    with pytest.raises(ValueError):
        connect("127.0.0.1:1", **options)


def test_an_output_that_cannot_be_read_is_named():
    response = pb.PredictResponse()
    response.outputs["y"].dtype = pb.DT_VARIANT
    with pytest.raises(Failure) as failure:
        decode_answer(response)
    assert failure.value.words.startswith("output 'y' cannot be read: No NumPy dtype for DT_VARIANT")
