"""Generated requests, most of them wrong: each gets an answer of the contract, soon, and the server stays as it was.

What is a fault of the server's own it writes into its log with a trace; here that is the sign of a defect, whatever
status the caller saw.
"""

import collections
import contextlib
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from serving.embedded import inference, json_request, json_response
from serving.embedded.status import ServingError
from serving.protos import serving_pb2 as pb
from serving.tensors import data_type
from tests.serving.contract import generated
from tests.serving.contract.raw_http import ANSWER_SECONDS, GOOD, Conversation, ask, post, statuses
from tests.serving.contract.watching import Witness, memory

NO_HTTP, IN_THE_CONTRACT = {400, 408, 413}, {200, 400, 404, 413, 429, 501}
GRPC_CODES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "OUT_OF_RANGE"}
NOT_A_MESSAGE = ("INTERNAL", "Exception deserializing request!")

quickly = settings(
    max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def thoroughly(num_examples: int) -> settings:
    """So many examples, never the same; a failing one is told as it is."""
    return settings(quickly, max_examples=num_examples, derandomize=False, phases=[Phase.generate])


@pytest.fixture(scope="module")
def signatures(contract_server) -> dict[str, dict[str, pb.SignatureDef]]:
    """Of every model of the contract suite, by its name and theirs."""
    asked = pb.GetModelMetadataRequest(metadata_field=["signature_def"])
    with grpc.insecure_channel(f"127.0.0.1:{contract_server.grpc_port}") as channel:
        call = channel.unary_unary(
            "/tensorflow.serving.PredictionService/GetModelMetadata",
            pb.GetModelMetadataRequest.SerializeToString,
            pb.GetModelMetadataResponse.FromString,
        )
        found = {}
        for model in {model for model, _, _ in generated.SIGNATURES}:
            asked.model_spec.name = model
            found[model] = pb.SignatureDefMap.FromString(call(asked).metadata["signature_def"].value).signature_def
    return found


def read_document(signatures, model: str, call: str, signature: str, body: bytes) -> None:
    """Reads a body as the server does, and quotes the error as it does. Anything but a ServingError is a crash."""
    try:
        document = json_request.parse_document(body)
        if call != "predict":
            json_request.examples(document)
            return
        infos = signatures[model][signature or inference.DEFAULT_SIGNATURE].inputs
        arrays, _ = json_request.predict_inputs(document, infos)
        for name, array in arrays.items():
            assert data_type(array.dtype) == infos[name].dtype
    except ServingError as error:
        json_response.error(str(error))


@quickly
@given(generated.documents(), generated.seeds)
def test_any_document_is_read_or_refused(signatures, document, number):
    *asked, body = document
    for tried in (body, generated.mutated(body, number)):
        read_document(signatures, *asked, tried)


@quickly
@given(generated.http_bytes())
def test_any_http_is_answered(contract_server, sent):
    with faultless(contract_server):
        send_http(contract_server.rest_port, sent)


@quickly
@given(generated.grpc_calls())
def test_any_message_is_answered(contract_server, call):
    with faultless(contract_server), Caller(contract_server.grpc_port) as caller:
        caller.send(*call)


def test_what_is_no_message_takes_no_memory(contract_server):
    with Caller(contract_server.grpc_port) as caller:
        for _ in range(300):
            caller.send("PredictionService/Predict", b"\xff")
        before = memory(contract_server)
        for _ in range(1500):
            assert caller.send("PredictionService/Predict", b"\xff") == "INTERNAL"
        assert memory(contract_server) - before < 5 << 20


def test_an_op_may_quote_what_is_not_utf8(contract_server):
    body = b'{"instances": [{"inputs": "{\x80"}]}'
    status, text = ask(contract_server.rest_port, post("/v1/models/examples:predict", body))
    assert status == 400
    assert b"Could not parse example input" in text
    tensor = pb.TensorProto(dtype=pb.DT_STRING, string_val=[b"{\x80"])
    tensor.tensor_shape.dim.add(size=1)
    request = pb.PredictRequest(model_spec=pb.ModelSpec(name="examples"), inputs={"inputs": tensor})
    with Caller(contract_server.grpc_port) as caller:
        assert caller.send("PredictionService/Predict", request.SerializeToString()) == "INVALID_ARGUMENT"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_documents_are_read_or_refused(signatures):
    num_read = 0

    @thoroughly(10_000)
    @given(generated.documents(), generated.seeds)
    def read(document, number):
        nonlocal num_read
        *asked, body = document
        for index in range(10):
            read_document(signatures, *asked, generated.mutated(body, number + index) if index else body)
            num_read += 1

    read()
    assert num_read >= 100_000


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_thousand_requests_are_answered_in_the_same_memory(contract_server):
    codes = collections.Counter()
    sizes = []

    @thoroughly(6_000)
    @given(generated.http_bytes(), generated.documents(), generated.seeds)
    def send_over_http(sent, document, number):
        codes.update(send_http(rest_port, sent))
        for index in range(3):
            changed = generated.HttpBytes(generated.mutated(sent.data, number + index))
            codes.update(send_http(rest_port, changed) or ["closed"])
        model, call, _, body = document
        bodies = [generated.mutated(body, number + index) for index in range(6)]
        asked = b"".join(post(f"/v1/models/{model}:{call}", body) for body in bodies)
        codes.update(send_http(rest_port, generated.HttpBytes(asked, ["POST"] * len(bodies))))
        sizes.append(memory(contract_server))

    @thoroughly(4_000)
    @given(generated.grpc_calls(), generated.seeds)
    def send_over_grpc(call, number):
        method, data = call
        for index in range(10):
            codes[caller.send(method, generated.mutated(data, number + index) if index else data)] += 1
        sizes.append(memory(contract_server))

    rest_port, grpc_port = contract_server.rest_port, contract_server.grpc_port
    with faultless(contract_server), Witness(rest_port) as witness, Caller(grpc_port) as caller:
        send_over_http()
        send_over_grpc()
        warm = sizes[len(sizes) // 10]
        print(f"{codes.total()} answers: {dict(codes.most_common())}")
        print(
            f"memory {warm >> 20} MiB after a tenth, {sizes[-1] >> 20} MiB at the end, {max(sizes) >> 20} MiB at most"
        )
        print(f"witness: {len(witness.seconds)} answers, the slowest in {max(witness.seconds):.2f} s")
    assert codes.total() >= 100_000
    assert sizes[-1] < 1.05 * warm
    assert max(witness.seconds) < 10


def send_http(port: int, sent: generated.HttpBytes) -> list[int]:
    """The statuses of the answers, each of which the contract must have."""
    with Conversation(port) as conversation:
        if not sent.methods:
            answered = send_no_http(conversation, sent.data)
            assert set(answered) <= IN_THE_CONTRACT | NO_HTTP, (answered, sent.data)
            return answered
        conversation.send(sent.data)
        answered = []
        for method in sent.methods:
            status, body = conversation.answer(method)
            assert status in IN_THE_CONTRACT, (status, body, sent.data)
            answered.append(status)
            if conversation.is_last:
                break
        return answered


def send_no_http(conversation: Conversation, data: bytes) -> list[int]:
    """The statuses of what comes back before the server closes the connection, the other side of which is closed."""
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        conversation.send(data)
        conversation.socket.shutdown(1)
    return statuses(conversation.rest())


class Caller:
    """Calls any method by its name, with any bytes."""

    def __init__(self, port: int):
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def send(self, method: str, data: bytes) -> str:
        """The code of the answer, which the contract must have."""
        call = self._channel.unary_unary(f"/tensorflow.serving.{method}", bytes, bytes)
        answer = call.future(data, timeout=ANSWER_SECONDS)
        code, details = answer.code().name, answer.details()
        assert code in GRPC_CODES or (code, details) == NOT_A_MESSAGE, (code, details, method, data)
        return code

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_) -> None:
        self._channel.close()


@contextlib.contextmanager
def faultless(server) -> Iterator[None]:
    """The server writes no trace of a fault of its own inside of the block, and answers after it."""
    start = server.log.stat().st_size
    yield
    status, body = ask(server.rest_port, GOOD)
    assert status == 200, body
    with server.log.open("rb") as log:
        log.seek(start)
        written = log.read()
    assert b"Traceback" not in written, written.decode(errors="replace")[-5000:]
