"""Is a backbone trained on MNIST worth more than a fresh one, where there are only a few pictures of each class?

    python benchmarks/few_examples.py runs/lenet5_augmented-mnist --per-class 10 --seeds 0,1,2

Trains LeNet-5 on so many scans per class of `digits`, once from fresh weights and once from those of a Run on MNIST
(first a new head, then all of it at a lower rate), and prints the accuracy of both on the test part of `digits`. The
seed also draws the scans.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

import recipes
import recipes.datasets.digits  # registers the builder

EPOCHS = 60
COMMON = {"epochs": EPOCHS, "batch_size": 20, "validation": 0, "augment": ("rotate", "shift", "zoom"), "verbose": False}
SCRATCH = {"learning_rate": 0.002, "schedule": "cosine", "image_size": 28}
FINE_TUNED = {
    "learning_rate": 0.002,
    "schedule": "cosine",
    "freeze": "backbone",
    "unfreeze_at": 20,
    "unfreeze_rate": 0.5,
}


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a Run of lenet5 on mnist")
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--seeds", default="0,1,2", help="separated by commas")
    options = parser.parse_args()

    print(f"{options.per_class} scans of every class, {EPOCHS} epochs\n")
    print("| seed | from fresh weights | from the weights of MNIST |")
    print("|---:|---:|---:|")
    figures = []
    for seed in map(int, options.seeds.split(",")):
        data = few(options.per_class, seed)
        pair = [accuracy(data, seed, SCRATCH), accuracy(data, seed, {**FINE_TUNED, "weights": options.run})]
        figures.append(pair)
        print(f"| {seed} | {pair[0]:.4f} | {pair[1]:.4f} |", flush=True)
    mean, deviation = np.mean(figures, 0), np.std(figures, 0, ddof=1) if len(figures) > 1 else (0, 0)
    print("| mean | " + " | ".join(f"{m:.4f} ± {d:.4f}" for m, d in zip(mean, deviation, strict=True)) + " |")


def few(per_class, seed):
    """Arrays of the training and the test part, with so many training pictures of every class."""
    with tempfile.TemporaryDirectory() as folder:
        (x, y), test = tfds.as_numpy(
            tfds.load("digits", split=["train", "test"], as_supervised=True, batch_size=-1, data_dir=folder)
        )
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [rng.choice(np.flatnonzero(y == label), per_class, replace=False) for label in np.unique(y)]
    )
    # Under other names than MNIST's, so that only the backbone is carried over and the head is a new one.
    return {
        part: (x, np.char.add("digit ", y.astype(str)))
        for part, (x, y) in {"train": (x[chosen], y[chosen]), "test": test}.items()
    }


def accuracy(data, seed, options) -> float:
    """Of the test part."""
    with tempfile.TemporaryDirectory() as folder:
        run = recipes.image_classification(
            "lenet5", data, run_dir=str(Path(folder) / "run"), seed=seed, **COMMON, **options
        )
    return run.metrics["accuracy"]


if __name__ == "__main__":
    main()
