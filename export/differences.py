"""What differs between two versions, and whether those who ask the older one can ask the newer one just the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export import comparison, fresh_process, golden
from export.comparison import Comparison
from export.replay import ALL, ERROR
from export.version import Version, choose, versions
from recipes.figures import LESS_IS_BETTER


@dataclass(frozen=True)
class Differences:
    """What differs between an older and a newer version.

    Attributes:
        older, newer: the versions.
        breaking: changes of signatures by which a request to the older version fails, or is answered otherwise in kind.
        compatible: other changes of what can be asked, and of labels.
        same: graph, signatures and weights → whether their hashes are equal; those that both cards have.
        metrics: figure → its value in both, None where one lacks it.
        variants: name of each version's variant.
        milliseconds: signature at a batch size → what each took when it was published; None where it was not measured.
        answers: signature → the newer version's answers to the older one's golden inputs, compared with its answers.
    """

    older: Version
    newer: Version
    breaking: tuple[str, ...]
    compatible: tuple[str, ...]
    same: Mapping[str, bool]
    metrics: Mapping[str, tuple[float | None, float | None]]
    variants: tuple[str | None, str | None]
    milliseconds: Mapping[str, tuple[float | None, float | None]]
    answers: Mapping[str, Comparison] = field(default_factory=dict)


def diff(base_path: str | Path, older: int, newer: int) -> Differences:
    """Compare two versions of a base path: signatures, weights, metrics, speed, and answers.

    The newer one is loaded in a fresh process and answers the golden inputs of the older one.

    Raises:
        ValueError: there is no such version.
        ChildProcessError: the newer version cannot be loaded.
        OSError: the object store does not give them.
    """
    found = versions(base_path)
    first, second = choose(found, older), choose(found, newer)
    breaking, compatible = changes(first.card, second.card)
    with first.fetched() as first_here, second.fetched() as second_here:
        answers = _answers(first_here, second_here)
    return Differences(
        first,
        second,
        tuple(breaking),
        tuple(compatible),
        _same(first.card, second.card),
        _pairs(first.card.get("metrics", {}), second.card.get("metrics", {})),
        (_variant(first), _variant(second)),
        _pairs(_milliseconds(first), _milliseconds(second)),
        answers,
    )


def changes(older: Mapping[str, Any], newer: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """From the cards of two versions: breaking changes of what can be asked, and others. One sentence each."""
    breaking, compatible = [], []
    before, after = older.get("signatures", {}), newer.get("signatures", {})
    for name in before.keys() | after.keys():
        if name not in after:
            breaking.append(f"Signature {name!r} is gone.")
        elif name not in before:
            compatible.append(f"Signature {name!r} is new.")
        else:
            for broken, sentence in _of_signature(name, before[name], after[name]):
                (breaking if broken else compatible).append(sentence)
    files = [card.get("companions", {}) for card in (older, newer)]
    for what, those in (("gone", files[0].keys() - files[1]), ("new", files[1].keys() - files[0])):
        compatible += [f"Companion {name!r} is {what}." for name in those]
    labels = [card.get("labels", []) for card in (older, newer)]
    if labels[0] != labels[1]:
        moved = [
            label for label in labels[0] if label in labels[1] and labels[0].index(label) != labels[1].index(label)
        ]
        gone = [label for label in labels[0] if label not in labels[1]]
        if moved or gone:
            said = [f"{what}: {', '.join(names[:5])}" for what, names in (("gone", gone), ("moved", moved)) if names]
            breaking.append(f"Class ids mean other labels ({'; '.join(said)}).")
        else:
            compatible.append("There are more labels behind those there were.")
    return sorted(breaking), sorted(compatible)


def _of_signature(name: str, before: Mapping, after: Mapping):
    """Whether a change is breaking, and the sentence that tells it."""
    for side, gone, new in (("inputs", True, True), ("outputs", True, False)):
        old, now = before[side], after[side]
        one = side[:-1]
        for key in old.keys() | now.keys():
            if key not in now:
                yield gone, f"Signature {name!r}: {one} {key!r} is gone."
            elif key not in old:
                yield new, f"Signature {name!r}: {one} {key!r} is new."
            elif old[key] != now[key]:
                # What takes more than before breaks nobody; what gives more may.
                wider = side == "inputs" and _takes(now[key], old[key])
                yield not wider, f"Signature {name!r}: {one} {key!r} was {_told(old[key])}, is {_told(now[key])}."


def _takes(wide: Mapping, narrow: Mapping) -> bool:
    """Whether all that one tensor's description allows, the other one allows."""
    return (
        wide["dtype"] == narrow["dtype"]
        and len(wide["shape"]) == len(narrow["shape"])
        and all(w is None or w == n for w, n in zip(wide["shape"], narrow["shape"], strict=True))
    )


def _told(tensor: Mapping) -> str:
    return f"{tensor['dtype']} {tensor['shape']}".replace("None", "any")


def worse(older: Mapping[str, Any], newer: Mapping[str, Any]) -> str | None:
    """From two cards: a sentence if the first figure of the newer one is worse on the same test data, else None."""
    data = [card.get("lineage", {}).get("data", {}).get("fingerprint") for card in (older, newer)]
    judged_on = [card.get("lineage", {}).get("evaluated_on") for card in (older, newer)]
    figure = next(iter(newer.get("metrics", {})), None)
    if None in data or data[0] != data[1] or judged_on[0] != judged_on[1] or figure not in older.get("metrics", {}):
        return None
    before, now = older["metrics"][figure], newer["metrics"][figure]
    sign = -1 if figure in LESS_IS_BETTER else 1
    return f"{figure} was {before:.4g}, is {now:.4g}." if sign * now < sign * before else None


def _same(older: Mapping, newer: Mapping) -> dict[str, bool]:
    first, second = (card.get("hashes", {}) for card in (older, newer))
    return {what: digest == second[what] for what, digest in first.items() if what in second}


def _pairs(older: Mapping[str, float], newer: Mapping[str, float]) -> dict[str, tuple[float | None, float | None]]:
    return {name: (older.get(name), newer.get(name)) for name in [*older, *(n for n in newer if n not in older)]}


def _variant(version: Version) -> str | None:
    return version.card.get("optimization", {}).get("variant")


def _milliseconds(version: Version) -> dict[str, float]:
    tried = version.card.get("optimization", {}).get("tried", [])
    return next((trial["milliseconds"] for trial in tried if trial["variant"] == _variant(version)), {})


def _answers(older: Version, newer: Version) -> dict[str, Comparison]:
    examples = golden.load(older.path)
    with fresh_process.started() as process:
        replies = process.replay(newer.path, older.path)
    found = {}
    for name, of_signature in examples.items():
        if failed := replies.get(f"{name}|{ERROR}"):
            found[name] = Comparison(name, 0, problems=(failed[ERROR][0].decode(errors="replace"),))
            continue
        allowed = comparison.recorded_tolerances(older.proof["signatures"][name])
        found[name] = comparison.compare(name, of_signature, replies[f"{name}|{ALL}"], allowed)
    return found
