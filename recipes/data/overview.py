"""What a training can say of its data at once: how large the classes are, and which examples it has twice.

Nothing is read for it but what is quickly read. `recipes.check_data` reads all, and names what it finds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.data import targets
from recipes.data.checks.census import DIGEST, digest, groups, repeats
from recipes.data.loading import Data
from recipes.data.parts import Part, Rows, one_by_one

READ = 10_000
"""Most examples that are read from where they lie."""

IN_PROGRAMS = ("arrays", "dataset")
"""Names of data that no command can be given."""

IN_MEMORY = 200_000
"""Most examples of a part in memory that are looked at."""

BYTES = 2**28
"""Most bytes of a part's examples of which digests are made."""


def of(data: Data, task: str) -> dict[str, Any]:
    """JSON values: `classes`, the examples of each class per part; `duplicates` per part, copies of an example before;
    `leaks` per part but the first, examples that are in an earlier part, too.

    Examples are the same if they have the same bytes (of encoded pictures: of the file). What would take long to find
    out is left out.
    """
    is_class = targets.kind(task) == "class" and data.labels is not None
    reads = sum(part.size for part in data.opened.values() if not isinstance(part, Rows)) <= READ
    seen = {name: _seen(part, data.parts[name] if reads else None, is_class) for name, part in data.opened.items()}
    ids, digests = ({part: of[i] for part, of in seen.items() if of[i] is not None} for i in (0, 1))
    found: dict[str, Any] = {}
    if is_class and ids.keys() == seen.keys():
        counts = {part: _counts(np.asarray(of), len(data.labels)) for part, of in ids.items()}
        found["classes"] = {part: dict(zip(data.labels, of, strict=True)) for part, of in counts.items()}
    if digests.keys() == seen.keys() and not data.continuous:
        numbers = np.repeat(np.arange(len(seen)), [len(of) for of in digests.values()])
        same = list(groups(np.concatenate(list(digests.values()))))
        copies, leaks = repeats(numbers, len(seen), same)
        found["duplicates"] = dict(zip(seen, copies.tolist(), strict=True))
        found["leaks"] = dict(list(zip(seen, leaks.tolist(), strict=True))[1:])
    return found


def _counts(ids: np.ndarray, num_classes: int) -> list[int]:
    """Examples of each class; some test parts of TFDS have the id -1 for one that nobody tells."""
    return np.bincount(ids[ids >= 0], minlength=num_classes).tolist()


def _seen(
    part: Part, examples: tf.data.Dataset | None, is_class: bool
) -> tuple[Sequence[int] | None, np.ndarray | None]:
    """Targets, of which class ids are made use of, and digests of a part's examples; None for what would take long.

    Args:
        part: as it was opened.
        examples: those of a part that is not in memory; None: they are not to be read.
        is_class: whether the target is one.
    """
    targets = part.y if isinstance(part, Rows) else None
    if targets is not None and part.load is not None:
        return targets, part.digests
    if part.size > IN_MEMORY or (targets is None and examples is None):
        return targets, None
    pairs = one_by_one(examples) if targets is None else zip(part.x, targets, strict=True)
    ids, digests, left = [], [], BYTES
    for x, y in pairs:
        content = _bytes(x)
        left -= len(content)
        if left < 0:
            return targets, None
        ids.append(y)
        digests.append(digest(content) if is_class else digest(content, _bytes(y)))
    return ids, np.array(digests, f"S{DIGEST}")


def _bytes(value) -> bytes:
    return value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes()


def sentence(data: Data, found: Mapping[str, Any]) -> str:
    """What an overview says, in a line."""
    said = [f"{data.name}: " + ", ".join(f"{part} {size:,}" for part, size in data.sizes.items())]
    if counts := found.get("classes", {}).get("train"):
        shares = sorted(count / max(sum(counts.values()), 1) for count in counts.values())
        said.append(f"{len(counts)} classes, {shares[0]:.1%} to {shares[-1]:.1%} of the training part each")
    if "duplicates" in found:
        copies, leaks = sum(found["duplicates"].values()), {part: n for part, n in found["leaks"].items() if n}
        said.append(f"copies within parts: {copies:,}")
        said += [f"examples of the {part} part that are in one before it: {count:,}" for part, count in leaks.items()]
        command = "recipes.check_data" if data.name in IN_PROGRAMS else "zoo data check"
        said += [f"{command} names them"] if copies or leaks else []
    return "; ".join(said)
