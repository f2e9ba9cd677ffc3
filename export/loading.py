"""What answers for a version where there is no Keras: a session on its graph, as in TensorFlow Serving.

For a companion it is the companion's own runtime.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from export import companions
from recipes.arrays import Arrays

Signatures = Mapping[str, Callable[[Arrays], Arrays]]
"""Signature → what answers inputs by name with outputs by name."""


@contextlib.contextmanager
def loaded(path: Path) -> Iterator[Signatures]:
    """The signatures of a version's folder, or of a companion's file, as long as the block lasts."""
    if path.is_file():
        yield companions.load(path)
        return
    import tensorflow as tf
    from tensorflow.python.util import deprecation

    from export import text_ops

    text_ops.register()
    graph, config = tf.Graph(), tf.compat.v1.ConfigProto()
    # As TensorFlow Serving loads it: no second copy of the graph is kept, nor one of what is made of it.
    config.experimental.optimize_for_static_graph = config.experimental.disable_output_partition_graphs = True
    with contextlib.closing(tf.compat.v1.Session(graph=graph, config=config)) as session:
        with graph.as_default(), deprecation.silence():
            meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
        definitions = meta_graph.signature_def.items()
        yield {name: _answering(session, one) for name, one in definitions if not name.startswith("__")}


def _answering(session, definition) -> Callable[[Arrays], Arrays]:
    inputs, outputs = dict(definition.inputs), dict(definition.outputs)
    call = session.make_callable([info.name for info in outputs.values()], [info.name for info in inputs.values()])

    def answered(batch: Arrays) -> Arrays:
        return dict(zip(outputs, call(*(batch[name] for name in inputs)), strict=True))

    return answered
