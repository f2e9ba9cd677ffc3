"""Is a BERT that has learned to fill in masks worth more than a fresh one, where sentences are told apart?

    python benchmarks/pretraining.py runs/bert_tiny-prose --seeds 0,1,2

Fine-tunes the network of a Run of `masked_language_modeling` on `sentences`, and the same network with the same
vocabulary and fresh weights: on all training sentences, a tenth and a fiftieth of them. Prints the accuracy of both on
the test part. The seed draws the fresh weights, the new head and the order of the sentences.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np

import recipes

EPOCHS = {100: 5, 10: 20, 2: 40}
"""By the share of the training sentences, in percent."""
OPTIONS = {
    "max_length": 64,
    "batch_size": 32,
    "learning_rate": 0.0003,
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "verbose": False,
}


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a Run of masked_language_modeling")
    parser.add_argument("--seeds", default="0,1,2", help="separated by commas")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]

    print("| sentences to learn from | seed | from fresh weights | pre-trained |")
    print("|---:|---:|---:|---:|")
    for share in EPOCHS:
        figures = []
        for seed in seeds:
            pair = [accuracy(of_weights, seed, share, options.run) for of_weights in (fresh, trained)]
            figures.append(pair)
            print(f"| {share} % | {seed} | {pair[0]:.4f} | {pair[1]:.4f} |", flush=True)
        mean, deviation = np.mean(figures, 0), np.std(figures, 0, ddof=1) if len(figures) > 1 else (0, 0)
        both = " | ".join(f"{m:.4f} ± {d:.4f}" for m, d in zip(mean, deviation, strict=True))
        print(f"| {share} % | mean | {both} |", flush=True)


def trained(run: Path, seed: int, folder: Path) -> Path:
    """A Run with the weights that it has."""
    return run


def fresh(run: Path, seed: int, folder: Path) -> Path:
    """The same Run with fresh weights, in a folder."""
    shutil.copytree(run, folder / "fresh")
    keras.utils.set_random_seed(seed)
    keras.models.clone_model(recipes.load_run(run).model).save(folder / "fresh" / "model.keras")
    return folder / "fresh"


def accuracy(of_weights, seed: int, share: int, run: Path) -> float:
    """Of the test part."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tuned = recipes.text_classification(
            "bert_tiny",
            "sentences",
            train_split=f"train[:{share}%]",
            weights=str(of_weights(run, seed, folder)),
            seed=seed,
            epochs=EPOCHS[share],
            run_dir=str(folder / "run"),
            **OPTIONS,
        )
    return tuned.metrics["accuracy"]


if __name__ == "__main__":
    main()
