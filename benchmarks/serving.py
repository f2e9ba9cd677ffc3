"""Requests per second and latency of a serving engine, over REST and gRPC, from one and from eight clients.

    python benchmarks/serving.py                                   # a tiny model of its own, the embedded engine
    python benchmarks/serving.py served/lenet5 --engine docker --seconds 10 --json

What ``zoo bench`` measures of several models, as Markdown: closed loop, each client sends its next request when it has
the answer to its last; requests are encoded before the clock starts. The generator and the server share the machine.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Python puts a script's own folder first on the path, and there this script is what "serving" means.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import serving  # noqa: E402 - only now is it the package
from serving.bench import inputs  # noqa: E402
from serving.bench.cases import Case  # noqa: E402
from serving.bench.loads import ClosedLoop  # noqa: E402
from serving.bench.measuring import measure  # noqa: E402
from serving.bench.senders import Target  # noqa: E402
from serving.transport import ModelRef  # noqa: E402


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base_paths = options.base_paths or [_tiny_model(Path(folder))]
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
    parser.add_argument("--json", action="store_true", help="print JSON instead of a Markdown table")
    return parser


if __name__ == "__main__":
    main()
