"""A mirror of published weights on this machine, so that what downloads them can be tested without a network."""

import functools
import hashlib
import io

import h5py
import keras
from keras.src.applications import imagenet_utils, mobilenet_v3
from keras.src.backend import config
from keras.src.legacy.saving import legacy_h5_format


class Mirror:
    """The files of MobileNetV3-small as Keras publishes them, with random weights.

    Attributes:
        folder: where the files lie, in place of the server.
        cache: where Keras puts what it has fetched.
        networks: with the head (`True`) and without it (`False`), the networks whose weights they hold.
    """

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder / "mirror", monkeypatch
        self.folder.mkdir()
        self.networks, self.files = {}, []
        for include_top, suffix in ((True, ""), (False, "_no_top_v2")):
            self.networks[include_top], content = published(include_top)
            self.files.append(self.folder / f"weights_mobilenet_v3_small_224_1.0_float{suffix}.h5")
            self.files[-1].write_bytes(content)
        monkeypatch.setattr(mobilenet_v3, "BASE_WEIGHT_PATH", self.folder.as_uri() + "/")
        monkeypatch.setattr(
            imagenet_utils, "CLASS_INDEX", {str(i): (f"n{i:08}", f"thing{i // 2}") for i in range(1000)}
        )
        # The variable KERAS_HOME is read once, when Keras is imported; a folder that is not there is not taken.
        self.cache = folder / "keras" / "models"
        self.cache.mkdir(parents=True)
        monkeypatch.setattr(config, "_KERAS_DIR", str(self.cache.parent))

    def vouch(self):
        """Let the files have the hashes that Keras expects."""
        hashes = tuple(hashlib.md5(file.read_bytes()).hexdigest() for file in self.files)
        self.monkeypatch.setattr(mobilenet_v3, "WEIGHTS_HASHES", {"small_224_1.0_float": hashes})


@functools.cache
def published(include_top: bool) -> tuple[keras.Model, bytes]:
    """A network, not to be changed, and the content of the file of its weights."""
    network, content = mobilenet_v3.MobileNetV3Small(weights=None, include_top=include_top), io.BytesIO()
    with h5py.File(content, "w") as store:
        legacy_h5_format.save_weights_to_hdf5_group(store, network)
    return network, content.getvalue()
