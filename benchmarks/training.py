"""Training speed of a recipe beside a bare `model.fit` on arrays in memory: examples per second, and their ratio.

    python benchmarks/training.py --examples 1280 --epochs 31
    python benchmarks/training.py --models transformer_classifier
    python benchmarks/training.py --models lenet5,resnet20 --epochs 30 --checkpoints
    python benchmarks/training.py --models lenet5 --start --rounds 5

Both train the same network with the same optimizer and batch on the same pictures, or texts of 128 tokens, each in a
process of its own. They take turns, epoch by epoch, so that whatever else the machine does meets both; while one trains
the other waits. The first epoch of each, which traces the graph, is left out. An epoch lasts until the next begins: the
recipe shuffles, watches the loss and keeps the best weights in that time. The ratio is the median of those of all pairs
of epochs; beside it stands between which values the middle half of them lies.

With `--checkpoints` the recipe is compared with itself: a training with checkpoints at the default interval, of which
it should take some minutes to have several, and one with a single checkpoint at its end. Their share of the training is
measured within the first; the ratio of both trainings' seconds also holds what else goes on on the machine.

With `--start` it is measured how long it takes from the command `zoo train MODEL --data digits` (or `sentences`) to the
end of its first step, each time in a new process, and how much of that is the import of TensorFlow and Keras alone.
"""

import argparse
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import recipes
import zoo

LEAN = """
import os
import sys
from zoo.__main__ import main
from zoo.lean_imports import LeanImports
sys.meta_path.insert(0, LeanImports())  # as main does it
"""
UNTIL_FIRST_STEP = f"""{LEAN}
from recipes import callbacks
callbacks.SignalsBetweenSteps.on_train_batch_end = lambda *arguments, **logs: os._exit(0)
main()
"""
IMPORTS = f"""{LEAN}
import tensorflow, keras
os._exit(0)
"""
CLASSES = 10
LENGTH, WORDS = 128, 1000


@dataclass(frozen=True)
class Work:
    """The same examples for both: `raw` for the recipe, and `tensors` for `fit`, for a network built with `built`."""

    recipe: Callable
    options: dict[str, Any]
    raw: Any
    tensors: np.ndarray
    built: dict[str, Any]
    classes: np.ndarray


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="lenet5,resnet20,lstm,transformer_classifier", help="names, by commas")
    parser.add_argument("--examples", type=int, default=12_800)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=12, help="the first is not counted")
    parser.add_argument("--rounds", type=int, default=2, help="with --checkpoints or --start")
    parser.add_argument("--checkpoints", action="store_true", help="what those at the default interval cost")
    parser.add_argument("--start", action="store_true", help="how long it takes to the first step")
    options = parser.parse_args()
    measure = measure_start if options.start else compare_checkpoints if options.checkpoints else compare_with_fit
    measure(options)


def work_of(name, options) -> "Work":
    """What a model is trained on."""
    return (texts if reads_texts(name) else pictures)(name, options.examples)


def reads_texts(name) -> bool:
    """Whether a model reads tokens."""
    return "vocabulary_size" in zoo.spec(name).arguments


def compare_with_fit(options):
    """Print the table of recipe and bare fit."""
    print("| model | bare fit, examples/s | recipe, examples/s | tokens/s | recipe / bare | middle half |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in options.models.split(","):
        bare, recipe = np.array(in_turns([fit_bare, train], name, options))[:, 1:]
        slow, fast = (options.examples / np.median(seconds) for seconds in (bare, recipe))
        tokens = f"{fast * LENGTH:,.0f}" if reads_texts(name) else ""
        low, ratio, high = np.quantile(bare / recipe, [0.25, 0.5, 0.75])
        print(f"| {name} | {slow:,.0f} | {fast:,.0f} | {tokens} | {ratio:.2f} | {low:.2f} to {high:.2f} |", flush=True)


def in_turns(trainings, name, options) -> list[list[float]]:
    """Seconds of every epoch of several trainings, each in a process of its own, of which one at a time trains."""
    context = multiprocessing.get_context("spawn")
    processes, talks, seconds = [], [], [[] for _ in trainings]
    for training in trainings:
        talk, theirs = context.Pipe()
        processes.append(context.Process(target=take_turns, args=(theirs, training, name, options), daemon=True))
        processes[-1].start()
        theirs.close()  # so that a process that fails is an end of the talk
        talk.recv()
        talks.append(talk)
    for _ in range(options.epochs):
        for talk, found in zip(talks, seconds, strict=True):
            started = time.perf_counter()
            talk.send("go on")
            talk.recv()
            found.append(time.perf_counter() - started)
    for process in processes:
        process.join()
    return seconds


def take_turns(talk, training, name, options):
    """Train, in a process of its own: ready at every epoch's beginning and at the end, waiting to be told to go on."""
    import keras

    class Turns(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            talk.send("ready")
            talk.recv()

        def on_train_end(self, logs=None):
            talk.send("ready")

    fit = keras.Model.fit
    keras.Model.fit = lambda *args, callbacks=(), **named: fit(*args, callbacks=[Turns(), *callbacks], **named)
    training(name, work_of(name, options), options)


def compare_checkpoints(options):
    """Print the table of trainings with checkpoints at the default interval and with one at the end."""
    print("| model | MB | training, s | checkpoints | seconds each | share of the training | with / without |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in options.models.split(","):
        work, found = work_of(name, options), {None: [], "1000h": []}
        for _ in range(options.rounds):
            for every, facts in found.items():
                facts.append(train(name, work, options, every))
        fastest, without = (min(facts, key=training_seconds) for facts in found.values())
        seconds, costs = training_seconds(fastest), fastest["checkpoints"]
        print(
            f"| {name} | {fastest['size'] / 1e6:.1f} | {seconds:.0f} | {costs['written']} "
            f"| {costs['seconds'] / costs['written']:.3f} | {costs['seconds'] / seconds:.2%} "
            f"| {seconds / training_seconds(without):.3f} |",
            flush=True,
        )


def measure_start(options):
    """Print the table of the seconds to the first step, of all rounds the fewest."""
    print("| model | command to first step, s | of these TensorFlow and Keras, s |")
    print("|---|---:|---:|")
    for name in options.models.split(","):
        start, imports = [], []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                data = "sentences" if reads_texts(name) else "digits"
                words = ["train", name, "--data", data, "--epochs", "1", "--run-dir", f"{folder}/run"]
                start.append(seconds_of(UNTIL_FIRST_STEP, *words))
            imports.append(seconds_of(IMPORTS))
        print(f"| {name} | {min(start):.2f} | {min(imports):.2f} |", flush=True)


def seconds_of(program, *words) -> float:
    """Of a Python program in a process of its own."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True)
    return time.perf_counter() - started


def training_seconds(facts) -> float:
    """Of a Run, from the reading of the data to the last epoch's end."""
    return facts["seconds"]["training"]


def size(run) -> int:
    """Bytes of a Run's last checkpoint."""
    return max((run.dir / "checkpoints").iterdir()).stat().st_size


def pictures(name, count) -> Work:
    """Random uint8 pictures."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (count, *zoo.spec(name).arguments["input_shape"]), np.uint8)
    tensors = (x / 255).astype(np.float32)
    return Work(recipes.image_classification, {}, x, tensors, {}, rng.integers(0, CLASSES, count))


def texts(name, count) -> Work:
    """Random words, as many as make texts of 128 tokens between start and end."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, WORDS, (count, LENGTH - 2))
    tensors = np.pad(ids + 4, [(0, 0), (1, 1)], constant_values=2).astype(np.int32)
    raw = [" ".join(f"w{i}" for i in row) for row in ids]
    built = {"input_shape": (None,), "vocabulary_size": WORDS + 4, "max_length": LENGTH}
    classes = rng.integers(0, CLASSES, count)
    return Work(recipes.text_classification, {"max_length": LENGTH}, raw, tensors, built, classes)


def fit_bare(name, work, options):
    """Train by `model.fit` on tensors."""
    import keras

    known = {k: v for k, v in work.built.items() if k in zoo.spec(name).arguments}
    model = zoo.build(name, num_classes=CLASSES, **known)
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    classes = keras.utils.to_categorical(work.classes, CLASSES)
    model.fit(work.tensors, classes, batch_size=options.batch_size, epochs=options.epochs, verbose=0)


def train(name, work, options, checkpoint_every=None) -> dict[str, Any]:
    """Train by the recipe, and return the facts of its Run, with the size of its last checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        run = work.recipe(
            name,
            {"train": (work.raw, work.classes), "test": (work.raw[:100], work.classes[:100])},  # none for validation
            validation=0,
            epochs=options.epochs,
            batch_size=options.batch_size,
            run_dir=str(Path(folder) / "run"),
            checkpoint_every=checkpoint_every,
            verbose=False,
            **work.options,
        )
        return run.facts | {"size": size(run)}


if __name__ == "__main__":
    main()
