"""Graphs that answer the same in less time: passes from a GraphDef to a GraphDef, and what they are applied to."""

from export.rewriting.affine import fold_affine
from export.rewriting.gelu import fusable_gelu
from export.rewriting.loops import enclosed_loops
from export.rewriting.normalisation import fusable_normalisation
from export.rewriting.padding import explicit_padding
from export.rewriting.residuals import residual_sums
from export.rewriting.sharing import shared_constants
from export.rewriting.transposed import windows_as_channels

PASSES = (
    windows_as_channels,
    explicit_padding,
    fold_affine,
    fusable_normalisation,
    residual_sums,
    fusable_gelu,
    shared_constants,
    enclosed_loops,
)
"""In this order: what a pass makes, those behind it see. No shapes are known behind a loop that is enclosed."""
