"""Requests per second and latency of a serving engine, over REST and gRPC, from one and from eight clients.

    python benchmarks/serving.py                                   # a tiny model of its own, the embedded engine
    python benchmarks/serving.py served/lenet5 --engine docker --seconds 10 --json
    python benchmarks/serving.py --held                            # what the embedded server is held to; 10 minutes
    python benchmarks/serving.py --held --rates-of served/lenet5   # of that, the rates alone; half a minute

What ``zoo bench`` measures of several models, as Markdown: closed loop, each client sends its next request when it has
the answer to its last; requests are encoded before the clock starts. The generator and the server share the machine.

With ``--held``: answers a second of LeNet-5 to eight clients, as it comes and with batches; the time of ResNet-50 for a
picture beside that of a bare call of the same SavedModel, in turns; and the server's memory before and after many
requests. LeNet-5 is trained and published for it, and ResNet-50 exported with random weights. Beside a rate stands the
processor time that the server took for a request, which says more where others use the machine, as the clients of
``zoo bench`` do themselves. Where nghttp2's ``h2load`` is installed, whose clients take next to nothing, the rates are
measured with it, too.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

# Python puts a script's own folder first on the path, and there this script is what "serving" means.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import serving  # noqa: E402 - only now is it the package
from serving.bench import inputs  # noqa: E402
from serving.bench.cases import Case  # noqa: E402
from serving.bench.loads import ClosedLoop  # noqa: E402
from serving.bench.measuring import measure  # noqa: E402
from serving.bench.senders import Target  # noqa: E402
from serving.deployment import text_protos  # noqa: E402
from serving.launching import Flags  # noqa: E402
from serving.transport import ModelRef  # noqa: E402

CLIENTS = 8
ROUNDS = 5
CALLS = 12
PICTURE = 224, 224, 3
WARM_UP_REQUESTS = 5_000
BATCHING = {"max_batch_size": CLIENTS, "batch_timeout_micros": 1_000, "num_batch_threads": os.cpu_count() or 1}

Row = tuple[str, str, str]
"""What is measured, what it is held to, and what it was."""


def main() -> None:
    options = _parser().parse_args()
    if options.held:
        with tempfile.TemporaryDirectory() as folder:
            _print_held(held(Path(folder), options))
        return
    with tempfile.TemporaryDirectory() as folder:
        base_paths = options.base_paths or [_exported(Path(folder) / "tiny", _write_tiny_model)]
        cases = [case for path in base_paths for case in of_model(path, options)]
    if options.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        report = {"engine": options.engine, "machine": machine, "seconds": options.seconds}
        listed = [{"model": model, "signature": signature, **case.as_json()} for model, signature, case in cases]
        print(json.dumps({**report, "cases": listed}, indent=1))
    else:
        _print_markdown(cases)


def of_model(base_path: Path, options: argparse.Namespace) -> Iterator[tuple[str, str, Case]]:
    """The model's name, the signature that is asked and a case: each API with each number of clients."""
    with serving.serve(base_path, engine=options.engine) as server:
        asked = inputs.find(server.wait_ready(), base_path)
        for address in (server.rest_url, server.grpc_address):
            target = Target(address, ModelRef(server.name))
            loads = [ClosedLoop(clients) for clients in options.clients]
            for case in measure(target, asked, loads, seconds=options.seconds):
                print(f"{server.name}: {case.api}, {case.load}", file=sys.stderr)
                yield server.name, asked.signature, case


# --- what the embedded server is held to ---------------------------------------------------------------------------


def held(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Every figure, the quickest first."""
    lenet5 = options.rates_of or _lenet5(folder)
    batching = folder / "batching_params.pbtxt"
    batching.write_text(text_protos.batching_config(**BATCHING))
    batched = {"enable_batching": True, "batching_parameters_file": str(batching)}
    for how, flags in (("", {}), (f", batches of {CLIENTS}", batched)):
        yield from _rates(lenet5, how, flags, options.seconds)
    if options.rates_of:
        return
    yield _beside_a_bare_call(_exported(folder / "resnet50", _export_resnet50), options.seconds)
    yield _memory(lenet5, options.requests)


def _rates(base_path: Path, how: str, flags: Flags, seconds: float) -> Iterator[Row]:
    with serving.serve(base_path, engine="embedded", flags=flags) as server:
        asked = inputs.find(server.wait_ready(), base_path)
        for address, least in ((server.grpc_address, 1_500), (server.rest_url, 1_000)):
            target, begun = Target(address, ModelRef(server.name)), []
            (case,) = measure(
                target,
                asked,
                [ClosedLoop(CLIENTS)],
                seconds=seconds,
                before_each=lambda load, begun=begun: begun.append(_processor_ms(_server())),
            )
            each = (_processor_ms(_server()) - begun[0]) / case.sent
            what, held_to = f"{server.name}, {case.api}, {case.load}", f"≥ {least:,}/s"
            rate = f"{case.rate:,.0f}/s, p99 {case.latency_ms['p99']} ms"
            yield what + how, held_to, f"{rate}, processor {each:.2f} ms"
            if shutil.which("h2load"):
                body = target.encode(asked.signature, asked.requests[0])
                yield f"{what} of h2load{how}", held_to, f"{_rate_of_h2load(target, body, case.sent):,.0f}/s"


def _rate_of_h2load(target: Target, body: bytes, requests: int) -> float:
    """Answers a second to clients that send one request again and again. RuntimeError where one is not answered."""
    options = ["--h1"]
    if target.api == "gRPC":
        options = ["-Hcontent-type: application/grpc", "-Hte: trailers"]
        body = struct.pack(">BI", 0, len(body)) + body  # it is not compressed, and so long

    def ask(requests: int, clients: int) -> tuple[float, int, int]:
        """Requests a second, those answered with 200, and the bytes of all answers: over gRPC an error has none."""
        load = [f"--requests={requests}", f"--clients={clients}", f"--data={file.name}"]
        command = ["h2load", *load, *options, target.url]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.search(r"([\d.]+) req/s.* (\d+) 2xx.*\((\d+)\) data", told, re.DOTALL)
        return float(found[1]), int(found[2]), int(found[3])

    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        _, _, size = ask(1, 1)
        rate, answered, received = ask(requests, CLIENTS)
    if answered != requests or (target.api == "gRPC" and not 0 < received == requests * size):
        raise RuntimeError(f"{target.api}: of {requests} requests some failed: {answered} with 200, {received} bytes")
    return rate


def _beside_a_bare_call(base_path: Path, seconds: float) -> Row:
    """A call over gRPC by one client, and the same signature called in a process of its own, by turns."""
    ours, other = multiprocessing.get_context("spawn").Pipe()
    bare = multiprocessing.get_context("spawn").Process(target=_call_bare, args=(base_path / "1", other), daemon=True)
    bare.start()
    with serving.serve(base_path, engine="embedded") as server:
        asked = inputs.find(server.wait_ready(), base_path)
        target = Target(server.grpc_address, ModelRef(server.name))
        ours.recv()  # it is ready
        served, called = [], []
        for _ in range(ROUNDS):
            ours.send(CALLS)
            called.append(1e3 * statistics.median(ours.recv()))
            (case,) = measure(target, asked, [ClosedLoop(1)], seconds=max(seconds, CALLS * called[-1] / 1e3))
            served.append(case.latency_ms["p50"])
    ours.send(0)
    bare.join()
    ratio = statistics.median(one / other for one, other in zip(served, called, strict=True))
    times = f"{statistics.median(served):.1f} beside {statistics.median(called):.1f} ms"
    return f"{server.name}, gRPC, 1 client, 1 picture, beside a bare call", "≤ 1.05", f"{ratio:.3f} ({times})"


def _call_bare(version: Path, connection: Connection) -> None:
    """Times as many calls as it is told to, until that is none. Array in, array out."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np
    import tensorflow as tf

    model = tf.saved_model.load(str(version))
    (name,) = model.signatures["serving_default"].structured_input_signature[1]
    picture = np.random.default_rng(0).random((1, *PICTURE), np.float32)

    def call() -> float:
        start = time.perf_counter()
        for output in model.signatures["serving_default"](**{name: tf.constant(picture)}).values():
            output.numpy()
        return time.perf_counter() - start

    [call() for _ in range(CALLS)]
    connection.send("ready")
    while calls := connection.recv():
        connection.send([call() for _ in range(calls)])


def _memory(base_path: Path, requests: int) -> Row:
    """The server's resident memory before and after so many requests of eight clients, over both APIs by turns."""
    with serving.serve(base_path, engine="embedded") as server:
        asked = inputs.find(server.wait_ready(), base_path)
        targets = [Target(address, ModelRef(server.name)) for address in (server.rest_url, server.grpc_address)]

        def ask(wanted: int) -> int:
            sent = 0
            while sent < wanted:
                for target in targets:
                    (case,) = measure(target, asked, [ClosedLoop(CLIENTS)], seconds=5)
                    sent += case.sent
            return sent

        ask(WARM_UP_REQUESTS)
        process = _server()
        before = _resident_mib(process)
        sent = ask(requests)
        after = _resident_mib(process)
    told = f"{after / before - 1:+.1%} ({before:.0f} to {after:.0f} MiB)"
    return f"{server.name}, memory after {sent:,} requests", "± 5 %", told


def _server() -> psutil.Process:
    """The largest process that this one or its children have started."""
    sizes = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            sizes[process] = _resident_mib(process)
    return max(sizes, key=sizes.get)


def _resident_mib(process: psutil.Process) -> float:
    return process.memory_info().rss / 2**20


def _processor_ms(process: psutil.Process) -> float:
    """What all its threads have computed so far."""
    times = process.cpu_times()
    return (times.user + times.system) * 1e3


def _lenet5(folder: Path) -> Path:
    """LeNet-5 on real digits, published."""
    base_path, run = folder / "lenet5", folder / "run"
    zoo = sys.executable, "-m", "zoo"
    for command in (
        ("train", "lenet5", "--data", "digits", "--epochs", "1", "--run-dir", str(run)),
        ("publish", str(run), str(base_path)),
    ):
        subprocess.run([*zoo, *command], check=True, stdout=sys.stderr)
    return base_path


def _export_resnet50(base_path: Path) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import zoo

    zoo.build("resnet50", input_shape=PICTURE, num_classes=1000).export(str(base_path / "1"), verbose=False)


def _print_held(rows: Iterator[Row]) -> None:
    print("| figure | held to | measured |")
    print("|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


# --- models and tables ---------------------------------------------------------------------------------------------


def _exported(base_path: Path, export: Callable[[Path], None]) -> Path:
    """A base path that ``export`` writes, in a process of its own: TensorFlow stays out of the clients."""
    process = multiprocessing.get_context("spawn").Process(target=export, args=(base_path,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{base_path.name} could not be written")
    return base_path


def _write_tiny_model(base_path: Path) -> None:
    """One dense layer."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(tf.ones([3, 2]))
    module.call = tf.function(
        lambda x: {"y": tf.matmul(x, module.weights)}, input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")]
    )
    tf.saved_model.save(module, str(base_path / "1"), {"serving_default": module.call})


def _print_markdown(cases: list[tuple[str, str, Case]]) -> None:
    print("| model | signature | API | load | answers/s | p50 ms | p99 ms | failed |")
    print("|---|---|---|---|---:|---:|---:|---:|")
    for model, signature, case in cases:
        p50, p99 = ("–" if time is None else f"{time:.2f}" for time in map(case.latency_ms.get, ("p50", "p99")))
        failed = case.sent - case.answered
        print(f"| {model} | {signature} | {case.api} | {case.load} | {case.rate:,.0f} | {p50} | {p99} | {failed} |")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base_paths", nargs="*", type=Path, metavar="BASE_PATH")
    parser.add_argument("--engine", default="embedded", choices=["auto", "docker", "binary", "embedded"])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each case (default: 5)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8], help="numbers of clients (default: 1 8)")
    parser.add_argument("--held", action="store_true", help="measure what the embedded server is held to")
    parser.add_argument(
        "--rates-of", type=Path, metavar="BASE_PATH", help="with --held: the rates alone, of a published LeNet-5"
    )
    parser.add_argument("--requests", type=int, default=200_000, help="of the memory's figure (default: 200000)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a Markdown table")
    return parser


if __name__ == "__main__":
    main()
