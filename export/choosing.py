"""Which variant of a version is published: the one that answers as Keras does, in the least time.

Every variant asked for goes through the proof. Those that hold are timed, each beside the plain version in one process,
in turns. The best takes the place of the plain version if it is more than 5 % better; else that one stays. Companions
are timed, too, and never take its place.

A variant of less precision is held to more: of at least 256 real examples, 99.5 % must be given the same class, with a
probability within 0.02.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export import comparison, proof
from export.fresh_process import FreshProcess
from export.objective import Objective
from export.proof import ProofFailed, Proved
from export.replay import ALL
from export.trials import PARTS, Trial, record_times, trial_of
from export.variants import PLAIN, Declined, Material

GAIN = 0.95
"""A variant must take less than so much of the plain version's time, or size."""
REAL_EXAMPLES, AGREEMENT, WITHIN = 256, 0.995, 0.02
PUBLISHED = "published"
LINES = 4
"""Of an error, in a verdict."""


@dataclass(frozen=True)
class Choice:
    """What was tried, and what is published of it.

    Attributes:
        trials: by variant or companion, the plain version first.
        chosen: the variant that is published.
        proved: what that one was held to, and what its proof found.
    """

    trials: Mapping[str, Trial]
    chosen: str
    proved: Proved

    def record(self) -> dict[str, Any]:
        """What the card says of it."""
        return {"variant": self.chosen, "tried": [asdict(trial) for trial in self.trials.values()]}


def choose(
    plain: Proved,
    beside: Mapping[str, Proved],
    objective: Objective,
    trace_blocks: Callable[[Path], None] | None,
    process: FreshProcess,
) -> Choice:
    """Try variants of a plain version, and put the best one in its place. Its companions are timed with them.

    Args:
        plain: the version folder, with golden examples and warm-up records.
        beside: its companions by name.
        objective: what is tried, and which is better.
        trace_blocks: as `variants.Material` has it.
        process: where variants are loaded.
    """
    folder = plain.path
    trials, proofs = {PLAIN: trial_of(PLAIN, plain)}, {PLAIN: plain}
    with tempfile.TemporaryDirectory(prefix=".variants-", dir=folder) as scratch:
        material = Material(folder, trace_blocks, Path(scratch))
        for variant in objective.variants:
            path = Path(scratch) / variant.name
            try:
                variant.write(material, path)
                proved = plain.claim.in_precision(variant.precision).proved(path, process.replay(path, folder))
                if variant.precision != "float32":
                    _check_agreement(proved, process, Path(scratch) / "real")
            except (Declined, ProofFailed, ChildProcessError) as error:
                why = "\n".join(str(error).splitlines()[:LINES])
                trials[variant.name] = Trial(variant.name, f"{_WHY[type(error)]}: {why}")
                continue
            trials[variant.name], proofs[variant.name] = trial_of(variant.name, proved), proved
        trials |= {name: trial_of(name, one, f"beside it, in {one.path.name}") for name, one in beside.items()}
        for name, one in (*proofs.items(), *beside.items()):
            if name != PLAIN:  # each beside the plain one alone: all at once, they may be more than memory holds
                pair = {name: one.path, PLAIN: folder}  # first the one that takes more to be loaded
                record_times(trials, process.measure(pair, folder, objective.batch_sizes))
        chosen = _judged({name: trials[name] for name in proofs}, objective)
        if chosen != PLAIN:
            _replace(folder, proofs[chosen].path)
    return Choice(trials, chosen, proofs[chosen])


_WHY = {Declined: "declined", ProofFailed: "wrong", ChildProcessError: "failed"}


def _judged(trials: Mapping[str, Trial], objective: Objective) -> str:
    """The variant to publish; all trials are given their verdicts."""
    scores = {name: objective.score(trial, trials[PLAIN]) for name, trial in trials.items()}
    best = min(scores, key=scores.get)
    chosen = best if scores[best] < GAIN else PLAIN
    for name, trial in trials.items():
        if name == chosen:
            trial.verdict = PUBLISHED
        else:
            trial.verdict = f"not better: {scores[name]:.2f} of the plain version's {objective.measure}"
    return chosen


def _check_agreement(proved: Proved, process: FreshProcess, scratch: Path) -> None:
    """Compare the classes and probabilities of many real examples with Keras'.

    Raises:
        Declined: there are too few examples.
        ProofFailed: too many differ.
    """
    signature, raw = proved.claim.real
    examples = proof.collect(signature, raw)
    name = next((name for name in comparison.PROBABILITIES if name in examples.outputs), None)
    if name is None:
        return  # no classes: the tolerance says it all
    if len(examples) < REAL_EXAMPLES:
        raise Declined(f"of less precision; that takes {REAL_EXAMPLES} examples to prove, the Run has {len(examples)}")
    scratch.mkdir(exist_ok=True)
    examples.save(scratch, signature.name)
    answers = process.replay(proved.path, scratch, once=True)[f"{signature.name}|{ALL}"][name]
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
