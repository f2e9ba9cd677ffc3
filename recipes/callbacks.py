"""What watches a training: non-finite losses, signals, the best weights, the history."""

import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

SAMPLES_FILE = "samples.txt"


class TrainingDiverged(ValueError):
    """The loss became NaN or infinite.

    Attributes:
        step: the training step at which it did, from 1.
    """

    def __init__(self, step: int, message: str):
        super().__init__(message)
        self.step = step


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Stops at the first step whose loss is NaN or infinite, or after the epoch whose validation loss is.

    `step` then holds the number of the last step taken, from 1, else None.

    Args:
        steps: per epoch.
    """

    def __init__(self, steps: int):
        super().__init__()
        self.steps, self.step = steps, None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.step is None and not math.isfinite(float(logs["loss"])):
            self._stop(batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(float(logs.get("val_loss", 0.0))):
            self._stop(self.steps)

    def _stop(self, step):
        self.step = self._epoch * self.steps + step
        raise Interrupted


class CallbacksFromStep(keras.callbacks.CallbackList):
    """Callbacks as one, of a `fit` that begins within an epoch: batches are numbered from the beginning of that epoch.

    Keras takes as many steps in every epoch; the first one is ended where it ends.

    Args:
        callbacks: the callbacks.
        done: steps of the first epoch that are taken already.
        steps: per epoch.
    """

    def __init__(self, callbacks: list, done: int, steps: int):
        super().__init__(callbacks)
        self._done, self._steps = done, steps

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(self._done + batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(self._done + batch, logs)
        if self._done and self._done + batch + 1 == self._steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if self._done:
            self._done, self.model.stop_training = 0, False
        super().on_epoch_end(epoch, logs)


class Interrupted(Exception):
    """Leaves `fit` in the middle of an epoch."""


class SignalsBetweenSteps(keras.callbacks.Callback):
    """Within a `with` block around `fit`, SIGINT and SIGTERM take effect when the step at work has ended.

    What their handlers raise within TensorFlow's own code can be swallowed there, or bring the process down. A second
    signal takes effect at once. What is ignored or ends the process stays as it is, and so do other threads' trainings.
    """

    def __enter__(self):
        self._held = None
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        mine = threading.current_thread() is threading.main_thread()
        self._handlers = {number: handler for number, handler in handlers.items() if mine and callable(handler)}
        for number in self._handlers:
            signal.signal(number, self._hold)
        return self

    def __exit__(self, *error):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if error == (None, None, None):
            self._let_go()

    def on_train_batch_end(self, batch, logs=None):
        self._let_go()

    def on_test_batch_end(self, batch, logs=None):
        self._let_go()

    def _hold(self, number, frame):
        if self._held:
            self._let_go()
        self._held = number, frame

    def _let_go(self):
        if self._held:
            (number, frame), self._held = self._held, None
            self._handlers[number](number, frame)


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """Puts the moving average of the weights into the model for validation and for the callbacks after this one."""

    def __init__(self):
        super().__init__(swap_on_epoch=True)

    def _tf_swap_variables(self, optimizer):
        # Keras exchanges by adding and subtracting, which rounds: training would go on from other weights.
        self._backend_swap_variables(optimizer)


def more_is_better(monitor: str) -> bool:
    """Whether a larger figure of an epoch is the better one; of losses, errors and distances, less is."""
    return monitor.removeprefix("val_") in ("accuracy", "mean_iou")


class CopiedWeights(keras.callbacks.Callback):
    """Gives a network the weights of the form in which it is trained, after every epoch."""

    def __init__(self, form: keras.Model, network: keras.Model):
        super().__init__()
        self.form, self.network = form, network

    def on_epoch_end(self, epoch, logs=None):
        self.network.set_weights(self.form.get_weights())


class BestWeights(keras.callbacks.Callback):
    """Remembers the weights of the best epoch, and stops when no epoch has been better for `patience` epochs.

    Args:
        network: whose weights they are.
        monitor: name in the epoch's logs, see `more_is_better`.
        patience: epochs without gain before `fit` stops; None never stops.

    `waited` counts the epochs since.
    """

    def __init__(self, network: keras.Model, monitor: str, patience: int | None):
        super().__init__()
        self.network, self.monitor, self.patience = network, monitor, patience
        self.sign = 1 if more_is_better(monitor) else -1
        self.best, self.epoch, self.weights, self.waited = -math.inf, None, None, 0

    def record(self) -> dict[str, Any]:
        """All that it remembers but the weights, JSON values."""
        return {"monitor": self.monitor, "value": self.best, "epoch": self.epoch, "waited": self.waited}

    def restore(self, record: Mapping[str, Any], weights: list[np.ndarray] | None) -> None:
        """Remember what was recorded; nothing, if it was told by another figure."""
        if record["monitor"] == self.monitor:
            self.best, self.epoch, self.waited = record["value"], record["epoch"], record["waited"]
            self.weights = weights

    @property
    def value(self) -> float:
        """The best figure itself."""
        return self.sign * self.best

    @property
    def may_stop(self) -> bool:
        """Whether an epoch without gain would be the last."""
        return self.patience is not None and self.waited + 1 >= self.patience

    @property
    def has_stopped(self) -> bool:
        """Whether there were as many epochs without gain as are waited for."""
        return self.patience is not None and self.waited >= self.patience

    def on_epoch_end(self, epoch, logs=None):
        value = self.sign * float(logs[self.monitor])
        self.waited += 1
        if value > self.best:
            self.best, self.epoch, self.weights = value, epoch, self.network.get_weights()
            self.waited = 0
        elif self.has_stopped:
            self.model.stop_training = True


class AfterEpoch(keras.callbacks.Callback):
    """Calls a function with the number of every epoch, from 0, when it has ended."""

    def __init__(self, function: Callable[[int], None]):
        super().__init__()
        self.function = function

    def on_epoch_end(self, epoch, logs=None):
        self.function(epoch)


class Samples(keras.callbacks.Callback):
    """After every epoch, asks the network in training some texts, and adds to a file what it makes of them.

    Args:
        texts: objects `(n,)`.
        answer: texts, string `(n,)` → texts, string `(n,)`, in operations of TensorFlow.
        path: the file.
    """

    def __init__(self, texts: np.ndarray, answer: Callable[[tf.Tensor], tf.Tensor], path: Path):
        super().__init__()
        self.texts, self.path = tf.constant(texts, tf.string), path
        self.answer = tf.function(answer, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)

    def on_epoch_end(self, epoch, logs=None):
        pairs = zip(self.texts.numpy(), self.answer(self.texts).numpy(), strict=True)
        lines = [f"epoch {epoch + 1}", *(f"  {_line(text)} → {_line(written)}" for text, written in pairs)]
        # A training that was killed may have written of this epoch, which it goes through again.
        heading = f"{lines[0]}\n".encode()
        earlier = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        kept = takewhile(lambda line: line != heading, earlier)
        self.path.write_bytes(b"".join([*kept, *(f"{line}\n".encode() for line in lines)]))


def _line(text: bytes) -> str:
    return text.decode(errors="replace").replace("\n", "⏎")


class History(keras.callbacks.Callback):
    """Collects one row per epoch: its number from 1, the logs, the learning rate at its end, its seconds."""

    def __init__(self):
        super().__init__()
        self.rows = []
        self.before = 0.0
        """Seconds that the first epoch has taken already."""

    @property
    def seconds(self) -> float:
        """Those of the epoch under way."""
        return round(time.perf_counter() - self._started, 3)

    def on_epoch_begin(self, epoch, logs=None):
        self._started, self.before = time.perf_counter() - self.before, 0.0

    def on_epoch_end(self, epoch, logs=None):
        figures = {name: float(value) for name, value in logs.items()}
        rate = float(np.asarray(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))
        self.rows.append({"epoch": epoch + 1, **figures, "learning_rate": rate, "seconds": self.seconds})
