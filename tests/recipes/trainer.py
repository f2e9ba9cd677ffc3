"""One process: `python -m tests.recipes.trainer FOLDER CASE JSON…` trains once with each of these options.

What it sees of devices and of other processes is told by its environment; see `tests.recipes.launched`. Their Runs are
`FOLDER/0` and so on. Prints what came of each as JSON: rows of figures, metrics, and where it was trained.

An option `die_at` kills it at the end of that step, counted from 1 over the whole training.
"""

import json
import os
import signal
import sys

import numpy as np
import tensorflow as tf

import recipes
from recipes import plots
from recipes.callbacks import StopOnNonFiniteLoss

SENTENCES = [
    f"the {a} {b} is {c}" for a in ("old", "new") for b in ("house", "road", "tree") for c in ("red", "blue")
] * 3
TAGS = [["O", "what", "what", "O", "how"]] * len(SENTENCES)
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (52, 12, 12, 1), np.uint8), np.arange(52) % 3
SMALL = {"test": 0.2, "batch_size": 12, "epochs": 2, "seed": 1, "verbose": False}
CASES = {
    # 37 pictures are trained on and 5 validated by: the last batch of an epoch has 5, which no devices can share out.
    "pictures": (recipes.image_classification, "mlp", PICTURES, {
        "model_args": {"hidden_sizes": (8,), "dropout": 0.3}, "augment": ("shift",), "ema": 0.8, "batch_size": 8,
    }),
    "balanced": (recipes.image_classification, "mlp", PICTURES, {
        "model_args": {"hidden_sizes": (8,)}, "class_weights": {"0": 1.0, "1": 2.0, "2": 0.5},
    }),
    "normalised": (recipes.image_classification, "resnet20", PICTURES, {
        "model_args": {"widths": (4, 8), "blocks": (1, 1)}, "batch_size": 8,
    }),
    "texts": (recipes.language_modeling, "gpt", SENTENCES, {
        "model_args": {"depth": 1, "dim": 16, "heads": 2}, "max_length": 8, "samples": 1,
    }),
    "tags": (recipes.token_classification, "bert_tiny", (SENTENCES, TAGS), {
        "model_args": {"depth": 1, "dim": 16, "heads": 2}, "max_length": 8,
    }),
}  # fmt: skip


def simulate_devices(count: int) -> None:
    """So many devices for TensorFlow; for JAX, XLA_FLAGS says it."""
    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * count)


def die_at(step: int) -> None:
    """Let this process be killed there."""
    original = StopOnNonFiniteLoss.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        original(self, batch, logs)
        if self._epoch * self.steps + batch + 1 == step:
            os.kill(os.getpid(), signal.SIGKILL)

    StopOnNonFiniteLoss.on_train_batch_end = on_train_batch_end


def main() -> None:
    folder, case, *trainings = sys.argv[1:]
    simulate_devices(int(os.environ["SIMULATED_DEVICES"]))
    recipe, model, data, own = CASES[case]
    plots.draw = lambda *arguments: None
    for number, options in enumerate(trainings):
        given = {**SMALL, **own, **json.loads(options)}
        if step := given.pop("die_at", None):
            die_at(step)
        run = recipe(model, data, run_dir=f"{folder}/{number}", **given)
        rows = run.history.drop(columns="seconds").to_dict("records")
        told = {"history": rows, "metrics": run.metrics, "distributed": run.facts.get("distributed")}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
