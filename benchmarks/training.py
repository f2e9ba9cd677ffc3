"""Training speed of a recipe beside a bare `model.fit` on arrays in memory: examples per second, and their ratio.

    python benchmarks/training.py --models mlp,lenet5 --rounds 3

Both train the same network with the same optimizer and batch on the same pictures, in one process, in turns. The first
epoch of each, which traces the graph, is left out; of the others the fastest counts, so that other work on the machine
weighs least. The recipe shuffles, watches the loss and keeps the best weights in that time.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import recipes
import zoo

CLASSES = 10


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="mlp,lenet5,mnist_cnn,cifar10_cnn", help="names, separated by commas")
    parser.add_argument("--examples", type=int, default=12_800)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4, help="per round; the first is not counted")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()

    print("| model | bare fit, examples/s | recipe, examples/s | recipe / bare |")
    print("|---|---:|---:|---:|")
    for name in options.models.split(","):
        data = pictures(zoo.spec(name).arguments["input_shape"], options.examples)
        bare, recipe = [], []
        for _ in range(options.rounds):
            bare.append(bare_seconds(name, data, options))
            recipe.append(recipe_seconds(name, data, options))
        speeds = [options.examples / min(seconds) for seconds in (bare, recipe)]
        print(f"| {name} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {speeds[1] / speeds[0]:.2f} |", flush=True)


def pictures(shape, count):
    """Random uint8 pictures and labels."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *shape), np.uint8), rng.integers(0, CLASSES, count)


def bare_seconds(name, data, options) -> float:
    """Seconds of the fastest epoch of `model.fit` on float arrays."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.started)

    seconds = []
    x, y = data
    model = zoo.build(name, num_classes=CLASSES)
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(
        (x / 255).astype(np.float32),
        keras.utils.to_categorical(y, CLASSES),
        batch_size=options.batch_size,
        epochs=options.epochs,
        callbacks=[Clock()],
        verbose=0,
    )
    return min(seconds[1:])


def recipe_seconds(name, data, options) -> float:
    """Seconds of the fastest epoch of the recipe on the same pictures."""
    x, y = data
    with tempfile.TemporaryDirectory() as folder:
        run = recipes.image_classification(
            name,
            {"train": data, "test": (x[:100], y[:100])},  # nothing is held back for validation
            validation=0,
            epochs=options.epochs,
            batch_size=options.batch_size,
            run_dir=str(Path(folder) / "run"),
            verbose=False,
        )
    return min(run.history["seconds"][1:])


if __name__ == "__main__":
    main()
