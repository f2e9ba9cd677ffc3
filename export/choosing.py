"""Which variant of a version is published: the one that answers as Keras does, in the least time.

Every variant asked for goes through the proof. Those that hold are timed beside the plain version in one process, in
turns. The best takes the place of the plain version if it is more than 5 % better; else that one stays.

A variant of less precision is held to more: of at least 256 real examples, 99.5 % must be given the same class, with a
probability within 0.02.
"""

import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from export import comparison, proof, timing
from export.comparison import Comparison
from export.fresh_process import FreshProcess
from export.proof import Claim, ProofFailed
from export.replay import ALL
from export.signatures import Arrays, Signature
from export.variants import PLAIN, VARIANTS, Declined, Material, Variant
from export.version import SAVED_MODEL
from zoo.nearest import choose as choose_name

NONE, SIZE = "none", "size"
BATCH_SIZE_OF = {"latency": min, "throughput": max}
OBJECTIVES = (NONE, *BATCH_SIZE_OF, SIZE)
"""What is asked for: the time of a request of the smallest batch size, or of the largest; or the bytes on disk."""

GAIN = 0.95
"""A variant must take less than so much of the plain version's time, or size."""
REAL_EXAMPLES, AGREEMENT, WITHIN = 256, 0.995, 0.02
PARTS = (SAVED_MODEL, "fingerprint.pb", "variables", "assets")
PUBLISHED = "published"
LINES = 4
"""Of an error, in a verdict."""


@dataclass
class Trial:
    """What became of a variant.

    Attributes:
        variant: its name.
        verdict: "published", or why it is not.
        bytes: size of its SavedModel.
        load, first: seconds that it took to load, and to answer the first request of all, before any warm-up.
        milliseconds: signature at a batch size, as `timing.key` writes it → median time of a request.
        relative: the same in proportion to the plain version.
        largest_difference: signature → float output → difference from Keras.
    """

    variant: str
    verdict: str = ""
    bytes: int = 0
    load: float | None = None
    first: float | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    relative: dict[str, float] = field(default_factory=dict)
    largest_difference: dict[str, dict[str, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        times = ", ".join(f"{name} {value:.2f} ms" for name, value in self.milliseconds.items())
        return f"{self.variant}: {self.verdict}" + (f" ({times})" if times else "")


@dataclass(frozen=True)
class Choice:
    """What was tried, and what is published of it.

    Attributes:
        trials: by variant, the plain version first.
        chosen: the variant that is published.
        claim: what that one was held to.
        found: signature → what its proof found.
    """

    trials: Mapping[str, Trial]
    chosen: str
    claim: Claim
    found: Mapping[str, Comparison]

    def record(self) -> dict[str, Any]:
        """What the card says of it."""
        return {"variant": self.chosen, "tried": [asdict(trial) for trial in self.trials.values()]}


def variants_of(optimize: str | Sequence[str]) -> list[Variant]:
    """The variants that an objective, or names, ask for.

    Raises:
        ValueError: there is no such objective or variant.
    """
    names = [optimize] if isinstance(optimize, str) else list(optimize)
    if not names:
        raise ValueError("optimize names at least one variant, or an objective. Received: an empty list.")
    accepted = (*OBJECTIVES, *VARIANTS) if isinstance(optimize, str) else tuple(VARIANTS)
    names = [choose_name("optimization", name, accepted) for name in names]
    if names[:1] == [NONE]:
        return []
    return list(VARIANTS.values()) if names[0] in OBJECTIVES else [VARIANTS[name] for name in names]


def choose(
    folder: Path,
    claim: Claim,
    found: Mapping[str, Comparison],
    optimize: str | Sequence[str],
    batch_sizes: Sequence[int],
    real: tuple[Signature, Arrays],
    trace_blocks: Callable[[Path], None] | None,
    process: FreshProcess,
    tell: Callable[[str], None],
) -> Choice:
    """Try variants of a plain version, and put the best one in its place.

    Args:
        folder: of the plain version: its SavedModel, golden examples and warm-up records.
        claim: what it was held to.
        found: signature → what its proof found.
        optimize: an objective, or names of variants, which are then judged at all batch sizes.
        batch_sizes: examples of the requests that are timed.
        real: the signature of raw input, and all raw examples that there are.
        trace_blocks: as `variants.Material` has it.
        process: where variants are loaded.
        tell: called with a line of text for every variant.
    """
    variants = variants_of(optimize)
    trials = {PLAIN: _trial(PLAIN, folder, found)}
    folders, proofs = {PLAIN: folder}, {PLAIN: (claim, found)}
    with tempfile.TemporaryDirectory(prefix=".variants-", dir=folder) as scratch:
        material = Material(folder, trace_blocks, Path(scratch))
        for variant in variants:
            path = Path(scratch) / variant.name
            try:
                variant.write(material, path)
                wider = claim.in_precision(variant.precision)
                proofs[variant.name] = wider, wider.proved(process.replay(path, folder))
                if variant.precision != "float32":
                    _check_agreement(path, *real, process, Path(scratch) / "real")
            except (Declined, ProofFailed, ChildProcessError) as error:
                why = "\n".join(str(error).splitlines()[:LINES])
                trials[variant.name] = Trial(variant.name, f"{_WHY[type(error)]}: {why}")
                continue
            folders[variant.name] = path
            trials[variant.name] = _trial(variant.name, path, proofs[variant.name][1])
        del material  # whose graphs are as large as the model
        if len(folders) > 1:
            _record_times(trials, process.measure(folders, folder, batch_sizes))
        chosen = _judged({name: trials[name] for name in folders}, optimize, batch_sizes)
        if chosen != PLAIN:
            _replace(folder, folders[chosen])
    for trial in trials.values() if variants else ():
        tell(f"tried     {trial}")
    return Choice(trials, chosen, *proofs[chosen])


_WHY = {Declined: "declined", ProofFailed: "wrong", ChildProcessError: "failed"}


def _trial(name: str, folder: Path, found: Mapping[str, Comparison]) -> Trial:
    files = [path for part in PARTS for path in (folder / part, *(folder / part).rglob("*")) if path.is_file()]
    return Trial(
        name,
        bytes=sum(path.stat().st_size for path in files),
        largest_difference={signature: dict(one.absolute) for signature, one in found.items()},
    )


def _record_times(trials: Mapping[str, Trial], times: Mapping[str, Arrays]) -> None:
    for name, of_variant in times.items():
        trial, of_variant = trials[name], dict(of_variant)
        trial.load, trial.first = (float(of_variant.pop(what)[0]) for what in (timing.LOAD, timing.FIRST))
        for key, samples in of_variant.items():
            trial.milliseconds[key] = 1000 * float(np.median(samples))
            trial.relative[key] = float(np.median(samples) / np.median(times[PLAIN][key]))


def _judged(trials: Mapping[str, Trial], optimize: str | Sequence[str], batch_sizes: Sequence[int]) -> str:
    """The variant to publish; all trials are given their verdicts."""
    scores = {name: _score(trial, trials[PLAIN], optimize, batch_sizes) for name, trial in trials.items()}
    best = min(scores, key=scores.get)
    chosen = best if scores[best] < GAIN else PLAIN
    what = "size" if optimize == SIZE else "time"
    for name, trial in trials.items():
        if name == chosen:
            trial.verdict = PUBLISHED
        else:
            trial.verdict = f"not better: {scores[name]:.2f} of the plain version's {what}"
    return chosen


def _score(trial: Trial, plain: Trial, optimize: str | Sequence[str], batch_sizes: Sequence[int]) -> float:
    """Proportion to the plain version; of times, the geometric mean over signatures."""
    if optimize == SIZE:
        return trial.bytes / plain.bytes
    one = BATCH_SIZE_OF.get(optimize) if isinstance(optimize, str) else None
    sizes = [one(batch_sizes)] if one else batch_sizes
    judged = [value for key, value in trial.relative.items() if any(key.endswith(timing.key("", n)) for n in sizes)]
    return statistics.geometric_mean(judged or [1.0])


def _check_agreement(path: Path, signature: Signature, raw: Arrays, process: FreshProcess, scratch: Path) -> None:
    """Compare the classes and probabilities of many real examples with Keras'.

    Raises:
        Declined: there are too few examples.
        ProofFailed: too many differ.
    """
    examples = proof.collect(signature, raw)
    name = next((name for name in comparison.PROBABILITIES if name in examples.outputs), None)
    if name is None:
        return  # no classes: the tolerance says it all
    if len(examples) < REAL_EXAMPLES:
        raise Declined(f"of less precision; that takes {REAL_EXAMPLES} examples to prove, the Run has {len(examples)}")
    scratch.mkdir(exist_ok=True)
    examples.save(scratch, signature.name)
    answers = process.replay(path, scratch)[f"{signature.name}|{ALL}"][name]
    expected = examples.outputs[name]
    same = float(np.mean(answers.argmax(-1) == expected.argmax(-1)))
    apart = float(np.abs(answers.max(-1) - expected.max(-1)).max())
    if same < AGREEMENT or apart > WITHIN:
        raise ProofFailed(f"the same class in {same:.1%} of {len(examples)} examples, probabilities within {apart:.3f}")


def _replace(folder: Path, variant: Path) -> None:
    """Put a variant's SavedModel in the place of that of a version."""
    for part in PARTS:
        target = folder / part
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        if (variant / part).exists():
            (variant / part).rename(target)
