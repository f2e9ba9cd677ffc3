"""Requests that a version must answer before it is served: ``assets.extra/tf_serving_warmup_requests``.

The file is an uncompressed TFRecord of PredictionLog (tensorflow/serving, saved_model_warmup.md). A record that fails,
fails the version: the warm-up file is a self-test.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from google.protobuf.message import DecodeError

from serving.embedded import inference
from serving.embedded.status import invalid_argument
from serving.protos import serving_pb2 as pb

MAX_RECORDS = 1000
FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def warm_up(
    servable: inference.Servable, folder: Path, read_records: Callable[[Path], Iterable[bytes]], iterations: int = 1
) -> int:
    """Runs every record of the version in ``folder``; their number. Raises ServingError at the first failure."""
    path = folder / FILE
    if not path.is_file():
        return 0
    count = 0
    for record in read_records(path):
        log = _parse(record, path)
        for _ in range(max(1, iterations)):  # 0 is TensorFlow Serving's default, and means one
            _run(servable, log)
        count += 1
        if count > MAX_RECORDS:
            raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")
    return count


def _parse(record: bytes, path: Path) -> pb.PredictionLog:
    try:
        return pb.PredictionLog.FromString(record)
    except DecodeError:
        text = record.decode("utf-8", "replace")
        raise invalid_argument(f"Failed to parse warmup record: {text} from {path}") from None


def _run(servable: inference.Servable, log: pb.PredictionLog) -> None:
    """Warm-up asks the version it belongs to, whatever model the record names."""
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inference.predict_tensors(
            servable, request.model_spec.signature_name, request.inputs, list(request.output_filter)
        )
    elif kind == "classify_log":
        request = log.classify_log.request
        inference.classify(servable, request.model_spec.signature_name, request.input)
    elif kind == "regress_log":
        request = log.regress_log.request
        inference.regress(servable, request.model_spec.signature_name, request.input)
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        inference.multi_inference(servable, request.tasks, request.input)
