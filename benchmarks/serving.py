"""Requests per second and latency of a serving engine, over REST and gRPC, from one and from eight clients.

    python benchmarks/serving.py                                   # a tiny model of its own, the embedded engine
    python benchmarks/serving.py served/lenet5 --engine docker --seconds 10 --json

Closed loop: each client is a process that sends its next request when it has the answer to its last. Clients and server
share the machine. A model with a ``bytes`` signature is asked with one small PNG, any other with one row of zeros.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

# Python puts a script's own folder first on the path, and there this script is what "serving" means.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import serving  # noqa: E402 - only now is it the package

WARM_UP = 20  # requests of each client before the clock starts
START_SECONDS = 60.0  # for all clients to be ready


@dataclass(frozen=True)
class Case:
    """One measurement. Latencies in milliseconds, as a client sees them."""

    model: str
    request: str
    api: str
    clients: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base_paths = options.base_paths or [_tiny_model(Path(folder))]
        cases = [case for path in base_paths for case in measure(path, options)]
    if options.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        report = {"engine": options.engine, "machine": machine, "seconds": options.seconds}
        print(json.dumps({**report, "cases": [asdict(case) for case in cases]}, indent=1))
    else:
        _print_markdown(cases)


def measure(base_path: Path, options: argparse.Namespace) -> Iterator[Case]:
    """The cases of one model: each API with each number of clients."""
    with serving.serve(base_path, engine=options.engine) as server:
        metadata = server.wait_ready()
        signature, inputs = _request(metadata)
        for api, target in (("REST", server.rest_url), ("gRPC", server.grpc_address)):
            for clients in options.clients:
                print(f"{server.name}: {api}, {clients} clients …", file=sys.stderr)
                question = (target, server.name, signature, inputs)
                yield Case(server.name, signature, api, clients, *_closed_loop(question, clients, options.seconds))


def _closed_loop(question: tuple, clients: int, seconds: float) -> tuple[float, float, float, int]:
    """Requests per second, p50 and p99 in milliseconds, failed requests."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(clients), context.Queue()
    processes = [
        context.Process(target=_client, args=(question, seconds, barrier, results), daemon=True) for _ in range(clients)
    ]
    for process in processes:
        process.start()
    answers = [results.get(timeout=START_SECONDS + seconds + 30) for _ in processes]
    for process in processes:
        process.join(10)
    latencies = np.concatenate([latencies for latencies, _, _ in answers])
    # every client counts over its own time, so that a late start or end of one of them changes nothing
    rate = sum(len(latencies) / elapsed for latencies, elapsed, _ in answers)
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3 if len(latencies) else (np.nan, np.nan)
    return round(rate, 1), round(float(p50), 3), round(float(p99), 3), sum(failed for _, _, failed in answers)


def _client(question: tuple, seconds: float, barrier, results) -> None:
    target, model, signature, inputs = question
    latencies, failed = [], 0
    with serving.Client(target, timeout=30, retries=0) as client:
        for _ in range(WARM_UP):
            client.predict(model, inputs, signature=signature)
        barrier.wait(START_SECONDS)
        start = now = time.perf_counter()
        while now - start < seconds:
            try:
                client.predict(model, inputs, signature=signature)
            except serving.ServingError:
                failed += 1
            before, now = now, time.perf_counter()
            latencies.append(now - before)
    results.put((np.array(latencies), now - start, failed))


def _request(metadata: serving.ModelMetadata) -> tuple[str, dict]:
    """The signature to ask and its inputs: raw bytes where the model takes them, else one row of zeros."""
    if "bytes" in metadata.signatures:
        (input_name,) = metadata.signatures["bytes"].inputs
        return "bytes", {input_name: [_png()]}
    name = "serving_default" if "serving_default" in metadata.signatures else next(iter(metadata.signatures))
    inputs = {}
    for input_name, spec in metadata.signatures[name].inputs.items():
        shape = [1 if size is None else size for size in spec.shape or (1,)]
        inputs[input_name] = np.full(shape, b"", object) if spec.dtype == "string" else np.zeros(shape, spec.dtype)
    return name, inputs


def _png() -> bytes:
    """A 28 by 28 grey picture."""
    import io

    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _tiny_model(folder: Path) -> Path:
    """A base path with one dense layer, written by a process of its own: TensorFlow stays out of the clients."""
    process = multiprocessing.get_context("spawn").Process(target=_write_tiny_model, args=(folder / "tiny",))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the tiny model could not be written")
    return folder / "tiny"


def _write_tiny_model(base_path: Path) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(tf.ones([3, 2]))
    module.call = tf.function(
        lambda x: {"y": tf.matmul(x, module.weights)}, input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")]
    )
    tf.saved_model.save(module, str(base_path / "1"), {"serving_default": module.call})


def _print_markdown(cases: list[Case]) -> None:
    print("| model | signature | API | clients | requests/s | p50 ms | p99 ms | failed |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for case in cases:
        print(
            f"| {case.model} | {case.request} | {case.api} | {case.clients} | {case.requests_per_second:,.0f} "
            f"| {case.p50_ms:.2f} | {case.p99_ms:.2f} | {case.failed} |"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base_paths", nargs="*", type=Path, metavar="BASE_PATH")
    parser.add_argument("--engine", default="embedded", choices=["auto", "docker", "binary", "embedded"])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each case (default: 5)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8], help="numbers of clients (default: 1 8)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a Markdown table")
    return parser


if __name__ == "__main__":
    main()
