"""What the generator sends and when, and what it makes of the answers of a server whose delays are known."""

import asyncio
import itertools
import time

import numpy as np
import pytest

from serving.bench import generator, precise_loop
from serving.bench.cases import case_of, percentiles
from serving.bench.generator import Job, Trace
from serving.bench.loads import ClosedLoop, OpenLoop, Share
from serving.bench.senders import Target
from serving.transport import ModelRef

BODIES = b"first", b"second", b"third"


@pytest.fixture(params=["REST", "gRPC"])
def api(request):
    return request.param


def run(scripted, api, load, seconds, timeout=5.0, processes=1):
    target = Target(scripted.address(api), ModelRef("m"))
    trace = generator.run(Job(target, BODIES, load, seconds, timeout), processes)
    return case_of(api, load, seconds, trace, 5.0, {}), trace


def stalls(scripted, after, until):
    """From now on requests between these two times (seconds) wait for the second of them."""
    start = time.monotonic()

    async def script():
        now = time.monotonic() - start
        if after < now < until:
            await asyncio.sleep(until - now)
        return "OK"

    scripted.script = script


# --- when ----------------------------------------------------------------------------------------------------------


def test_poisson_arrivals_are_as_many_as_asked_for_and_the_same_every_time():
    times = OpenLoop(200).times(10)
    assert len(times) == 2000
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < 10
    gaps = np.diff(times)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)  # as gaps of an exponential distribution are
    np.testing.assert_array_equal(times, OpenLoop(200).times(10))


def test_even_arrivals_have_equal_gaps():
    np.testing.assert_allclose(OpenLoop(4, "even").times(1), [0, 0.25, 0.5, 0.75])


def test_no_request_is_sent_before_its_time_and_the_rate_is_kept(scripted, api):
    case, trace = run(scripted, api, OpenLoop(100, "even"), 0.5)
    assert case.sent == case.answered == 50
    assert case.rate > 60
    assert (trace.begun >= trace.intended).all()
    assert np.median(trace.begun - trace.intended) < 0.02
    sent = scripted.bodies[-50:]
    assert sent.count(b"second") in (16, 17)


def test_the_loop_wakes_at_the_time_it_was_told():
    async def lateness():
        clock = asyncio.get_running_loop().time
        late = []
        for _ in range(40):
            due = clock() + 0.00237
            await asyncio.sleep(due - clock())
            late.append(clock() - due)
        return late

    with asyncio.Runner(loop_factory=precise_loop.new_event_loop) as runner:
        late = runner.run(lateness())
    assert min(late) >= -1e-6
    assert min(late) < 0.0005  # asyncio's own loop is never better than that


def test_clients_of_a_closed_loop_wait_for_their_answers(scripted, api):
    under_way, most = 0, 0

    async def script():
        nonlocal under_way, most
        under_way, most = under_way + 1, max(most, under_way + 1)
        await asyncio.sleep(0.02)
        under_way -= 1
        return "OK"

    scripted.script = script
    case, trace = run(scripted, api, ClosedLoop(3), 0.4)
    assert most == 3
    assert case.late_share is None
    assert 3 <= case.sent <= 3 * 20 + 3
    assert (trace.ended - trace.begun).min() >= 0.02


def test_several_processes_share_a_load(scripted):
    case, trace = run(scripted, "REST", OpenLoop(40, "even"), 0.5, processes=2)
    assert case.sent == case.answered == 20
    np.testing.assert_allclose(np.sort(trace.intended), np.arange(20) / 40)


# --- what the latency is -------------------------------------------------------------------------------------------


def test_an_open_loop_shows_the_queue_behind_a_stall_and_a_closed_loop_hides_it(scripted, api):
    """Coordinated omission: in a closed loop a stall of 0.4 s is one slow request among many."""
    stalls(scripted, 0.3, 0.7)
    is_open, _ = run(scripted, api, OpenLoop(100, "even"), 0.9)
    assert is_open.latency_ms["p90"] > 250  # nearly half of all requests were meant to be sent in the stall
    stalls(scripted, 0.3, 0.7)
    closed, trace = run(scripted, api, ClosedLoop(1), 0.9)
    assert (trace.ended - trace.begun).max() > 0.3
    assert closed.latency_ms["p90"] < 100


def test_percentiles_are_those_of_the_servers_delays(scripted, api):
    delays = itertools.cycle([0.0] * 8 + [0.3] * 2)

    async def script():
        await asyncio.sleep(next(delays))
        return "OK"

    scripted.script = script
    case, _ = run(scripted, api, OpenLoop(100, "even"), 0.5)
    assert case.latency_ms["p50"] < 200
    assert 300 <= case.latency_ms["p90"] < 700
    assert case.latency_ms["p95"] >= 300
    assert case.latency_ms["p99"] is None


def test_percentiles_that_the_numbers_cannot_tell_are_left_out():
    latencies = np.arange(1000.0)
    named = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99.9": 99.9}
    assert percentiles(latencies) == {name: round(float(np.percentile(latencies, q)), 3) for name, q in named.items()}
    assert percentiles(latencies[:999])["p99.9"] is None
    assert percentiles(latencies[:100])["p99"] is not None
    assert percentiles(latencies[:99])["p99"] is None
    assert set(percentiles(latencies[:1]).values()) == {None}


def test_a_generator_that_is_itself_slow_says_so():
    async def blocks(body):
        time.sleep(0.02)
        return "OK"

    load = OpenLoop(100, "even")
    sent = asyncio.run(load.drive(blocks, BODIES, 0.3, Share()))
    intended, begun, ended, codes = zip(*sent, strict=True)
    trace = Trace(np.array(intended), np.array(begun), np.array(ended), np.array(codes, object), busy=0.2)
    case = case_of("REST", load, 0.3, trace, 5.0, {})
    assert case.late_share > 0.9
    assert case.latency_ms["p90"] > 200  # the delay counts
    assert case.generator_is_slow
    assert "of the requests more than 5 ms late" in case.warnings[0]


def trace_of(latencies, codes=None, busy=0.1):
    times = np.arange(len(latencies)) / 100
    codes = ["OK"] * len(latencies) if codes is None else codes
    return Trace(times, times, times + np.array(latencies), np.array(codes, object), busy)


def test_a_generator_that_computes_all_the_time_says_so():
    case = case_of("gRPC", ClosedLoop(8), 1.0, trace_of([0.001] * 100, busy=0.97), 5.0, {})
    assert case.generator_is_slow
    assert case.warnings == ["the generator computed 97% of the time"]


def test_a_server_that_does_not_keep_up_is_told():
    case = case_of("gRPC", OpenLoop(100), 1.0, trace_of([0.505] * 100), 5.0, {})
    assert case.rate == 50
    assert case.warnings == ["the server answered 50 of 100 requests a second"]
    assert case_of("gRPC", OpenLoop(100), 1.0, trace_of([0.001] * 100), 5.0, {}).warnings == []


# --- errors --------------------------------------------------------------------------------------------------------


def test_errors_are_counted_by_code(scripted, api):
    codes = itertools.cycle(["OK", "RESOURCE_EXHAUSTED", "OK", "UNAVAILABLE", "INTERNAL"])

    async def script():
        return next(codes)

    scripted.script = script
    case, _ = run(scripted, api, OpenLoop(100, "even"), 0.5)
    assert case.sent == 50
    assert sum(case.errors.values()) == 50 - case.answered == 30
    assert case.errors == {"INTERNAL": 10, "RESOURCE_EXHAUSTED": 10, "UNAVAILABLE": 10}


def test_a_request_that_times_out_counts_with_the_time_that_was_waited(scripted, api):
    async def script():
        await asyncio.sleep(0.7)
        return "OK"

    scripted.script = script
    case, _ = run(scripted, api, OpenLoop(10, "even"), 0.3, timeout=0.2)
    assert case.errors == {"DEADLINE_EXCEEDED": 3}
    assert case.rate == 0
    assert case.latency_ms["p50"] >= 195


def test_errors_that_come_at_once_flatter_no_percentile():
    trace = trace_of([0.2] * 60 + [0.001] * 40, ["OK"] * 60 + ["UNAVAILABLE"] * 40)
    assert case_of("REST", ClosedLoop(1), 1.0, trace, 5.0, {}).latency_ms["p50"] == 200


def test_a_server_that_goes_away_is_unavailable(scripted, api):
    answered = itertools.count()

    async def script():
        if next(answered) == 5:
            asyncio.get_running_loop().create_task(scripted._stop())
        return "OK"

    scripted.script = script
    case, _ = run(scripted, api, OpenLoop(50, "even"), 0.4)
    assert case.sent == 20
    assert set(case.errors) == {"UNAVAILABLE"}
    assert 0 < case.answered < 20


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: OpenLoop(0), "A rate is a positive number"),
        (lambda: OpenLoop(float("nan")), "Received: nan"),
        (lambda: OpenLoop(5, "odd"), "Arrivals are poisson or even. Received: 'odd'"),
        (lambda: OpenLoop(0.1).times(1), "At 0.1/s no request is sent in 1 s"),
        (lambda: ClosedLoop(0), "at least 1. Received: 0"),
    ],
)
def test_loads_that_make_no_sense_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
