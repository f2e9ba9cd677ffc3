"""ONNX, the exchange format that ONNX Runtime runs, in many languages and on many devices.

Loops stay loops, so that recurrent layers take texts of any length. A text is UTF-8 in ONNX.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.companions.companion import Companion, Unavailable
from export.version import DEFAULT
from recipes.arrays import Arrays

if TYPE_CHECKING:
    from export.rewriting.freezing import Frozen

OPSET = 18
"""The newest that tf2onnx writes."""
OUT = "_out"
"""Behind the name of an output that is called as an input is: in ONNX every tensor has a name of its own."""


def _make(frozen: "Frozen") -> bytes:
    import onnx
    import tf2onnx
    from tensorflow.python.util import deprecation

    from export.rewriting import fusable_gelu

    graph_def = frozen.after(fusable_gelu).graph_def  # ONNX has erf, and not erfc, by which Keras writes GELU
    signature = frozen.signatures[DEFAULT]
    inputs = {info.name: name for name, info in sorted(signature.inputs.items())}
    outputs = {
        info.name: name + OUT if name in signature.inputs else name for name, info in sorted(signature.outputs.items())
    }
    try:
        with deprecation.silence():  # of what tf2onnx calls
            made, _ = tf2onnx.convert.from_graph_def(
                graph_def,
                input_names=list(inputs),
                output_names=list(outputs),
                tensors_to_rename=inputs | outputs,
                opset=OPSET,
            )
        for value in (*made.graph.input, *made.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.checker.check_model(made, full_check=True)
        return made.SerializeToString()
    except Exception as error:  # of whatever class: tf2onnx, ONNX's C++ code and protobuf have their own
        raise Unavailable(str(error).partition("\n")[0]) from error


def _load(file: Path) -> Callable[[Arrays], Arrays]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    inputs = {each.name for each in session.get_inputs()}
    outputs = [each.name for each in session.get_outputs()]
    names = [name.removesuffix(OUT) if name.removesuffix(OUT) in inputs else name for name in outputs]
    return lambda asked: dict(zip(names, map(_as_served, session.run(outputs, asked)), strict=True))


def _as_served(array: np.ndarray) -> np.ndarray:
    """Strings as bytes."""
    return np.frompyfunc(str.encode, 1, 1)(array) if array.dtype == object else array


EXAMPLE = """\
import numpy
import onnxruntime

golden = numpy.load("golden/serving_default.npz")
session = onnxruntime.InferenceSession("model.onnx")
answers = session.run(None, {inputs})  # in the order of session.get_outputs()"""

ONNX = Companion("onnx", "model.onnx", "onnxruntime", ("onnx", "tf2onnx"), _make, _load, EXAMPLE)
