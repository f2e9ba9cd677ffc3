"""Where a network is trained: on one device, on all of this machine, or on those of several machines.

The network that is looked at, evaluated and saved is always on one device. What is trained on several is its trained
form, a copy of the same layers, whose weights come back to it.

- `data`: every device has the weights and reads a part of every batch. On TensorFlow it is `MirroredStrategy`, on JAX
  `DataParallel`, in one process or in several that call each other by `jax.distributed`.
- `model`: the weights of a Transformer lie apart over the devices (Shoeybi et al., "Megatron-LM", 2019, §3), on JAX
  `ModelParallel`.

On JAX a step on several devices is one program on the whole batch, so that all is as on one device but for the order of
additions: normalisation, too, and the last batch of an epoch, however many examples it has. On TensorFlow each device
computes its part of the batch by itself; batch normalisation is told to look at all of them.

Processes find each other by the variables of `keras.distribution.initialize`, or by those of SLURM. All of them do the
same; of their Runs the first one's is kept.
"""

import atexit
import contextlib
import hashlib
import json
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from recipes import backend
from recipes.config import DISTRIBUTIONS
from recipes.distribution_variables import ADDRESSES, PROCESS, PROCESSES, SLURM_PROCESSES
from recipes.share import Share

AUTO, DATA, MODEL = DISTRIBUTIONS
HEARTBEAT_SECONDS = 20
"""After which a process from which nothing is heard counts as lost."""

BATCH_AXIS, MODEL_AXIS = "batch", "model"
LAYOUTS = (
    # What makes many numbers is cut by these, what makes few of them by what it reads: between the two nothing is sent.
    (r"attention/(query|key|value|distance)/kernel$", (None, MODEL_AXIS)),
    (r"attention/(query|key|value)/bias$", (MODEL_AXIS,)),
    (r"attention/(attention_)?output/kernel$", (MODEL_AXIS,)),
    (r"mlp_hidden/kernel$", (None, MODEL_AXIS)),
    (r"mlp_hidden/bias$", (MODEL_AXIS,)),
    (r"mlp_output/kernel$", (MODEL_AXIS,)),
    (r"stem_(tokens|embedding)/embeddings$", (None, MODEL_AXIS)),
)
"""Path of a variable → the axes by which it lies apart; those after them are whole."""


class ProcessLost(OSError):
    """Another process of the training is gone."""


class OneDevice:
    """One device of this process."""

    devices = processes = 1
    process = 0
    share: Share | None = None
    """The rows of every batch that this process reads; None: all."""
    sees_parts = False
    """Whether layers see the part of a batch that their device has, and nothing of the others."""

    def lay_out(self, network: keras.Model) -> None:
        """Decide where each of a network's weights will lie.

        Raises:
            ValueError: of "model", none of them could lie apart.
        """

    def scope(self) -> contextlib.AbstractContextManager:
        """Within it the form that is trained is made and compiled."""
        return contextlib.nullcontext()

    def of_training(
        self, trained: keras.Model, batches: tf.data.Dataset, class_weight: Mapping[int, float] | None
    ) -> dict[str, Any]:
        """What `fit` takes as data, for a compiled model, within `scope`.

        Args:
            trained: the model.
            batches: that it learns from, without end.
            class_weight: weight of every class id.
        """
        return {"x": batches, "class_weight": class_weight}

    def of_validation(self, batches: tf.data.Dataset) -> Any:
        """What `fit` takes to validate by: batches that end."""
        return batches

    def at_once(self, examples: int) -> int:
        """So many examples or a little less, of which every device has as many."""
        return max(examples - examples % self.devices, self.devices)

    def of_first(self, function: Callable[[], Any]) -> Any:
        """What a function gives in the first process, or its error, in all of them."""
        return function()

    def check_same(self, what: str, value: Any) -> None:
        """Raise ValueError unless all processes have the same, JSON values."""

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Within it, what stands for the loss of another process is told as such."""
        yield

    def record(self) -> dict[str, Any]:
        """What a Run says of it."""
        return {}


ONE_DEVICE = OneDevice()


class Mirrored(OneDevice):
    """All devices of this machine, by TensorFlow's MirroredStrategy."""

    sees_parts = True

    def __init__(self, devices: list[str]):
        self._strategy = tf.distribute.MirroredStrategy(devices)
        self.devices = len(devices)

    def scope(self):
        return self._strategy.scope()

    def of_training(self, trained, batches, class_weight):
        backend.build(trained, batches)
        # `fit` would do it by the mean of what every device has of its first batch, which must then be as much.
        trained._maybe_symbolic_build = lambda **given: None
        return super().of_training(trained, batches, class_weight)

    def record(self):
        return {"distributed": {"by": DATA, "devices": self.devices, "processes": 1}}


class Sharded(OneDevice):
    """All devices of all processes, by JAX.

    Args:
        kind: "data" or "model".
    """

    def __init__(self, kind: str):
        import jax

        self.kind, self.devices = kind, jax.device_count()
        self.process, self.processes = jax.process_index(), jax.process_count()
        self.share = Share(self.process, self.processes, self.devices if kind == DATA else 1)
        self._distribution = None

    def scope(self):
        return self._distribution.scope()

    def lay_out(self, network):
        import jax

        names = [f"{device.platform}:{device.id}" for device in jax.devices()]
        if self.kind == DATA:
            self._distribution = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
            return
        mesh = keras.distribution.DeviceMesh((1, len(names)), (BATCH_AXIS, MODEL_AXIS), names)
        layouts = keras.distribution.LayoutMap(mesh)
        for variable in network.variables:
            if axes := _axes(variable, len(names)):
                layouts[variable.path] = axes
        if not len(layouts):
            raise ValueError(
                f"{network.name!r} has no weights that can lie apart over {len(names)} devices. Accepted for "
                "distribute='model': a Transformer, whose heads and hidden units can be divided by them."
            )
        self._distribution = keras.distribution.ModelParallel(
            layout_map=layouts, batch_dim_name=BATCH_AXIS, auto_shard_dataset=False
        )

    def of_training(self, trained, batches, class_weight):
        if class_weight is not None:
            batches = batches.map(_weighting(class_weight))
        # `fit` is called outside of the scope, in which callbacks could ask no other network. What it would make there
        # is made here.
        backend.build(trained, batches)
        trained.make_train_function()
        trained.make_test_function()
        return {"x": self._everywhere(batches)}

    def of_validation(self, batches):
        return _Repeated(lambda: self._everywhere(batches), int(batches.cardinality()))

    def _everywhere(self, batches: tf.data.Dataset) -> Iterator[tuple]:
        """Batches that lie over all devices."""
        for is_shared, batch in batches.map(self.share.of).prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            yield keras.tree.map_structure(lambda array: self._placed(array, is_shared), batch)  # noqa: B023

    def _placed(self, rows: np.ndarray, is_shared: bool):
        """An array of all rows, those of this process being given, or all where they are not shared out."""
        import jax

        axes = jax.sharding.PartitionSpec(self._distribution.batch_dim_name if is_shared else None)
        sharding = jax.sharding.NamedSharding(self._distribution.device_mesh.backend_mesh, axes)
        return jax.make_array_from_process_local_data(sharding, rows)

    def of_first(self, function):
        if self.processes == 1:
            return function()
        outcome = None
        if self.process == 0:
            try:
                outcome = function(), None
            except Exception as error:  # of any kind: it is raised again, in all processes
                outcome = None, error
        given, error = _broadcast(outcome)
        if error is not None:
            raise error
        return given

    def check_same(self, what, value):
        if self.processes == 1:
            return
        from jax.experimental.multihost_utils import process_allgather

        digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
        of_all = process_allgather(np.frombuffer(digest, np.uint8))
        others = [i for i, digest in enumerate(of_all) if (digest != of_all[0]).any()]
        if others:
            raise ValueError(
                f"All processes must train with the same {what}. "
                f"Process {', '.join(map(str, others))} has others than process 0."
            )

    @contextlib.contextmanager
    def watched(self):
        import jax

        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if self.processes == 1:
                raise
            atexit.register(_leave)
            raise ProcessLost(
                f"Process {self.process} of {self.processes} cannot reach the others any more: one of them has ended. "
                "Start all of them again with resume=True, --resume: they go on from the last checkpoint. "
                f"({str(error).splitlines()[0]})"
            ) from error

    def record(self):
        return {"distributed": {"by": self.kind, "devices": self.devices, "processes": self.processes}}


class _Repeated(keras.utils.PyDataset):
    """So many batches, from the beginning every time.

    Args:
        batches: begins anew.
        count: how many there are.
    """

    def __init__(self, batches: Callable[[], Iterator[tuple]], count: int):
        super().__init__()
        self._batches, self._count = batches, count

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        if index == 0:
            self._left = self._batches()
        return next(self._left)


def begin(kind: str, task: str, distributes: bool, batch_size: int) -> OneDevice:
    """Where a training takes place; other processes are found.

    Args:
        kind: "auto", "data" or "model".
        task: its name.
        distributes: whether it can be trained on several devices.
        batch_size: examples of a step, of all devices together.

    Raises:
        ValueError: the devices or processes that were asked for are not there, the backend cannot, the task cannot, or
            a batch cannot be shared out.
    """
    on_jax, processes = backend.name() == backend.JAX, _processes()
    if processes > 1 and not on_jax:
        raise ValueError(
            f"Several processes train together on JAX alone. Received: {processes} processes and "
            f"KERAS_BACKEND={backend.name()}. Accepted: KERAS_BACKEND=jax."
        )
    if processes > 1 and (kind == MODEL or not distributes):
        what = "distribute='model'" if kind == MODEL else task
        raise ValueError(f"{what} is for one process. Received: {processes} processes.")
    if kind == MODEL:
        backend.check("distribute='model'", backend.JAX)
    if kind != AUTO and not distributes:
        raise ValueError(
            f"{task} trains networks by means of others, on one device. Received: distribute={kind!r}. Accepted: auto."
        )
    if not distributes:
        return ONE_DEVICE
    if processes > 1:
        _join(processes)
    found = _devices_of_kind(kind) if on_jax else _tensorflow_devices(kind)
    if len(found) < 2 and kind != AUTO:
        raise ValueError(
            f"distribute={kind!r} needs several devices. Received: {len(found)}, {', '.join(map(str, found))}. "
            "Accepted: auto."
        )
    if len(found) < 2:
        return ONE_DEVICE
    place = Sharded(MODEL if kind == MODEL else DATA) if on_jax else Mirrored(found)
    if kind != MODEL and batch_size % place.devices:
        raise ValueError(f"batch_size must be a multiple of the {place.devices} devices. Received: {batch_size}.")
    return place


def _leave() -> None:
    """End this process at once: what JAX does at exit waits for the others, and without them aborts."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


@contextlib.contextmanager
def passing_folder() -> Iterator[Path]:
    """A folder for what a process makes that the first one makes, too."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _processes() -> int:
    """How many there are to be."""
    return int(os.environ.get(PROCESSES) or os.environ.get(SLURM_PROCESSES) or 1)


def _join(processes: int) -> None:
    """Find the other processes, once."""
    import jax

    if jax.distributed.is_initialized():
        return
    given: Mapping[str, Any] = {}
    if PROCESSES in os.environ:
        missing = [name for name in (ADDRESSES, PROCESS) if not os.environ.get(name)]
        if missing:
            raise ValueError(f"{PROCESSES} is {processes}, and {' and '.join(missing)} not set.")
        given = {
            "coordinator_address": os.environ[ADDRESSES].split(",")[0],
            "num_processes": processes,
            "process_id": int(os.environ[PROCESS]),
        }
    jax.distributed.initialize(**given, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)


def _devices_of_kind(kind: str) -> list:
    """The devices of all processes; left to itself, one process takes several accelerators only."""
    import jax

    found = jax.devices()
    is_worth_it = jax.process_count() > 1 or kind != AUTO or found[0].platform != "cpu"
    return found if is_worth_it else found[:1]


def _tensorflow_devices(kind: str) -> list[str]:
    """Names of the accelerators; where there is none, and not left to itself, of the processors."""
    found = [device.name for device in tf.config.list_logical_devices("GPU")]
    if not found and kind != AUTO:
        found = [device.name for device in tf.config.list_logical_devices("CPU")]
    return found


def _axes(variable: keras.Variable, parts: int) -> tuple[str | None, ...] | None:
    """The axes by which a variable lies apart, if it can be cut into so many parts."""
    for pattern, axes in LAYOUTS:
        if re.search(pattern, variable.path):
            whole = (*axes, *[None] * (len(variable.shape) - len(axes)))
            cut = variable.shape[whole.index(MODEL_AXIS)]
            return whole if cut % parts == 0 else None
    return None


def _weighting(class_weight: Mapping[int, float]) -> Callable:
    """What adds the weight of its class, one-hot or a number of 0..1, to every example: `(x, y)` → `(x, y, weight)`."""
    weights = tf.constant([class_weight[i] for i in range(len(class_weight))], tf.float32)

    def weighted(x, y):
        ids = tf.argmax(y, axis=-1) if y.shape[-1] > 1 else tf.cast(tf.round(y[..., 0]), tf.int64)
        return x, y, tf.gather(weights, ids)

    return weighted


def _broadcast(value: Any) -> Any:
    """What the first process has, in all of them."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    packed = np.frombuffer(pickle.dumps(value), np.uint8)
    size = int(broadcast_one_to_all(np.array(packed.size)))
    room = np.zeros(size, np.uint8)
    room[: packed.size] = packed[:size]
    return pickle.loads(np.asarray(broadcast_one_to_all(room)).tobytes())
