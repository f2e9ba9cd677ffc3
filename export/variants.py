"""The variants of a version: other SavedModels that give the same answers, made of the plain one."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from export import memory, rewriting, saved_model
from export.rewriting import freezing, grappler, recurrence
from export.rewriting.casts import bfloat16_constants
from export.rewriting.freezing import Frozen

PLAIN = "plain"


class Declined(ValueError):
    """A variant that a model does not have; the message says why."""


@dataclass
class Material:
    """What variants are made of.

    Attributes:
        plain: folder of the SavedModel as it was traced.
        trace_blocks: folder → a SavedModel there whose LSTMs are single operations; None for a model without LSTMs.
        scratch: folder for what is needed in between.
    """

    plain: Path
    trace_blocks: Callable[[Path], None] | None
    scratch: Path

    @functools.cached_property
    def frozen(self) -> Frozen:
        """The variables are constants; those in files lie in `scratch`."""
        return self._frozen(self.plain)

    @functools.cached_property
    def rewritten(self) -> Frozen:
        """With every pass of `export.rewriting`."""
        frozen = self.frozen
        if self.trace_blocks:
            with recurrence.block_lstm():
                self.trace_blocks(self.scratch / "blocks")
            frozen = self._frozen(self.scratch / "blocks")
        return frozen.after(*rewriting.PASSES)

    @functools.cached_property
    def bfloat16(self) -> Frozen:
        """Its products and convolutions in bfloat16, as far as TensorFlow thinks that safe."""
        graph_def = grappler.in_bfloat16(self.rewritten.graph_def, self.rewritten.signatures)
        types = {value.type for node in graph_def.node for value in node.attr.values()}
        if tf.bfloat16.as_datatype_enum not in types:
            raise Declined("TensorFlow computes nothing of it in bfloat16 on this processor")
        return Frozen(graph_def, self.rewritten.signatures).after(bfloat16_constants)

    def _frozen(self, folder: Path) -> Frozen:
        if saved_model.read(folder / saved_model.PROTO).meta_graphs[0].asset_file_def:
            raise Declined("it reads files of its own when it is loaded")
        files = self.scratch / "weights"
        files.mkdir(exist_ok=True)
        return freezing.freeze(folder, files)


@dataclass(frozen=True)
class Variant:
    """A way to make another SavedModel.

    Attributes:
        name: its name.
        made: material → the graph.
        precision: the coarsest dtype that it computes in, beside those of the model.
    """

    name: str
    made: Callable[[Material], Frozen]
    precision: str = "float32"

    def write(self, material: Material, folder: Path) -> None:
        """Write the SavedModel.

        Raises:
            Declined: this model does not have it.
            OSError: it cannot be written.
        """
        try:
            made = self.made(material)
            memory.collect()
            made.write(folder)
            memory.give_back()
        except Declined:
            raise
        except (tf.errors.OpError, ValueError) as error:  # TensorFlow cannot rewrite such a graph
            raise Declined(f"it cannot be made: {error}") from error


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("frozen", lambda material: material.frozen),
        Variant("rewritten", lambda material: material.rewritten),
        Variant("bfloat16", lambda material: material.bfloat16, "bfloat16"),
    )
}
"""None of them is in int8. On two cores Keras' own took 2.6 times as long as float32 for MobileNetV2. LiteRT's, whose
activations are quantized as they come, took 1.1 to 2 times as long as its float32 for MobileNetV2, 0.8 times for
ResNet50 and 0.7 to 0.9 times for BERT-small: all that is certain is that it saves three quarters of the bytes."""
