"""What is computed together and what apart, on graphs that are Python functions and go on when a test lets them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from serving.embedded import batching_config
from serving.embedded.batching import Batcher
from serving.embedded.batching_config import Batching
from serving.embedded.metrics import Metrics
from serving.embedded.status import Code, ServingError, invalid_argument

SOON = 30  # seconds, in which what should happen has happened
LONG = 3600.0  # seconds that a batch waits for others if nothing else sets it off
SESSION = ":tensorflow:serving:batching_session"


class Graph:
    """``compute`` of the fed ``x``, once ``go`` is set. ``runs`` are the rows that it was given, run by run."""

    def __init__(self, compute: Callable[[np.ndarray], np.ndarray] = lambda x: -x):
        self.signatures = {}
        self.compute = compute
        self.runs: list[np.ndarray] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Semaphore(0)
        self.closed = False

    def run(self, feeds, fetches):
        (x,) = feeds.values()
        self.runs.append(x)
        self.begun.release()
        assert self.go.wait(SOON)
        return [self.compute(x)] * len(fetches)

    def close(self):
        self.closed = True


class Clients:
    """A batched graph, and requests for it, each in a thread of its own."""

    def __init__(self, graph: Graph, pool: ThreadPoolExecutor, folder: Path = Path(), per_model=False, **batching):
        self.graph, self.metrics, self._pool = graph, Metrics(), pool
        self.servable = Batcher(Batching(**batching), per_model, self.metrics).wrap(graph, folder)

    def run(self, x) -> np.ndarray:
        (y,) = self.servable.run({"x": np.asarray(x)}, ["y"])
        return y

    def ask(self, x, waiting: int = 0) -> Future:
        """A request under way. When this returns, ``waiting`` rows can be joined by others."""
        answer = self._pool.submit(self.run, x)
        while self._num_waiting() < waiting:
            assert not answer.done(), answer.exception()
            time.sleep(1e-3)
        return answer

    def _num_waiting(self) -> int:
        queues = list(self.servable._queues.values())
        return sum(batch.size for queue in queues for batch in list(queue._open.values()))

    def page(self) -> str:
        return self.metrics.page().decode()


@pytest.fixture
def clients():
    """``clients(graph, **batching)``"""
    with ThreadPoolExecutor(64) as pool:
        yield lambda graph, *arguments, **batching: Clients(graph, pool, *arguments, **batching)


def hold(clients: Clients) -> Future:
    """A request that the graph does not answer until it may go, so that others queue up behind it."""
    clients.graph.go.clear()
    answer = clients.ask([[0]])
    assert clients.graph.begun.acquire(timeout=SOON)
    return answer


def test_requests_that_come_while_others_are_computed_are_computed_together(clients):
    asked = clients(Graph(), num_threads=1)
    first = hold(asked)
    others = [asked.ask([[row], [-row]], waiting=2 * row) for row in (1, 2, 3)]
    asked.graph.go.set()
    assert first.result(SOON).tolist() == [[0]]
    assert [other.result(SOON).tolist() for other in others] == [[[-row], [row]] for row in (1, 2, 3)]
    assert [len(rows) for rows in asked.graph.runs] == [1, 6]
    page = asked.page()
    assert f"{SESSION}:input_batch_size_sum{{}} 7\n{SESSION}:input_batch_size_count{{}} 4\n" in page
    assert f'{SESSION}:processed_batch_size_bucket{{le="8"}} 2\n' in page
    assert f"{SESSION}:wrapped_run_count{{}} 2\n" in page
    assert f'{SESSION}:queuing_latency_count{{thread_pool_name=""}} 4\n' in page


def test_a_request_alone_waits_for_nobody(clients):
    assert clients(Graph()).run([[1], [2]]).tolist() == [[-1], [-2]]


def test_a_full_batch_does_not_wait_for_its_time(clients):
    asked = clients(Graph(), timeout_seconds=LONG, max_request_size=4, max_run_size=4)
    first = asked.ask([[1], [2]], waiting=2)
    assert asked.ask([[3], [4]]).result(SOON).tolist() == [[-3], [-4]]
    assert first.result(SOON).tolist() == [[-1], [-2]]
    assert [len(rows) for rows in asked.graph.runs] == [4]


def test_a_request_that_does_not_fit_sets_the_batch_before_it_off(clients):
    asked = clients(Graph(), timeout_seconds=LONG, max_request_size=4, max_run_size=4)
    first = asked.ask([[1], [2]], waiting=2)
    second = asked.ask([[3], [4], [5]])
    assert first.result(SOON).tolist() == [[-1], [-2]]
    assert asked.ask([[6]]).result(SOON).tolist() == [[-6]]
    assert second.result(SOON).tolist() == [[-3], [-4], [-5]]


def test_no_more_batches_are_computed_at_a_time_than_there_are_threads_for(clients):
    asked = clients(Graph(), num_threads=2, max_request_size=1, max_run_size=1)
    asked.graph.go.clear()
    answers = [asked.ask([[row]]) for row in range(5)]
    assert asked.graph.begun.acquire(timeout=SOON)
    assert asked.graph.begun.acquire(timeout=SOON)
    assert not asked.graph.begun.acquire(timeout=0.05)
    asked.graph.go.set()
    assert sorted(answer.result(SOON).item() for answer in answers) == [-4, -3, -2, -1, 0]


def test_requests_of_other_shapes_are_computed_apart(clients):
    asked = clients(Graph(), num_threads=1)
    first = hold(asked)
    narrow = [asked.ask([[row]], waiting=row) for row in (1, 2)]
    wide = asked.ask([[3, 4]], waiting=3)
    asked.graph.go.set()
    assert [answer.result(SOON).tolist() for answer in (first, *narrow, wide)] == [[[0]], [[-1]], [[-2]], [[-3, -4]]]
    assert sorted(rows.shape for rows in asked.graph.runs) == [(1, 1), (1, 2), (2, 1)]


def test_padding_makes_one_shape_of_several_with_each_requests_first_element(clients):
    asked = clients(Graph(lambda x: x), num_threads=1, pads_inputs=True)
    asked.graph.go.clear()
    held = asked.ask(np.array([[b"held"]], object))
    assert asked.graph.begun.acquire(timeout=SOON)
    narrow = asked.ask(np.array([[b"a\0"], [b"b"]], object), waiting=2)
    wide = asked.ask(np.array([[b"c", b"d", b"e"]], object), waiting=3)
    asked.graph.go.set()
    assert held.result(SOON).tolist() == [[b"held"]]
    assert narrow.result(SOON).tolist() == [[b"a\0"] * 3, [b"b", b"a\0", b"a\0"]]
    assert wide.result(SOON).tolist() == [[b"c", b"d", b"e"]]


def test_a_batch_is_filled_up_with_the_first_row_of_its_last_request(clients):
    asked = clients(Graph(), allowed_sizes=(2, 4), max_request_size=4, max_run_size=4)
    assert asked.run([[5], [6], [7]]).tolist() == [[-5], [-6], [-7]]
    assert asked.graph.runs[0].tolist() == [[5], [6], [7], [5]]
    page = asked.page()
    assert f'{SESSION}:padding_size_sum{{execution_batch_size="4"}} 1\n' in page
    assert f"{SESSION}:processed_batch_size_sum{{}} 4\n" in page


def test_a_request_without_rows_is_answered_apart_and_at_once(clients):
    asked = clients(Graph(), timeout_seconds=LONG, max_request_size=2, max_run_size=2)
    waits = asked.ask([[1]], waiting=1)
    assert asked.run(np.zeros((0, 1))).shape == (0, 1)
    assert asked.ask([[2]]).result(SOON).tolist() == [[-2]]
    assert waits.result(SOON).tolist() == [[-1]]


def no_nines(x: np.ndarray) -> np.ndarray:
    if (x == 9).any():
        raise invalid_argument("a nine")
    return -x


@pytest.mark.parametrize("compute", [no_nines, lambda x: -x[(x != 9).all(1)]], ids=["an op", "the number of rows"])
def test_a_bad_request_fails_alone(clients, compute):
    asked = clients(Graph(compute), num_threads=1)
    first = hold(asked)
    answers = [asked.ask([[row]], waiting=index) for index, row in enumerate((1, 9, 2), start=1)]
    asked.graph.go.set()
    assert first.result(SOON).tolist() == [[0]]
    assert answers[0].result(SOON).tolist() == [[-1]]
    assert answers[2].result(SOON).tolist() == [[-2]]
    assert isinstance(answers[1].exception(SOON), ServingError)


def test_a_fault_of_ours_reaches_all_who_wait(clients):
    asked = clients(Graph(lambda x: x.nonsense), num_threads=1)
    answers = [hold(asked), asked.ask([[1]], waiting=1), asked.ask([[2]], waiting=2)]
    asked.graph.go.set()
    assert {type(answer.exception(SOON)) for answer in answers} == {AttributeError}


def error(asked: Clients, **feeds) -> tuple[str, str]:
    with pytest.raises(ServingError) as caught:
        asked.servable.run({name: np.asarray(value) for name, value in feeds.items()}, ["y"])
    return caught.value.code.name, caught.value.message


def test_what_cannot_be_batched_is_refused_in_tf_servings_words(clients):
    asked = clients(Graph(), max_request_size=2, max_run_size=2)
    refused = "INVALID_ARGUMENT"
    assert error(asked) == (refused, "Batching Run() must have at least one input tensor")
    assert error(asked, x=1) == (refused, "Batching Run() input tensors must have at least one dimension")
    unequal = "Batching Run() input tensors must have equal 0th-dimension size"
    assert error(asked, x=[1], z=[1, 2]) == (refused, unequal)
    assert error(asked, x=[1, 2, 3]) == (refused, "Task size 3 is larger than maximum input batch size 2")
    assert asked.graph.runs == []


def test_outputs_that_are_not_one_for_each_row_are_refused(clients):
    assert error(clients(Graph(np.sum)), x=[1]) == ("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
    code, message = error(clients(Graph(lambda x: x[:1])), x=[1, 2])
    assert code == "FAILED_PRECONDITION"
    assert message.startswith("Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes")


def test_a_full_queue_refuses_and_empties_again(clients):
    asked = clients(Graph(), num_threads=1, max_waiting=1, max_request_size=2, max_run_size=2)
    first = hold(asked)
    second = asked.ask([[1], [2]], waiting=2)
    assert error(asked, x=[[3]]) == (
        "UNAVAILABLE",
        "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
        "max_enqueued_batches is 1",
    )
    asked.graph.go.set()
    assert first.result(SOON).tolist() == [[0]]
    assert second.result(SOON).tolist() == [[-1], [-2]]
    assert asked.run([[3]]).tolist() == [[-3]]


def test_large_requests_are_split_where_that_is_asked_for(clients):
    asked = clients(Graph(), num_threads=1, splits=True, max_request_size=7, max_run_size=3)
    first = hold(asked)
    small = asked.ask([[1], [2]], waiting=2)
    large = asked.ask([[row] for row in range(10, 17)], waiting=3)
    asked.graph.go.set()
    assert [answer.result(SOON).ravel().tolist() for answer in (first, small, large)] == [
        [0],
        [-1, -2],
        [-row for row in range(10, 17)],
    ]
    assert sorted(len(rows) for rows in asked.graph.runs) == [1, 3, 3, 3]
    assert error(asked, x=[[0]] * 8) == ("INVALID_ARGUMENT", "Task size 8 is larger than maximum input batch size 7")


def test_a_split_request_needs_room_for_all_of_it(clients):
    asked = clients(Graph(), num_threads=1, splits=True, max_waiting=1, max_request_size=9, max_run_size=3)
    first = hold(asked)
    code, message = error(asked, x=[[0]] * 4)
    assert (code, "task size is 4 but scheduling capacity is only 3" in message) == ("UNAVAILABLE", True)
    asked.graph.go.set()
    first.result(SOON)


def test_many_clients_get_each_their_own_answer(clients):
    asked = clients(Graph(), allowed_sizes=(4, 8), max_request_size=8, max_run_size=8, timeout_seconds=1e-4)

    def client(number: int) -> None:
        for step in range(50):
            rows = np.full((1 + step % 3, 2), number * 1000 + step)
            np.testing.assert_array_equal(asked.run(rows), -rows)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(client, range(16)))
    assert f"{SESSION}:wrapped_run_count{{}} 800\n" not in asked.page()


def test_a_version_has_its_own_parameters_or_is_not_batched(clients, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / batching_config.FILE).write_text("max_batch_size { value: 2 }")
    own = clients(Graph(), tmp_path / "1", True)
    assert error(own, x=[1, 2, 3])[1] == "Task size 3 is larger than maximum input batch size 2"
    graph = Graph()
    none = clients(graph, tmp_path, True)
    assert none.servable is graph
    own.servable.close()
    assert own.graph.closed


# --- the files -----------------------------------------------------------------------------------------------------

FULL = """
max_batch_size { value: 8 }  batch_timeout_micros { value: 1500 }  num_batch_threads { value: 3 }
max_enqueued_batches { value: 7 }  allowed_batch_sizes: [1, 4, 8]  pad_variable_length_inputs: true
thread_pool_name { value: "p" }  enable_large_batch_splitting { value: true }  max_execution_batch_size { value: 4 }
"""


def read(folder: Path, text: str) -> Batching:
    (folder / "batching.config").write_text(text)
    return batching_config.read(folder / "batching.config")


def test_a_file_says_it_all_or_leaves_the_defaults(tmp_path):
    assert read(tmp_path, FULL) == Batching(8, 4, 0.0015, 7, 3, (1, 4, 8), splits=True, pads_inputs=True)
    assert read(tmp_path, 'thread_pool_name { value: "p" }') == Batching()
    assert (Batching().max_request_size, Batching().max_waiting, Batching().timeout_seconds) == (1000, 10, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        ("max_enqueued_batches { value: -3 }", "max_enqueued_batches must be positive; was -3"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
        ),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: [2, 2, 4]",
            "allowed_batch_sizes entries must be positive and monotonically increasing; were [2, 2, 4]",
        ),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: [0, 4]",
            "allowed_batch_sizes entries must be positive and monotonically increasing; were [0, 4]",
        ),
        (
            "max_batch_size { value: 4 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 5 }",
            "max_batch_size must be greater than or equal to max_execution_batch_size; they were 4 and 5",
        ),
        ("max_batch_size: 8", "Invalid protobuf file: '"),
        ("foo: 1", "Invalid protobuf file: '"),
        ("", "; Invalid argument"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, text, message):
    with pytest.raises(ServingError) as caught:
        read(tmp_path, text)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert message in caught.value.message
    assert str(tmp_path / "batching.config") in caught.value.message
