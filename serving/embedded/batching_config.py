"""How requests are batched: ``--batching_parameters_file``, and ``batching_params.pbtxt`` of a version folder.

BatchingParameters in protobuf's text format (servables/tensorflow/session_bundle_config.proto). What is left out has
the defaults of core/kernels/batching_util/shared_batch_scheduler.h.
"""

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from serving.embedded import proto_file
from serving.embedded.status import ServingError, invalid_argument
from serving.protos import serving_pb2 as pb

FILE = "batching_params.pbtxt"


@dataclass(frozen=True)
class Batching:
    """Sizes are numbers of rows. ``max_run_size`` is less than ``max_request_size`` only where requests are split."""

    max_request_size: int = 1000
    max_run_size: int = 1000
    timeout_seconds: float = 0.0
    max_waiting: int = 10
    num_threads: int = os.cpu_count() or 1
    allowed_sizes: tuple[int, ...] = ()
    splits: bool = False
    pads_inputs: bool = False

    def run_size(self, size: int) -> int:
        """What a batch of ``size`` rows is padded to."""
        return min((allowed for allowed in self.allowed_sizes if allowed >= size), default=size)


def read(path: str | Path) -> Batching:
    """The parameters in a file. NOT_FOUND without it, INVALID_ARGUMENT where they are none or cannot be kept to."""
    parameters = proto_file.read(path, pb.BatchingParameters())
    try:
        return of(parameters)
    except ServingError as error:
        raise ServingError(error.code, f"{error.message} ({path})") from None


def of(parameters: pb.BatchingParameters) -> Batching:
    """The parameters, checked. INVALID_ARGUMENT where TF Serving would refuse them, start and fail, or crash."""
    default = Batching()
    max_size = _at_least(1, parameters, "max_batch_size", default.max_request_size)
    splits = parameters.enable_large_batch_splitting.value
    max_run_size = _at_least(1, parameters, "max_execution_batch_size", max_size) if splits else max_size
    if max_run_size > max_size:
        raise invalid_argument(
            "When enable_large_batch_splitting is true, max_batch_size must be greater than or equal to "
            f"max_execution_batch_size; they were {max_size} and {max_run_size}"
        )
    _check_allowed_sizes(parameters.allowed_batch_sizes, max_size)
    return Batching(
        max_request_size=max_size,
        max_run_size=max_run_size,
        timeout_seconds=_at_least(0, parameters, "batch_timeout_micros", 0) / 1e6,
        max_waiting=_at_least(1, parameters, "max_enqueued_batches", default.max_waiting),
        num_threads=_at_least(1, parameters, "num_batch_threads", default.num_threads),
        allowed_sizes=tuple(parameters.allowed_batch_sizes),
        splits=splits,
        pads_inputs=parameters.pad_variable_length_inputs,
    )


def _at_least(least: int, parameters: pb.BatchingParameters, name: str, default: int) -> int:
    value = getattr(parameters, name).value if parameters.HasField(name) else default
    if value < least:
        raise invalid_argument(f"{name} must be {'positive' if least else 'non-negative'}; was {value}")
    return value


def _check_allowed_sizes(sizes: list[int], max_size: int) -> None:
    if not sizes:
        return
    if sizes[-1] != max_size:
        raise invalid_argument(
            f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {sizes[-1]}; "
            f"expected {max_size}"
        )
    if sizes[0] < 1 or any(size <= before for before, size in pairwise(sizes)):
        raise invalid_argument(
            f"allowed_batch_sizes entries must be positive and monotonically increasing; were {list(sizes)}"
        )
