"""Companions of a version: files beside its SavedModel that answer `serving_default` where there is no TensorFlow.

They are made of the frozen graph of that one signature, and held to what the SavedModel is held to at it. The other
signatures are the SavedModel's alone, which stays what a server loads.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from export.companions.companion import Companion
from export.companions.litert import LITERT
from export.companions.onnx import ONNX
from export.version import DEFAULT
from recipes.arrays import Arrays

COMPANIONS: Mapping[str, Companion] = {each.name: each for each in (LITERT, ONNX)}


def load(file: Path) -> dict[str, Callable[[Arrays], Arrays]]:
    """The signature of a companion → what answers inputs by name with outputs by name."""
    companion = next(each for each in COMPANIONS.values() if each.file == file.name)
    return {DEFAULT: companion.load(file)}
