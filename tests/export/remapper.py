"""What TensorFlow fuses in a graph where oneDNN is on, as it is not on every processor: a process of its own.

Reads GraphDefs from the node "x" to the node "y", and writes what is fused, on the connection whose file descriptor is
the argument.
"""

import contextlib
import os
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe


@contextlib.contextmanager
def running():
    """GraphDef → the ops that TensorFlow's remapper makes, each with what is fused into it."""
    ours, theirs = Pipe()
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "tests.export.remapper", str(theirs.fileno())]
    process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])
    theirs.close()

    def fused(graph_def):
        ours.send_bytes(graph_def.SerializeToString())
        return ours.recv()

    try:
        yield fused
    finally:
        ours.close()
        process.wait(60)


def main():
    from tensorflow.core.framework import graph_pb2

    from tests.export.test_rewriting import cleaned

    connection = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError):
        while True:
            graph_def = graph_pb2.GraphDef.FromString(connection.recv_bytes())
            for node in graph_def.node:
                node.device = "/device:CPU:0"
            made = [node for node in cleaned(graph_def, "remap").node if node.op.startswith("_Fused")]
            connection.send([(node.op, *_fused_into(node)) for node in made])


def _fused_into(node):
    if "activation_mode" in node.attr:
        return [node.attr["activation_mode"].s.decode()]
    return [each.decode() for each in node.attr["fused_ops"].list.s]


if __name__ == "__main__":
    main()
