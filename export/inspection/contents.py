"""What is in the files beside the graph that servers and `verify` read: warm-up records and golden arrays."""

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from export import golden, warmup
from export.inspection import graphs
from export.inspection.shown import shown

MOST_RECORDS = 1000
"""TensorFlow Serving refuses a version with more (`saved_model_warmup_util.h`)."""

_LENGTH = struct.Struct("<QI")  # of a record in a TFRecord file, and its check sum; another one follows the record
_CHECK_SUM = 4


def problems(folder: Path, saved: saved_model_pb2.SavedModel) -> list[str]:
    """What stands against these files, one sentence each."""
    signatures = {name for graph in saved.meta_graphs for name in graph.signature_def}
    found = []
    if (folder / warmup.FILE).is_file():
        found += [f"{warmup.FILE}: {why}" for why in _records(folder / warmup.FILE, signatures)]
    for path in sorted((folder / golden.FOLDER).glob("*.npz")):
        found += [f"{golden.FOLDER}/{path.name}: {why}" for why in _arrays(path)]
    return [shown(problem) for problem in found]


def _records(path: Path, signatures: set[str]) -> Iterator[str]:
    try:
        for number, record in enumerate(_split(path.read_bytes())):
            if number == MOST_RECORDS:
                yield f"more than {MOST_RECORDS} records, and no server would load the version"
                return
            yield from (f"record {number} {why}" for why in _record(record, signatures))
    except ValueError as error:
        yield str(error)


def _split(data: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file."""
    at = 0
    while at < len(data):
        start = at + _LENGTH.size
        if start > len(data):
            raise ValueError("no file of records")
        end = start + _LENGTH.unpack_from(data, at)[0]
        at = end + _CHECK_SUM
        if at > len(data):
            raise ValueError("no file of records")
        yield data[start:end]


def _record(data: bytes, signatures: set[str]) -> Iterator[str]:
    try:
        log = prediction_log_pb2.PredictionLog.FromString(data)
    except DecodeError:
        yield "is no request"
        return
    kind = log.WhichOneof("log_type")
    if kind not in ("predict_log", "classify_log", "regress_log"):
        yield f"is a {kind}, and no request for an answer"
        return
    request = getattr(log, kind).request
    asked = request.model_spec.signature_name or "serving_default"
    if asked not in signatures:
        yield f"asks the signature {asked!r}, which is not there"
    if kind == "predict_log":
        for name, tensor in request.inputs.items():
            try:
                taken, given = graphs.tensor_bytes(tensor)
            except ValueError as error:
                yield f"has an input {name!r} of {error}"
                continue
            if taken - given > graphs.MOST_EXPANDED:
                yield f"has an input {name!r} that takes {taken:,} bytes and is written in {given:,}"


def _arrays(path: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED:
                    yield f"{info.filename} is compressed, and may blow up; ours are not"
                    continue
                with archive.open(info) as file:
                    yield from (f"{info.filename} {why}" for why in _array(file, info.file_size))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        yield f"no arrays of NumPy: {error}"


def _array(file, size: int) -> Iterator[str]:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        yield "holds pickles, and to load it may run code"
    elif file.tell() + dtype.itemsize * int(np.prod(shape, dtype=object)) != size:
        yield "is not as long as it says"
