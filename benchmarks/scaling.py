"""Two processes that train together beside one, on JAX, each on a processor core of its own: the scaling figure.

    python benchmarks/scaling.py --models lenet5,mnist_cnn
    python benchmarks/scaling.py --models resnet20 --examples 1024 --batch-size 128

All train the same network with the same batch, of which each of two processes has a half. The first epoch, which
compiles, is left out; of the others the fastest counts. Two processes would be twice as fast but for what a step has
besides the share of the batch; that is measured as the difference to one process with half the batch, and set beside
the bytes of gradients that each process sends in a step.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile

import numpy as np

CLASSES = 10
PICTURE = 28, 28, 1


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="lenet5,mnist_cnn", help="names, separated by commas")
    parser.add_argument("--examples", type=int, default=6400)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=4, help="the first is not counted")
    parser.add_argument("--process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        print(json.dumps(train(options)))
        return
    print("| model | one, examples/s | two, examples/s | scaling | one, ms | two, ms | besides a half, ms | MB sent |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in options.models.split(","):
        print(row(name, options), flush=True)


def row(name: str, options) -> str:
    """The line of a model."""
    one = launch(name, options, 1, options.batch_size)
    two = launch(name, options, 2, options.batch_size)
    half = launch(name, options, 1, options.batch_size // 2)
    rates = [options.batch_size / each["step"] for each in (one, two)]
    # In a ring every process sends each of n parts of the gradients 2 (n - 1) / n times: of two, all of them once.
    cells = [
        *(f"{rate:,.0f}" for rate in rates),
        f"{rates[1] / rates[0]:.2f}",
        *(f"{1000 * each['step']:.1f}" for each in (one, two)),
        f"{1000 * (two['step'] - half['step']):.1f}",
        f"{4 * one['parameters'] / 1e6:.2f}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def launch(name: str, options, processes: int, batch_size: int) -> dict[str, float]:
    """What the first of so many processes measured, each on its own core."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listening.getsockname()[1]}"
    together = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": str(processes)}
    given = ["--models", name, "--examples", options.examples, "--batch-size", batch_size, "--epochs", options.epochs]
    cores = sorted(os.sched_getaffinity(0))
    started = [
        subprocess.Popen(
            ["taskset", "-c", str(cores[number]), sys.executable, __file__, *map(str, given), "--process"],
            env={**os.environ, "KERAS_BACKEND": "jax", **together, "KERAS_DISTRIBUTION_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for number in range(processes)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"A process for {name} ended with {[process.returncode for process in started]}.")
    return json.loads(said[0].splitlines()[-1])


def train(options) -> dict[str, float]:
    """Train one of several processes: seconds of a step, and parameters."""
    import recipes

    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (options.examples, *PICTURE), np.uint8), rng.integers(0, CLASSES, options.examples)
    with tempfile.TemporaryDirectory() as folder:
        run = recipes.image_classification(
            options.models, data, run_dir=f"{folder}/run", epochs=options.epochs, batch_size=options.batch_size,
            validation=0.0, test=0.02, checkpoint_every="1000000steps", verbose=False,
        )  # fmt: skip
        steps = -(-run.facts["data"]["examples"]["train"] // options.batch_size)
        return {"step": float(run.history["seconds"][1:].min()) / steps, "parameters": run.model.count_params()}


if __name__ == "__main__":
    main()
