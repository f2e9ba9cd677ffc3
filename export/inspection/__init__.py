"""`inspect`: what a version from a stranger would do, read from its files without loading or running any of them.

To load a SavedModel is to run a program. "TensorFlow models are programs … TensorFlow itself is not a sandbox", and
"the set of computation primitives available to TensorFlow is powerful enough that you should assume that the TensorFlow
process effectively executes arbitrary code. One common solution is to allow only a few safe Ops. While this is possible
in theory, we still recommend you sandbox the execution" (TensorFlow's SECURITY.md). This is that common solution.

Covered, and refused:

- Operations of any graph or function, used or not, that are not among those known to do nothing but compute: files,
  network, Python, other programs, logs, and all that is unknown (`operations`). A checkpoint is read and written by the
  saver's own functions alone, under the name that the server gives (`checkpoint`).
- Calls of functions that are not there, functions called like operations, objects that Keras would rebuild from code,
  assets outside of `assets/`, constants that take far more memory than bytes in the file (`graphs`).
- Whatever a version of ours does not have: links, devices, pipes, other files (`saved_model.cpb`, which TensorFlow
  would read instead, `keras_metadata.pb`, pickles, code); files that are not those of the manifest (`folder`).
- Pickles and compressed arrays in `golden/`; warm-up records that a server would not run, or that blow up (`contents`).
- Companions with data outside of the file, operations of their own, or TensorFlow's (`companions`).

Not covered: faults of the parsers that read the files (TensorFlow's checkpoints, pictures, protocol buffers, ONNX,
TFLite) and of the kernels that are allowed, which may be fed what their authors did not think of (TensorFlow Text's
reads WordPiece's table as a constant says it is); graphs that take for ever or all memory by honest operations
(`While`, `Fill`, `Tile`); models that answer wrongly on purpose, or leave out what they should say; the text of
`README.md` and `labels.txt`; and whoever changes the files after they were inspected. So inspect a copy that nobody
else can write to, and serve it without rights: `zoo deploy` does.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError

from export import saved_model, signing
from export.inspection import companions, contents, folder, graphs, operations
from export.inspection.shown import shown
from export.verification import Verdict, published_by
from export.version import Version, find


@dataclass(frozen=True)
class Inspection(Verdict):
    """What `inspect` found; true if nothing stands against the version.

    Attributes:
        version: the version.
        operations: operation → how many nodes of all graphs and functions are of it, by name.
        refused: operation → why it is refused.
        problems: everything that stands against the version, one sentence each; no control characters.
        signed_by: fingerprint of the key that signed it (`export.signing.fingerprint`), where that was asked.
    """

    version: Version
    operations: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    signed_by: str | None = None


def inspect(path: str | Path, *, signed_by: str | Path | None = None) -> Inspection:
    """Read a version without loading it, and tell what stands against serving it.

    Args:
        path: a version folder, or a base path, whose newest version is meant; the URL of one in an object store.
        signed_by: file of the public keys of which one must have signed the version: see `export.signing`.

    Returns:
        What was found. A version that is refused is no error.

    Raises:
        ValueError: there is no version at `path`, or `signed_by` holds no key.
        OSError: the version cannot be read.
    """
    version = find(path)
    trusted = None if signed_by is None else signing.public_keys(signed_by)
    with version.fetched() as here:
        if irregular := folder.irregular(here.path):  # a pipe would never be read to its end
            return Inspection(version, problems=tuple(irregular))
        signer, problems = published_by(here.path, trusted)
        counted, refused, further = _graphs(here.path)
        problems = (*map(shown, problems), *further)
    return Inspection(version, counted, refused, problems, signer)


def _graphs(path: Path) -> tuple[dict[str, int], dict[str, str], list[str]]:
    try:
        saved = saved_model.read(path / saved_model.PROTO)
    except (DecodeError, FileNotFoundError):
        return {}, {}, [f"{saved_model.PROTO}: missing, or no SavedModel"]
    counted = Counter(node.op for graph in saved.meta_graphs for body in graphs.bodies(graph) for node in body.nodes)
    called = {function.signature.name for graph in saved.meta_graphs for function in graph.graph_def.library.function}
    known = operations.SAFE | operations.CHECKPOINT | called
    refused = {name: operations.reason(name) for name in counted if name not in known}
    problems = [problem for graph in saved.meta_graphs for problem in graphs.problems(graph)]
    problems += [] if saved.meta_graphs else [f"{saved_model.PROTO}: holds no graph"]
    problems += folder.problems(path, saved) + contents.problems(path, saved) + companions.problems(path)
    told = {shown(name): count for name, count in sorted(counted.items()) if name not in called}
    return told, {shown(name): why for name, why in refused.items()}, problems
