"""`publish`: a Run becomes the next version of a base path, if it can prove itself."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import recipes
from export import card, checks, comparison, fresh_process, manifest, proof, saved_model, store, warmup
from export.arrays import Arrays
from export.comparison import Comparison, Tolerance
from export.fresh_process import FreshProcess
from export.golden import Golden
from export.proof import ProofFailed
from export.signatures import Signature, signatures_of
from export.version import CARD, PROOF, Version
from recipes import explanation
from recipes.run import Run

LABELS = "labels.txt"
GOLDEN_EXAMPLES = 64


def publish(
    run: Run | str | Path,
    base_path: str | Path,
    *,
    golden: int = GOLDEN_EXAMPLES,
    explain: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Version:
    """Publish a Run under the next number of a base path, with its proof.

    The signatures are traced into a SavedModel in a staging folder; a fresh process that has no Keras loads it and
    answers the golden inputs; the answers are compared with Keras'. Then the folder is completed (`labels.txt`,
    `card.json`, `proof.json`, warm-up records, SHA-256 manifest), written through to the disk and renamed. The version
    is there whole or not at all.

    Args:
        run: a Run, or the folder of one.
        base_path: folder of the model's versions; its last part is the name servers will know the model by.
        golden: most examples to prove the version on; taken from the Run's, which are raw and real.
        explain: "cam", "grad_cam" or "auto" (the first of them that the model allows) adds the signature `explain`: the
            answer to a picture with the heat map of `recipes.explain`, at the model's input size.
        tell: called with a line of text at every step.

    Returns:
        The new version.

    Raises:
        ProofFailed: the version answers otherwise than Keras; names signature, output, example and both values.
        ValueError: the Run cannot be published (NaN in a weight, an unnamed input, labels that do not match, …), or
            explained as asked for; or `base_path` is a file.
        OSError: `base_path` cannot be written.
    """
    if golden < 1:
        raise ValueError(f"A version is proved on at least one example. Received: golden={golden}.")
    if not isinstance(run, Run):
        run = recipes.load_run(run)
    checks.check(run)
    if explain is not None:
        explanation.check_image_classifier(run.bundle)
        explain = explanation.resolve_method(run.model, explain, explanation.SERVED_METHODS)
    with store.staged(Path(base_path)) as folder, fresh_process.started() as process:
        _build(run, folder, Path(base_path).resolve().name, golden, explain, process, tell)
        version = store.commit(folder)
    tell(f"published {version.path}")
    return version


def _build(
    run: Run, folder: Path, model_name: str, golden: int, explain: str | None, process: FreshProcess, tell: Callable
) -> None:
    """Make `folder` a complete version."""
    bundle = run.bundle
    raw = {name: np.asarray(array)[:golden] for name, array in run.examples.raw.items()}

    signatures = signatures_of(bundle, explain)
    saved_model.write([bundle.model, *bundle.preprocessing.trackables], signatures, folder)
    described = saved_model.describe(folder)
    tell("traced    " + ", ".join(described))

    examples = {signature.name: proof.collect(signature, raw) for signature in signatures}
    for name, of_signature in examples.items():
        of_signature.save(folder, name)
    warmup.write(folder, examples)
    if bundle.labels:
        (folder / LABELS).write_text("".join(f"{label}\n" for label in bundle.labels), encoding="utf-8")

    allowed = {s.name: proof.tolerances(s, examples[s.name], raw, bundle.model) for s in signatures}
    found = _prove(folder, process, signatures, examples, allowed)
    for of_signature in found.values():
        tell(f"proved    {summary(of_signature)}")

    write_json(folder / PROOF, _proof_record(run, examples, allowed, found))
    write_json(folder / CARD, card.describe(run, model_name, described, examples, explain))
    manifest.write(folder)


def _prove(
    folder: Path,
    process: FreshProcess,
    signatures: list[Signature],
    examples: Mapping[str, Golden],
    allowed: Mapping[str, Mapping[str, Tolerance]],
) -> dict[str, Comparison]:
    try:
        replies: dict[str, Arrays] = process.replay(folder)
    except ChildProcessError as error:
        raise ProofFailed(f"Nothing was published. {error}") from error
    found = {s.name: comparison.compare_replay(s.name, examples[s.name], replies, allowed[s.name]) for s in signatures}
    problems = [problem for of_signature in found.values() for problem in of_signature.problems]
    if problems:
        raise ProofFailed("Nothing was published: the version does not answer as Keras does.\n" + "\n".join(problems))
    return found


def _proof_record(
    run: Run,
    examples: Mapping[str, Golden],
    allowed: Mapping[str, Mapping[str, Tolerance]],
    found: Mapping[str, Comparison],
) -> dict[str, Any]:
    return {
        "created": card.now(),
        **card.environment(),
        "lineage": card.lineage(run),
        "rule": proof.RULE,
        "signatures": {name: proof.record(examples[name], allowed[name], found[name]) for name in examples},
    }


def summary(comparison: Comparison) -> str:
    """One line on a comparison, for people."""
    largest = max(comparison.absolute.values(), default=0.0)
    agreement = "" if comparison.class_agreement is None else f", same class {comparison.class_agreement:.1%}"
    examples = f"{comparison.examples} example{'s' if comparison.examples != 1 else ''}"
    return f"{comparison.signature}: {examples}, largest difference {largest:.1e}{agreement}"


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record for people and programs."""
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
