"""What a publish takes, in seconds and memory, and how long the first request to the new version waits.

    python benchmarks/publishing.py runs/lenet5 runs/resnet50                          # as it was traced
    python benchmarks/publishing.py runs/resnet50 runs/bert_small --optimize latency

Each Run is published by the command `zoo publish`. Its memory is the most that its process, and that of the proof
beside it, held at a time, less what a process holds that has imported TensorFlow and nothing else; in proportion to the
bytes of the Run's `model.keras`. What TensorFlow itself takes for the version that came of it stands beside that: the
same of a process that loads it and asks every signature one example.

Then a server is started on the version, and copies of it published while that is asked. Once a copy is AVAILABLE, it
is asked one golden example again and again over gRPC: the first answer beside the median of those that follow, as
medians over the copies.
"""

import argparse
import contextlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

# Python puts a script's own folder first on the path, and there other scripts are what "export" and "serving" mean.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

COPIES, FOLLOWING = 5, 30
"""Versions that are asked for the first time; requests to each after that."""
MEGABYTE = 2**20
ANSWERING = """
import pathlib, sys
import tensorflow
from export import golden, loading
folder = pathlib.Path(sys.argv[1])
with loading.loaded(folder) as signatures:
    for name, examples in golden.load(folder).items():
        signatures[name](golden.rows(examples.inputs, 1))
"""


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of Runs")
    parser.add_argument("--optimize", default="none", help="as `zoo publish` takes it")
    parser.add_argument("--engine", default="embedded", help="what serves: embedded, binary, docker or auto")
    options = parser.parse_args()
    memory = "memory | of the proof | of the version alone"
    print(f"| Run | variant | model, MB | publish, s | {memory} | first answer, ms | median, ms | ratio |")
    print("|---|---|" + "---:|" * 8)
    for run in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {Path(run).name} | {row(run, str(Path(folder) / Path(run).name), options)} |", flush=True)


def row(run: str, base_path: str, options: argparse.Namespace) -> str:
    """The cells of a Run."""
    from export import version

    model, imported = Path(run, "model.keras").stat().st_size, held_by("import tensorflow")
    started = time.perf_counter()
    held = held_by_publishing(run, base_path, options.optimize)
    seconds = time.perf_counter() - started
    newest = version.find(base_path)
    held = [*held, held_by(ANSWERING, str(newest.path))]
    first, median = asked(base_path, options.engine)
    variant = newest.card["optimization"]["variant"]
    cells = [variant, f"{model / MEGABYTE:.1f}", f"{seconds:.1f}"]
    cells += [f"{(most - imported) / MEGABYTE:+.0f} MB, {max(0, most - imported) / model:.1f} x model" for most in held]
    return " | ".join([*cells, f"{first * 1e3:.1f}", f"{median * 1e3:.1f}", f"{first / median:.2f}"])


def held_by_publishing(run: str, base_path: str, optimize: str) -> tuple[int, int]:
    """Bytes that a publish, and its proof, held at most.

    They are asked while they live. What the system says of one that has ended counts what its parent held, too.
    """
    command = [sys.executable, "-m", "zoo", "publish", run, base_path, "--optimize", optimize]
    publisher = psutil.Popen(command, stdout=subprocess.DEVNULL)
    own = of_proof = 0
    while publisher.poll() is None:
        own = max(own, most_held(publisher.pid))
        with contextlib.suppress(psutil.NoSuchProcess):
            of_proof = max([of_proof, *(most_held(child.pid) for child in publisher.children())])
        time.sleep(0.05)
    if publisher.returncode:
        raise SystemExit(f"{run} could not be published")
    return own, of_proof


def held_by(program: str, *arguments: str) -> int:
    """Bytes that a process held at most which has run a program."""
    command = [sys.executable, "-c", f"{program}\nprint(open('/proc/self/status').read())", *arguments]
    return _most_of(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def most_held(pid: int) -> int:
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
