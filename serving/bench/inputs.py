"""What a model is asked under load: the golden inputs of its version, a person's files, or inputs that are made up."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving import questions, version_folder
from serving.errors import Failure
from serving.metadata import ModelMetadata, Signature, TensorSpec, numpy_dtype

Arrays = dict[str, np.ndarray]

_PREFERRED = "bytes", "text", "row", "serving_default"  # raw inputs first: they are what callers send
_PICTURE = 224, 224  # pixels, of one that is made up
_TEXT = b"The quick brown fox jumps over the lazy dog."


@dataclass(frozen=True)
class Inputs:
    """A signature, the ``requests`` to send to it in turn (arrays by input), and in words where they are from."""

    signature: str
    requests: Sequence[Arrays]
    origin: str


def find(
    metadata: ModelMetadata,
    base_path: Path | None = None,
    paths: Sequence[Path] = (),
    signature: str | None = None,
    batch_size: int = 1,
) -> Inputs:
    """Inputs for a served version, ``batch_size`` rows in each request.

    They are from ``paths`` where there are any (one base path or version folder with a golden set, or files as
    ``zoo query`` takes them), else from the golden set of ``base_path``, else made up. The signature is one that fits
    them, if none is named. ValueError for an unknown signature, and for what does not fit it.
    """
    try:
        if signature is not None:
            metadata.signature(signature)
        folder = base_path if not paths else paths[0] if len(paths) == 1 else None
        files = _golden_files(folder, metadata) if folder else {}
        if paths and not files:
            chosen, asked = questions.of_files(metadata, paths, {}, signature)
            asked = questions.with_settings(list(asked), chosen, metadata.signatures[chosen], {})
            rows = questions.stack(asked, metadata.signatures[chosen])
            return _in_batches(metadata, chosen, rows, batch_size, ", ".join(map(str, paths)))
        if files and (signature is None or signature in files):
            chosen = signature or _preferred(files)
            return _in_batches(
                metadata, chosen, version_folder.golden_inputs(files[chosen]), batch_size, f"golden set in {folder}"
            )
        if paths:
            raise ValueError(f"The golden set in {folder} has no {signature!r}. It has: {', '.join(files)}")
        chosen = signature or _preferred(metadata.signatures)
        return Inputs(chosen, [made_up(metadata.signatures[chosen], batch_size)], "made up")
    except Failure as failure:
        raise ValueError(f"{metadata.name}: {failure.words}") from None


def made_up(signature: Signature, batch_size: int) -> Arrays:
    """Inputs that fit a signature: a picture, a sentence, the usual settings, else fractions and ones.

    ValueError for a serialized tf.Example.
    """
    return {name: _made_up(name, spec, batch_size) for name, spec in signature.inputs.items()}


def _golden_files(path: Path, metadata: ModelMetadata) -> dict[str, Path]:
    """The files of a golden set by signature, for those that are served."""
    found = version_folder.golden_files(version_folder.find(path, metadata.version))
    return {name: file for name, file in found.items() if name in metadata.signatures}


def _preferred(names: Mapping[str, object]) -> str:
    return next((name for name in _PREFERRED if name in names), None) or next(iter(names))


def _in_batches(
    metadata: ModelMetadata, signature: str, rows: Mapping[str, object], batch_size: int, origin: str
) -> Inputs:
    """All rows, from the top again where the last batch lacks some."""
    arrays = metadata.signatures[signature].bind(rows)
    count = len(next(iter(arrays.values())))
    batches = [
        {
            name: np.take(array, np.arange(start, start + batch_size), axis=0, mode="wrap")
            for name, array in arrays.items()
        }
        for start in range(0, count, batch_size)
    ]
    return Inputs(signature, batches, f"{origin}, {count} examples")


def _made_up(name: str, spec: TensorSpec, batch_size: int) -> np.ndarray:
    sizes = (None,) if spec.shape is None else spec.shape
    shape = [(1 if axis else batch_size) if size is None else size for axis, size in enumerate(sizes)]
    if spec.dtype == "string" and name in questions.EXAMPLES:
        raise ValueError(
            f"No serialized tf.Example can be made up for the input {name!r}. Give --input, or another --signature"
        )
    if spec.dtype == "string":
        return np.full(shape, _picture() if name.endswith("bytes") else _TEXT, object)
    dtype = numpy_dtype(spec.dtype)
    if name in questions.USUAL:
        return np.full(shape, questions.USUAL[name], dtype)
    if dtype.kind in "iub":
        return np.ones(shape, dtype)
    return np.linspace(0, 1, math.prod(shape)).reshape(shape).astype(dtype)


def _picture() -> bytes:
    """A JPEG file of colours that run into each other."""
    from PIL import Image

    down, across = np.mgrid[0 : 255 : _PICTURE[0] * 1j, 0 : 255 : _PICTURE[1] * 1j]
    file = io.BytesIO()
    Image.fromarray(np.stack([down, across, 255 - down], -1).astype(np.uint8)).save(file, "JPEG")
    return file.getvalue()
