"""Warm-up records: requests that TF Serving runs before it calls a version available.

`assets.extra/tf_serving_warmup_requests`, an uncompressed TFRecord file of `PredictionLog`. A record that fails fails
the load, so the file is also the server's self-test; the proof runs every record before a version is published.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from export.golden import Golden, rows
from recipes.arrays import Arrays

FILE = "assets.extra/tf_serving_warmup_requests"
BATCH_SIZES = (1, 8)


def write(folder: Path, golden: Mapping[str, Golden], batch_sizes: tuple[int, ...] = BATCH_SIZES) -> None:
    """Write a record for every signature at every batch size, taken from the golden inputs.

    Raises:
        OSError: they cannot be written.
    """
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for signature, examples in golden.items():
                for size in batch_sizes:
                    writer.write(_record(signature, rows(examples.inputs, size)).SerializeToString())
    except tf.errors.OpError as error:
        raise OSError(f"Warm-up records cannot be written: {error.message}") from error


def read(folder: Path) -> Iterator[tuple[str, Arrays]]:
    """The requests of a version's warm-up file: signature and inputs."""
    for data in tf.data.TFRecordDataset(str(folder / FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(data).predict_log.request
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        yield request.model_spec.signature_name, inputs


def _record(signature: str, inputs: Arrays) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    # No model name: the server runs the records on the model whose folder they lie in.
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
