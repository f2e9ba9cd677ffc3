"""Optimizers by name, and the learning rate over time."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import keras
from keras import ops

from recipes.config import Config
from recipes.fine_tuning import Phase
from recipes.trained_form import scaled
from zoo.architectures.dann import annealed_rate

_SGD = {"sgd": {}, "momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}
_ADAPTIVE = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}


def peak_rate(config: Config) -> float:
    """The learning rate asked for, or the optimizer's default."""
    if config.learning_rate is not None:
        return config.learning_rate
    return 0.01 if config.optimizer in _SGD else 0.001


def make(
    config: Config,
    steps_per_epoch: int,
    phase: Phase | None = None,
    rate_factors: Mapping[str, float] = MappingProxyType({}),
) -> keras.optimizers.Optimizer:
    """The optimizer that a configuration asks for, with its schedule, weight decay, clipping and moving average.

    Args:
        config: the recipe's options.
        steps_per_epoch: batches.
        phase: the epochs it is for, None for all; the warm-up belongs to the first ones.
        rate_factors: path of a weight → factor of its learning rate; 1 where none is given.
    """
    phase = phase or Phase(0, config.epochs)
    rate = peak_rate(config) * phase.rate_factor
    warmup = 0 if phase.first else config.warmup_epochs
    decay = config.weight_decay if config.weight_decay is not None else 0.01 * (config.optimizer == "adamw")
    arguments = {
        "learning_rate": Schedule(
            config.schedule,
            rate,
            steps=(phase.last - phase.first) * steps_per_epoch,
            warmup_steps=round(warmup * steps_per_epoch),
        )
        if config.schedule != "constant" or warmup
        else rate,
        "weight_decay": decay or None,
        "global_clipnorm": config.clip_norm,
        "use_ema": config.ema is not None,
        # Keras averages at every step, also at those that only accumulate.
        "ema_momentum": (config.ema or 0.99) ** (1 / config.gradient_accumulation),
        "gradient_accumulation_steps": config.gradient_accumulation if config.gradient_accumulation > 1 else None,
    }
    if config.beta_1 is not None and config.optimizer.startswith("adam"):
        arguments["beta_1"] = config.beta_1
    kind = keras.optimizers.SGD if config.optimizer in _SGD else _ADAPTIVE[config.optimizer]
    optimizer = _with_rates(kind, rate_factors)(**_SGD.get(config.optimizer, {}), **arguments)
    if decay:
        # Loshchilov & Hutter decay kernels; biases, scales and what is added to every picture are left alone.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "scale", "token", "positions"])
    return scaled(optimizer, config.precision)


def _with_rates(kind: type[keras.optimizers.Optimizer], factors: Mapping[str, float]):
    """A kind of optimizer that multiplies the learning rate of some weights."""
    if not factors:
        return kind

    class WithRates(kind):
        def build(self, variables):
            self.rate_factors = [factors.get(variable.path, 1.0) for variable in variables]
            super().build(variables)

        def update_step(self, gradient, variable, learning_rate):
            factor = self.rate_factors[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * factor)

    return WithRates


@keras.saving.register_keras_serializable("recipes")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate at a step: linear warm-up from 0, then constant, or falling.

    - step: the rate divided by 10 after 1/2 and again after 3/4 of all steps (He et al. 2015, §4.2).
    - annealed: the rate divided by (1 + 10 p)^0.75, p the share of the steps after the warm-up (Ganin & Lempitsky 2015,
      §4).
    - cosine: from the rate to 0 over the steps after the warm-up (Loshchilov & Hutter 2017, eq. 5).

    Args:
        kind: "constant", "step", "cosine" or "annealed".
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
        done = ops.clip((step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1), 0.0, 1.0)
        if self.kind == "annealed":
            return annealed_rate(done, 1.0)
        return 0.5 * (1 + ops.cos(math.pi * done))

    def get_config(self):
        return {"kind": self.kind, "rate": self.rate, "steps": self.steps, "warmup_steps": self.warmup_steps}
