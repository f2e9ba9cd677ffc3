"""Padding before a convolution becomes the convolution's own."""

import numpy as np

from export.rewriting.graph import Graph, GraphDef


def explicit_padding(graph_def: GraphDef, kept) -> GraphDef:
    """Pad with zeros, then Conv2D without padding → Conv2D with padding "EXPLICIT": no larger copy is made first."""
    graph = Graph(graph_def, kept)
    for convolution in graph.of_op("Conv2D"):
        pad = graph.producer(convolution.input[0])
        if pad.op != "Pad" or convolution.attr["padding"].s != b"VALID":
            continue
        paddings = graph.constant(pad.input[1])
        if paddings is None or paddings.shape != (4, 2) or _pads_others(paddings, convolution.attr["data_format"].s):
            continue
        convolution.input[0] = pad.input[0]
        convolution.attr["padding"].s = b"EXPLICIT"
        convolution.attr["explicit_paddings"].list.i[:] = np.ravel(paddings).tolist()
    return graph.finished()


def _pads_others(paddings: np.ndarray, data_format: bytes) -> bool:
    """Whether examples or channels would be padded, too."""
    channels = 1 if data_format == b"NCHW" else 3
    return bool(paddings[[0, channels]].any())
