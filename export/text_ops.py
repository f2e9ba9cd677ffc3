"""The ops of TensorFlow Text that WordPiece is served with, as TF Serving's image has them built in.

The embedded server has a copy of its own (`serving.embedded.text_ops`), because serving imports nothing of export.
"""

import importlib.util
from pathlib import Path

import tensorflow as tf

LIBRARIES = ("_fast_wordpiece_tokenizer.so", "_normalize_ops.so")


def register() -> None:
    """Make the ops known where the package is installed. Only its libraries are loaded: all of it would need Keras."""
    if found := importlib.util.find_spec("tensorflow_text"):
        folder = Path(found.submodule_search_locations[0], "python", "ops")
        for library in LIBRARIES:
            tf.load_op_library(str(folder / library))
