"""Speed of an adversarial training step beside a bare loop: milliseconds, and their ratio.

    python benchmarks/adversarial.py --models dcgan,gan --rounds 5

Both update the same two networks with the same losses, optimizers and batches of 64 pictures of 28x28, in one process,
in turns. The bare loop is what one writes by hand: two tapes in one `tf.function`, called from Python. The epoch of
the recipe has that, and besides it the input pipeline, the watch over the loss and the history. Every round gives a
ratio, and the median of the rounds counts: above 1 says that the recipe is faster.
"""

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import recipes
import zoo
from zoo.adversarial import LOSSES

IMAGE = (28, 28, 1)
BATCH = 64
RATE = {"learning_rate": 0.0002, "beta_1": 0.5}


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="dcgan,gan", help="names, separated by commas")
    parser.add_argument("--steps", type=int, default=60, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    pixels = np.random.default_rng(0).integers(0, 256, (BATCH * options.steps, *IMAGE), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        judge = str(Path(folder) / "judge")  # which measures nothing here, but every Run has one
        recipes.image_classification(
            "lenet5", (pixels[:BATCH], np.arange(BATCH) % 10), epochs=1, run_dir=judge, verbose=False
        )
        print("| model | bare loop, ms a step | recipe, ms a step | bare / recipe |")
        print("|---|---:|---:|---:|")
        for name in options.models.split(","):
            bare = bare_loop(name, pixels)
            bare()  # traces
            seconds = np.array([[bare(), recipe_epoch(name, pixels, judge)] for _ in range(options.rounds)])
            loop, recipe = np.median(1000 * seconds / options.steps, axis=0)
            ratio = np.median(seconds[:, 0] / seconds[:, 1])
            print(f"| {name} | {loop:.1f} | {recipe:.1f} | {ratio:.2f} |", flush=True)


def bare_loop(name, pixels):
    """A call that trains for an epoch and gives its seconds."""
    generator = zoo.build(name, image_shape=IMAGE)
    discriminator = zoo.build_partner(name, image_shape=IMAGE)
    loss = LOSSES["non_saturating"]
    optimizers = [keras.optimizers.Adam(**RATE) for _ in range(2)]
    for optimizer, network in zip(optimizers, (generator, discriminator), strict=True):
        optimizer.build(network.trainable_variables)

    @tf.function
    def step(real):
        latents = tf.random.normal([BATCH, generator.input_shape[1]])
        with tf.GradientTape() as of_generator, tf.GradientTape() as of_discriminator:
            fake = generator(latents, training=True)
            real_logits, fake_logits = discriminator(real, training=True), discriminator(fake, training=True)
            losses = loss.generator(fake_logits), loss.discriminator(real_logits, fake_logits)
        for tape, each, optimizer, network in zip(
            (of_generator, of_discriminator), losses, optimizers, (generator, discriminator), strict=True
        ):
            gradients = tape.gradient(each, [weight.value for weight in network.trainable_weights])
            optimizer.apply(gradients, network.trainable_weights)

    tensors = tf.constant(pixels / 127.5 - 1, tf.float32)

    def epoch():
        started = time.perf_counter()
        for batch in tf.data.Dataset.from_tensor_slices(tensors).batch(BATCH):
            step(batch)
        return time.perf_counter() - started

    return epoch


def recipe_epoch(name, pixels, judge):
    """Seconds of the recipe's second epoch: the first one traces."""
    with tempfile.TemporaryDirectory() as folder:
        run = recipes.image_generation(
            name,
            {"train": pixels, "test": pixels[:BATCH]},
            validation=0,
            epochs=2,
            batch_size=BATCH,
            run_dir=str(Path(folder) / "run"),
            judge=judge,
            measured=0,
            samples=0,
            verbose=False,
        )
    return run.history["seconds"][1]


if __name__ == "__main__":
    main()
