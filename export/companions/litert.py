"""LiteRT, which was TensorFlow Lite: models on phones and small machines, and in TensorFlow Serving where asked for.

The server's flag `--prefer_tflite_model` loads `model.tflite` in place of the SavedModel (`tflite_session.cc`). It runs
the first graph of the file with one thread, knows its inputs and outputs by the names of their tensors, and has none
but LiteRT's own operations. So the file has one graph, its tensors are named as the signature names them, and it is
asked with one thread here, too.
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from export.companions.companion import Companion, Unavailable
from export.version import DEFAULT
from recipes.arrays import Arrays

if TYPE_CHECKING:
    from export.rewriting.freezing import Frozen


def _make(frozen: "Frozen") -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        frozen.write(Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[DEFAULT])
        try:
            return _named(converter.convert())
        except Exception as error:  # of a class that is not public
            operations = sorted(set(re.findall(r"'tf\.(\w+)' op", str(error))))
            why = f"LiteRT has no form of {', '.join(operations)}" if operations else str(error).partition("\n")[0]
            raise Unavailable(why) from error


def _named(model: bytes) -> bytes:
    """The model whose tensors are named as its signature names them.

    The converter packs every model in this way, too, after it has written its own version into it.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    found = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    (signature,) = found.signatureDefs
    for each in (*signature.inputs, *signature.outputs):
        found.subgraphs[signature.subgraphIndex].tensors[each.tensorIndex].name = each.name
    return flatbuffer_utils.convert_object_to_bytearray(found)


def _load(file: Path) -> Callable[[Arrays], Arrays]:
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(str(file), num_threads=1).get_signature_runner(DEFAULT)
    return lambda inputs: model(**inputs)


EXAMPLE = """\
import numpy
from ai_edge_litert.interpreter import Interpreter

golden = numpy.load("golden/serving_default.npz")
model = Interpreter("model.tflite").get_signature_runner("serving_default")
answers = model(**{inputs})"""

SERVED = """\
TensorFlow Serving loads it in place of the SavedModel, and then has this signature alone, under the same names, with
`--prefer_tflite_model`, an experimental flag, and `--enable_model_warmup=false`, as warm-up asks all signatures."""

LITERT = Companion("litert", "model.tflite", "ai-edge-litert", (), _make, _load, EXAMPLE, SERVED)
