"""What a server says of a model: its version, its signatures, their tensors. And how a caller's values fit them.

TensorFlow Serving checks names and dtypes of inputs but never shapes (``[2, 2]`` is accepted where ``[1, 2]`` was
declared), so the fit is checked here, before anything travels, and alike for both transports.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from serving.errors import Failure

_NAMES = {  # the DataTypes whose usual name is not the enum's own
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
}

# A value may become a dtype further right, never one further left: 1 is a fine float, 1.0 is no int.
_KIND_ORDER = "b", "iu", "f", "c"


def dtype_name(data_type: str) -> str:
    """``float32`` for ``DT_FLOAT``: the name that NumPy and TensorFlow use."""
    return _NAMES.get(data_type, data_type.removeprefix("DT_").lower())


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: ``dtype`` by name (``float32``, ``string``…), ``shape`` with None for a free size.

    ``shape`` is None where the rank itself is free.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        return f"{self.dtype}{format_shape(self.shape)}"

    def array(self, value: object) -> np.ndarray:
        """``value`` as an array of this dtype and a shape that fits; strings as an object array of ``bytes``.

        One bare ``bytes`` or ``str`` where a batch of strings is declared is a batch of one. Raises Failure where the
        value does not fit, or would lose digits that are not rounding (1.5 for an int, 300 for a uint8).
        """
        if self.dtype == "string":
            array = _string_array([value] if isinstance(value, (bytes, str)) and self.shape != () else value)
        else:
            array = _numeric_array(value, self.dtype)
        if not self.fits(array.shape):
            raise _invalid(f"shape {format_shape(array.shape)} does not fit {self}")
        return array

    def fits(self, shape: tuple[int, ...]) -> bool:
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want is None or want == size for want, size in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True)
class Signature:
    """A function of the model. ``defaults`` names the inputs that a request may leave out."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str = "tensorflow/serving/predict"
    defaults: frozenset[str] = frozenset()

    def bind(self, values: object) -> dict[str, np.ndarray]:
        """Arrays for this signature's inputs from a dict of names, or from one bare value if there is one input.

        Raises Failure with the nearest name for an unknown one.
        """
        if not isinstance(values, Mapping):
            if len(self.inputs) != 1:
                raise _invalid(
                    f"inputs must be a dict, as the signature has {len(self.inputs)} inputs: {self._named()}"
                )
            values = {next(iter(self.inputs)): values}
        for name in values:
            if name not in self.inputs:
                raise _invalid(f"no input {name!r}. The signature takes {self._named()}{nearest(name, self.inputs)}")
        if missing := [name for name in self.inputs if name not in values and name not in self.defaults]:
            raise _invalid(f"missing input {', '.join(map(repr, missing))}. The signature takes {self._named()}")
        return {name: _named_array(name, self.inputs[name], value) for name, value in values.items()}

    def _named(self) -> str:
        return ", ".join(f"{name}: {spec}" for name, spec in self.inputs.items()) or "no inputs"


@dataclass(frozen=True)
class ModelMetadata:
    """A served version and its signatures."""

    name: str
    version: int
    signatures: Mapping[str, Signature] = field(default_factory=dict)

    def signature(self, name: str) -> Signature:
        """The signature ``name``; Failure with the nearest match if the version has no such one."""
        if name not in self.signatures:
            raise Failure(
                "FAILED_PRECONDITION",
                f"no signature {name!r} in version {self.version}, which has {', '.join(self.signatures)}"
                f"{nearest(name, self.signatures)}",
            )
        return self.signatures[name]


@dataclass(frozen=True)
class VersionStatus:
    """The state of one version: START, LOADING, AVAILABLE, UNLOADING or END, and its error's words if it has one."""

    version: int
    state: str
    error: str = ""


def visible(signatures: Mapping[str, Signature]) -> dict[str, Signature]:
    """The signatures that a caller can ask, sorted: without the loader's own ``__saved_model_init_op``."""
    return {name: signatures[name] for name in sorted(signatures) if not name.startswith("__saved_model_")}


def decode_strings(name: str, array: np.ndarray) -> np.ndarray:
    """A string output as callers get it: ``bytes`` if its name ends in ``_bytes``, else ``str``.

    The rule is TensorFlow Serving's own for JSON. Bytes that are no UTF-8 survive as surrogates:
    ``text.encode("utf-8", "surrogateescape")`` gives them back.
    """
    if name.endswith("_bytes"):
        return array
    texts = np.empty(array.size, object)
    texts[:] = [value.decode("utf-8", "surrogateescape") for value in array.ravel().tolist()]
    return texts.reshape(array.shape)


def nearest(name: str, known: Iterable[str]) -> str:
    """``. Did you mean 'bytes'?``, or nothing where no known name is close."""
    matches = difflib.get_close_matches(str(name), list(known), n=1)
    return f". Did you mean {matches[0]!r}?" if matches else ""


def format_shape(shape: tuple[int | None, ...] | None) -> str:
    return "[…]" if shape is None else f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def numpy_dtype(name: str) -> np.dtype:
    """NumPy's dtype of a DataType's usual name; ``object`` for strings. Failure for one that NumPy does not have."""
    if name == "string":
        return np.dtype(object)
    if name == "bfloat16":
        try:
            from ml_dtypes import bfloat16
        except ImportError:  # the client is installed alone
            raise Failure("UNIMPLEMENTED", "tensors of dtype bfloat16 need the package ml_dtypes here") from None
        return np.dtype(bfloat16)
    try:
        return np.dtype(name)
    except TypeError:
        raise Failure("UNIMPLEMENTED", f"tensors of dtype {name} cannot be sent or read") from None


def _named_array(name: str, spec: TensorSpec, value: object) -> np.ndarray:
    try:
        return spec.array(value)
    except Failure as failure:
        raise Failure(failure.code, f"input {name!r}: {failure.words}") from None


def _string_array(value: object) -> np.ndarray:
    # dtype=object from the start: NumPy's own bytes dtype drops trailing zero bytes, which pictures have.
    array = np.array(value, dtype=object)
    values = array.ravel().tolist()
    if wrong := next((item for item in values if not isinstance(item, (bytes, str))), None):
        raise _invalid(f"a string tensor takes bytes or str. Received: {wrong!r} of type {type(wrong).__name__}")
    encoded = np.empty(len(values), object)
    encoded[:] = [item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item for item in values]
    return encoded.reshape(array.shape)


def _numeric_array(value: object, dtype: str) -> np.ndarray:
    target = numpy_dtype(dtype)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise _invalid(f"no {dtype} array: {error}") from None
    if array.dtype == target:
        return array
    if array.size == 0 or _widens(array.dtype, target):
        with np.errstate(over="ignore"):
            cast = array.astype(target)
        if array.size == 0 or _keeps(array, cast):
            return cast
        raise _invalid(f"values from {array.min()} to {array.max()} do not fit into {dtype}")
    raise _invalid(f"{array.dtype} values for a {dtype} tensor. Convert them first: what is lost is for you to choose")


def _widens(source: np.dtype, target: np.dtype) -> bool:
    return (rank := _kind_rank(source)) is not None and rank <= (_kind_rank(target) or 0)


def _kind_rank(dtype: np.dtype) -> int | None:
    kind = "f" if dtype.name == "bfloat16" else dtype.kind  # ml_dtypes' types are of NumPy's kind "V"
    return next((rank for rank, kinds in enumerate(_KIND_ORDER) if kind in kinds), None)


def _keeps(array: np.ndarray, cast: np.ndarray) -> bool:
    """Whether ``cast`` holds the values of ``array``, up to the rounding of floats."""
    if cast.dtype.kind in "iu":
        return bool((cast == array).all())
    finite = np.isfinite(cast)
    return bool(finite.all() or not np.isfinite(array[~finite]).any())


def _invalid(words: str) -> Failure:
    return Failure("INVALID_ARGUMENT", words)
