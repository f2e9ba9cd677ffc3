"""What a publish takes, in seconds and memory, and how long the first request to the new version waits.

    python benchmarks/publishing.py runs/lenet5 runs/resnet50                          # as it was traced
    python benchmarks/publishing.py runs/resnet50 runs/bert_small --optimize latency

Each Run is published by a process of its own. Its memory is the most that it, and the process of the proof beside it,
held at a time, less what either holds once it has imported what it needs; in proportion to the bytes of the weights.
Then a server is started on the version, and copies of it published while that is asked. Once a copy is AVAILABLE, it
is asked one golden example again and again over gRPC: the first answer beside the median of those that follow, as
medians over the copies.
"""

import argparse
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

# Python puts a script's own folder first on the path, and there other scripts are what "export" and "serving" mean.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

COPIES, FOLLOWING = 5, 30
"""Versions that are asked for the first time; requests to each after that."""
MEGABYTE = 2**20


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of Runs")
    parser.add_argument("--optimize", default="none", help="as `zoo publish` takes it")
    parser.add_argument("--engine", default="embedded", help="what serves: embedded, binary, docker or auto")
    options = parser.parse_args()
    print(
        "| Run | variant | weights, MB | publish, s | memory | of the proof | first answer, ms | median, ms | ratio |"
    )
    print("|---|---|" + "---:|" * 7)
    for run in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {Path(run).name} | {row(run, str(Path(folder) / Path(run).name), options)} |", flush=True)


def row(run: str, base_path: str, options: argparse.Namespace) -> str:
    """The cells of a Run."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    child = context.Process(target=publish, args=(run, base_path, options.optimize, theirs))
    child.start()
    theirs.close()
    try:
        variant, weights, seconds, own, proof = mine.recv()
    except EOFError:
        raise SystemExit(f"{run} could not be published") from None
    child.join()
    first, median = asked(base_path, options.engine)
    held = [f"{held / weights:.1f} x weights" for held in (own, proof)]
    cells = [variant, f"{weights / MEGABYTE:.1f}", f"{seconds:.1f}", *held]
    return " | ".join([*cells, f"{first * 1e3:.1f}", f"{median * 1e3:.1f}", f"{first / median:.2f}"])


def publish(run: str, base_path: str, optimize: str, connection) -> None:
    """Publish, and send what was published, its bytes, the seconds, and the bytes that both processes held."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import export.publishing
    import recipes

    imported, proof = (most_held("self"), held_by_importing()), [0]
    threading.Thread(target=watch_children, args=(proof,), daemon=True).start()
    started = time.perf_counter()
    loaded = recipes.load_run(run)
    version = export.publish(loaded, base_path, optimize=optimize)
    seconds = time.perf_counter() - started
    held = [most - before for most, before in zip((most_held("self"), proof[0]), imported, strict=True)]
    weights = sum(weight.numpy().nbytes for weight in loaded.model.weights)
    connection.send((version.card["optimization"]["variant"], weights, seconds, *held))


def watch_children(most: list[int]) -> None:
    """Keep the bytes that a child has held at most. What the system says of one that has ended is no help: it counts
    what the parent held when it was started."""
    while True:
        most[0] = max([most[0], *(most_held(child.pid) for child in psutil.Process().children())])
        time.sleep(0.2)


def held_by_importing() -> int:
    """Bytes of a process that imports what that of the proof does."""
    program = "import sys; sys.modules |= {'keras': None, 'jax': None}; import tensorflow, export.replay; "
    command = [sys.executable, "-c", program + "print(open('/proc/self/status').read())"]
    return _most_of(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def most_held(pid: int | str) -> int:
    """Bytes; 0 of a process that has ended."""
    try:
        return _most_of(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0


def _most_of(status: str) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def asked(base_path: str, engine: str) -> tuple[float, float]:
    """Seconds of the first request to a version that takes the place of another, and the median of the next ones."""
    import serving
    from export import golden, version
    from serving.metadata import VersionStatus

    newest = version.find(base_path)
    signature, examples = next(reversed(golden.load(newest.path).items()))
    inputs, first, following = golden.rows(examples.inputs, 1), [], []
    with serving.serve(base_path, engine=engine) as server, serving.Client(server.grpc_address) as client:

        def ask() -> float:
            started = time.perf_counter()
            client.predict(server.name, inputs, signature=signature)
            return time.perf_counter() - started

        ask()  # whoever asks a new version has asked the one before
        for number in range(newest.number + 1, newest.number + 1 + COPIES):
            copy = newest.path.with_name(str(number))
            shutil.copytree(newest.path, newest.path.with_name(".copy")).rename(copy)
            while VersionStatus(number, "AVAILABLE") not in client.status(server.name):
                time.sleep(0.1)
            first.append(ask())
            following += [ask() for _ in range(FOLLOWING)]
    return statistics.median(first), statistics.median(following)


if __name__ == "__main__":
    main()
