"""Forward pass and training step of our networks beside the same architectures in `keras.applications`.

    python benchmarks/architectures.py --size 96 --rounds 15

Ours makes its training step as the recipes do, with fused batch normalisation; theirs as `model.fit` does. Both are
built with random weights and run on the same batch in one process, in turns. Every round gives a ratio, and the median
of the rounds counts: above 1 says that ours does more pictures per second. By default it takes the smallest member of
every family that `keras.applications` has.
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

import zoo
from recipes.trained_form import trained_form
from zoo import catalog


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(smallest_of_every_family()), help="names, separated by commas")
    parser.add_argument("--size", type=int, default=96, help="height and width in pixels")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    print(f"{options.size}x{options.size} pixels, batches of {options.batch_size}\n")
    print("| model | forward, pictures/s | ours / Keras' | training step, pictures/s | ours / Keras' |")
    print("|---|---:|---:|---:|---:|")
    for name in options.models.split(","):
        shape = (options.size, options.size, 3)
        ours, theirs = zoo.build(name, input_shape=shape), published(name, shape)
        learners = trained_form(ours, "float32"), theirs
        pixels = np.random.default_rng(0).random((options.batch_size, *shape), np.float32)
        cells = []
        for step_of, networks in ((forward, (ours, theirs)), (training_step, learners)):
            mine, other = in_turns([step_of(network, pixels) for network in networks], options.rounds)
            cells += [f"{options.batch_size / np.median(mine):,.0f}", f"{np.median(other / mine):.2f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        keras.backend.clear_session()


def smallest_of_every_family():
    """Names of the models that `keras.applications` has, too, one of every family."""
    found = sorted((e["parameters"], name, e["module"]) for name, e in catalog.read().items() if e["weights"])
    return {module: name for _, name, module in reversed(found)}.values()


def published(name, shape):
    """The same architecture of `keras.applications`, with logits."""
    application = zoo.spec(name).weights["imagenet"].application
    return getattr(keras.applications, application)(weights=None, input_shape=shape, classifier_activation=None)


def forward(network, pixels):
    """A call that runs the network on a batch."""
    run = tf.function(lambda x: network(x, training=False))
    batch = tf.constant(pixels)
    return lambda: run(batch).numpy()


def training_step(network, pixels):
    """A call that makes a step of gradient descent."""
    network.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    labels = np.arange(len(pixels))
    return lambda: network.train_on_batch(pixels, labels)


def in_turns(calls, rounds):
    """Seconds of every call in every round, float `(calls, rounds)`; each call is the first in every other round.

    Two rounds before them trace.
    """
    seconds = np.zeros((len(calls), rounds + 2))
    for i in range(rounds + 2):
        for j in range(len(calls))[:: 1 if i % 2 else -1]:
            started = time.perf_counter()
            calls[j]()
            seconds[j, i] = time.perf_counter() - started
    return seconds[:, 2:]


if __name__ == "__main__":
    main()
