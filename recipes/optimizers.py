"""Optimizers by name, and the learning rate over time."""

import math

import keras
from keras import ops

from recipes.config import Config

_SGD = {"sgd": {}, "momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}
_ADAPTIVE = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}


def peak_rate(config: Config) -> float:
    """The learning rate asked for, or the optimizer's default."""
    if config.learning_rate is not None:
        return config.learning_rate
    return 0.01 if config.optimizer in _SGD else 0.001


def make(config: Config, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer that a configuration asks for, with its schedule, weight decay and clipping."""
    rate = peak_rate(config)
    decay = config.weight_decay if config.weight_decay is not None else 0.01 * (config.optimizer == "adamw")
    arguments = {
        "learning_rate": Schedule(
            config.schedule,
            rate,
            steps=config.epochs * steps_per_epoch,
            warmup_steps=round(config.warmup_epochs * steps_per_epoch),
        )
        if config.schedule != "constant" or config.warmup_epochs
        else rate,
        "weight_decay": decay or None,
        "global_clipnorm": config.clip_norm,
    }
    if config.optimizer in _SGD:
        optimizer = keras.optimizers.SGD(**_SGD[config.optimizer], **arguments)
    else:
        optimizer = _ADAPTIVE[config.optimizer](**arguments)
    if decay:
        # Loshchilov & Hutter decay kernels; biases and normalisation scales are left alone.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


@keras.saving.register_keras_serializable("recipes")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate at a step: linear warm-up from 0, then constant, step or cosine.

    - step: the rate divided by 10 after 1/2 and again after 3/4 of all steps (He et al. 2015, §4.2).
    - cosine: from the rate to 0 over the steps after the warm-up (Loshchilov & Hutter 2017, eq. 5).

    Args:
        kind: "constant", "step" or "cosine".
        rate: the peak rate.
        steps: steps of the whole training.
        warmup_steps: steps of the warm-up.
    """

    def __init__(self, kind: str, rate: float, steps: int, warmup_steps: int = 0):
        self.kind, self.rate, self.steps, self.warmup_steps = kind, rate, steps, warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        return self.rate * ops.minimum(1.0, (step + 1) / max(self.warmup_steps, 1)) * self._factor(step)

    def _factor(self, step):
        if self.kind == "constant":
            return 1.0
        if self.kind == "step":
            drops = ops.cast(step >= self.steps / 2, "float32") + ops.cast(step >= self.steps * 3 / 4, "float32")
            return ops.power(0.1, drops)
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        return 0.5 * (1 + ops.cos(math.pi * ops.clip(done, 0.0, 1.0)))

    def get_config(self):
        return {"kind": self.kind, "rate": self.rate, "steps": self.steps, "warmup_steps": self.warmup_steps}
