"""The stranger's view: load a version with TensorFlow alone, or a companion, and answer golden inputs.

It runs in a process of its own, which `export.fresh_process` starts and which takes the time of versions, too. Keras is
shut out of it, so that nothing but the folder can answer.
"""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from export import golden, memory, timing
from export.golden import Golden
from export.loading import Signatures, loaded
from recipes import arrays
from recipes.arrays import Arrays
from recipes.batches import all_joined, parts
from zoo.lean_imports import uncollected

ALL, AGAIN, ALONE, NONE, REFUSED = "all", "again", "alone", "none", "refused"
EXAMPLES_OF = {ALL: golden.AT_ONCE, AGAIN: golden.AT_ONCE, ALONE: 1}
"""Question → examples in a request of it."""
WARMUP = "warm-up"
ERROR = "error"


def replay(path: str | Path, examples: str | Path | None = None, once: bool = False) -> dict[str, Arrays]:
    """Answer every golden input, in batches, the same once more, one by one, and none at all; refuse what is to be.

    Args:
        path: folder of the version, or file of a companion. A companion is asked no nothing, and no warm-up records,
            which are the server's.
        examples: the folder that holds the golden inputs and the warm-up records; None: the version's.
        once: answer every golden input in batches, and nothing else.

    Returns:
        `signature|question` → outputs by name, where question is one of `all`, `again`, `alone`, `none`; `refused` →
        `{"refused": bool}`, one for every input that is to be. Or, where a signature or a warm-up record failed,
        `signature|error` → `{"error": text}`. `none` may be left out: see below.
    """
    path, examples = Path(path), Path(examples or path)
    questions = golden.load(examples)
    with loaded(path) as signatures:
        memory.give_back()  # what was read
        replies = _answers(signatures, questions, [ALL] if once else [*EXAMPLES_OF])
        if path.is_dir() and not once:
            replies |= _nothing(signatures, questions) | _warm_up(examples, signatures)
    return replies


def _answers(signatures: Signatures, questions: Mapping[str, Golden], asked: Sequence[str]) -> dict[str, Arrays]:
    replies = {}
    for name, of_signature in questions.items():
        if name not in signatures:
            replies[f"{name}|{ERROR}"] = _error(KeyError(f"there is no signature {name!r}"))
            continue
        try:
            for question in asked:
                some = parts(of_signature.inputs, EXAMPLES_OF[question])
                replies[f"{name}|{question}"] = all_joined([signatures[name](part) for part in some])
            refused = [_is_refused(signatures[name], row) for row in parts(of_signature.refused, 1)]
            replies[f"{name}|{REFUSED}"] = {REFUSED: np.array(refused, bool)}
            memory.give_back()  # what optimizing the graph held, before it is for the next signature
        except Exception as error:  # the graph's own, of any kind: it is the finding, not a fault of this program
            replies[f"{name}|{ERROR}"] = _error(error)
    return replies


def _nothing(signatures: Signatures, questions: Mapping[str, Golden]) -> dict[str, Arrays]:
    import tensorflow as tf

    replies = {}
    for name in questions.keys() & signatures.keys():
        # TensorFlow's own convolutions fail on an empty batch where oneDNN runs them (a fused convolution gives the
        # wrong depth), so no answer to nothing is no fault of the version. A wrong one is.
        with contextlib.suppress(tf.errors.OpError):
            replies[f"{name}|{NONE}"] = signatures[name](golden.rows(questions[name].inputs, 0))
    return replies


def _is_refused(signature: Callable[[Arrays], Arrays], row: Arrays) -> bool:
    import tensorflow as tf

    try:
        signature(row)
    except tf.errors.InvalidArgumentError:
        return True
    return False


def _warm_up(folder: Path, signatures: Signatures) -> dict[str, Arrays]:
    from export import warmup

    try:
        for name, inputs in warmup.read(folder):
            signatures[name](inputs)
    except Exception as error:  # as above
        return {f"{WARMUP}|{ERROR}": _error(error)}
    return {}


def _error(error: Exception) -> Arrays:
    return {ERROR: np.array([f"{type(error).__name__}: {error}".encode()], object)}


TASKS = {"replay": replay, "measure": timing.measure}


def main() -> None:
    """Do the tasks that come by the connection whose file descriptor is the argument, until it is closed.

    A task is JSON, `[name, arguments]`, whose folders are strings; the reply is a `.npz`.
    """
    sys.modules |= {"keras": None, "jax": None}  # whoever imports them now fails; TensorFlow does without
    with uncollected():
        import tensorflow  # noqa: F401 - while the publisher is still at work

    connection = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError):
        while True:
            task, arguments = json.loads(connection.recv_bytes())
            buffer = io.BytesIO()
            arrays.save(buffer, TASKS[task](**arguments))
            connection.send_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
