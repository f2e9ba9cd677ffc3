"""`publish`: a Run becomes the next version of a base path, if it can prove itself."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import recipes
from export import (
    bom,
    card,
    checks,
    choosing,
    differences,
    document,
    fresh_process,
    hashes,
    manifest,
    memory,
    proof,
    saved_model,
    signing,
    warmup,
)
from export.base_path import BasePath
from export.companions import making
from export.companions.companion import Companion
from export.comparison import Comparison
from export.fresh_process import FreshProcess
from export.objective import NONE, Objective
from export.proof import ProofFailed
from export.rewriting import recurrence
from export.signatures import signatures_of
from export.version import CARD, DEFAULT, PROOF, Version, at
from recipes import backend, explanation
from recipes.run import Run

LABELS = "labels.txt"
README = "README.md"
GOLDEN_EXAMPLES = 64


def publish(
    run: Run | str | Path,
    base_path: str | Path,
    *,
    golden: int = GOLDEN_EXAMPLES,
    explain: str | None = None,
    optimize: str | Sequence[str] = NONE,
    batch_sizes: Sequence[int] = warmup.BATCH_SIZES,
    companions: Sequence[str] = (),
    allow_breaking: bool = False,
    allow_worse: bool = False,
    license: str | None = None,
    sign: str | Path | Ed25519PrivateKey | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Version:
    """Publish a Run under the next number of a base path, with its proof.

    The signatures are traced into a SavedModel in a staging folder; a fresh process that has no Keras loads it and
    answers the golden inputs; the answers are compared with Keras'. Then the folder is completed (`README.md`,
    `labels.txt`, `card.json`, `proof.json`, `bom.json`, warm-up records, SHA-256 manifest, signature), written through
    to the disk and renamed; or uploaded to an object store (see `export.bucket`). The version is there whole or not at
    all.

    Args:
        run: a Run, or the folder of one.
        base_path: folder of the model's versions, or its URL in an object store, such as `s3://bucket/lenet5`; its last
            part is the name servers will know the model by.
        golden: most examples to prove the version on; taken from the Run's, which are raw and real. Edge cases are
            added: see `export.edges`.
        explain: "cam", "grad_cam" or "auto" (the first of them that the model allows) adds the signature `explain`: the
            answer to a picture with the heat map of `recipes.explain`, at the model's input size.
        optimize: "latency" or "throughput": try other SavedModels with the same answers (variables frozen to constants,
            the graph rewritten, bfloat16), and publish the one that answers a request of the smallest, or the largest,
            of the batch sizes most quickly; "size": the smallest of them. Or names of `export.variants.VARIANTS`, to
            try those alone. "none": as it was traced. What was tried is in the card: see `export.choosing`.
        batch_sizes: examples of the requests that the version is warmed up with, and timed by.
        companions: names of `export.companions.COMPANIONS`, "litert" or "onnx": files to publish beside the SavedModel,
            which answer `serving_default` where there is no TensorFlow. Each is proved and timed as the version is.
        allow_breaking: publish it even if requests to the newest version there is would fail, or mean something else.
        allow_worse: publish it even if its first figure is worse than the newest version's, on the same test data, or a
            classifier is right about fewer examples than its own figure says, see `checks.check_answers`.
        license: under which the owner gives on what is theirs, the weights of this version and data of their own that
            they were trained on; best an SPDX identifier, such as "CC-BY-4.0".
        sign: a private key, or the file of one, to sign the version with: see `export.signing`.
        tell: called with a line of text at every step.

    Returns:
        The new version.

    Raises:
        ProofFailed: the version answers otherwise than Keras; names signature, output, example and both values.
        ValueError: an option is not what is accepted; the backend is not TensorFlow; the Run cannot be published (NaN
            in a weight, an unnamed input, labels that do not match, no example right, …), explained as asked for, or
            had as a companion; it breaks what asks the newest version, or is worse than that; `base_path` is a file, or
            no URL that is known; or `sign` is no private key.
        ImportError: what reaches the object store is not installed.
        OSError: `base_path` cannot be written.
    """
    backend.check("Publishing")
    objective = Objective(optimize, tuple(batch_sizes))
    key = None if sign is None else signing.private_key(sign)
    options = _Options(golden, explain, objective, making.named(companions), allow_breaking, allow_worse, license, key)
    base = at(base_path)
    if not isinstance(run, Run):
        run = recipes.load_run(run)
    checks.check(run)
    if explain is not None:
        explanation.check_image_classifier(run.bundle)
        options = replace(options, explain=explanation.resolve_method(run.model, explain, explanation.SERVED_METHODS))
    with base.staged() as folder, fresh_process.started() as process:
        try:
            _build(run, base, folder, options, process, tell)
        except (ProofFailed, ChildProcessError) as error:
            raise ProofFailed(f"Nothing was published: {error}") from error
        except OSError as error:
            raise OSError(f"Nothing was published under {base}: {error}") from error
        version = Version(base, base.commit(folder))
    tell(f"published {version.path}")
    return version


@dataclass(frozen=True)
class _Options:
    golden: int
    explain: str | None
    objective: Objective
    companions: Sequence[Companion]
    allow_breaking: bool
    allow_worse: bool
    license: str | None
    key: Ed25519PrivateKey | None

    def __post_init__(self):
        if self.golden < 1:
            raise ValueError(f"A version is proved on at least one example. Received: golden={self.golden}.")
        if self.license is not None and len(self.license.strip().splitlines()) != 1:
            raise ValueError(f"license is one line, such as CC-BY-4.0. Received: {self.license!r}.")


def _build(
    run: Run,
    base: BasePath,
    folder: Path,
    options: _Options,
    process: FreshProcess,
    tell: Callable[[str], None],
) -> None:
    """Make `folder` a complete version."""
    bundle = run.bundle
    signature = bundle.preprocessing.signature
    raw = {name: np.asarray(array) for name, array in run.examples.raw.items()}
    signatures = signatures_of(bundle, options.explain)
    resources = [bundle.model, *bundle.preprocessing.trackables]
    saved_model.write(resources, signatures, folder)
    memory.collect()  # what was traced: for ResNet50 nearly as much as its weights
    described = saved_model.describe(folder)
    _check_against_newest(base, run, described, options)
    tell("traced    " + ", ".join(described))

    claim = proof.claim(bundle, signatures, raw, options.golden, run.answers)
    for name, examples in claim.examples.items():
        examples.save(folder, name)
    if bundle.answer.kind == "class" and not options.allow_worse:
        classes = claim.examples[signature].outputs["classes"]
        checks.check_answers(run, classes[: len(classes) - len(claim.edge_cases)])
    warmup.write(folder, claim.examples, options.objective.batch_sizes)
    if bundle.labels:
        (folder / LABELS).write_text("".join(f"{label}\n" for label in bundle.labels), encoding="utf-8")

    plain = claim.proved(folder, process.replay(folder))
    for of_signature in plain.found.values():
        tell(f"proved    {summary(of_signature)}")
    if run.answers is not None:
        tell(f"          {signature}: by the answers of {run.facts['backend']}, on which it was trained")

    beside = making.add(options.companions, plain, process)
    for one in beside.values():
        tell(f"proved    {summary(one.found[DEFAULT])}, in {one.path.name}")

    def trace_again(target):
        saved_model.write(resources, signatures_of(replace(bundle), options.explain), target)

    trace_blocks = trace_again if recurrence.has_lstm(bundle.model) else None
    choice = choosing.choose(plain, beside, options.objective, trace_blocks, process)
    if len(choice.trials) > 1:
        for trial in choice.trials.values():
            tell(f"tried     {trial}")

    kept = claim.kept()
    for name, examples in kept.items():
        if len(examples) < len(claim.examples[name]):
            examples.save(folder, name)
    record = card.describe(run, base.name, described, kept, options.explain, choice.record(), options.license)
    record["hashes"] = hashes.hashes(folder, described, record["lineage"]["weights_sha256"])
    record["companions"] = {name: one.path.name for name, one in beside.items()}
    proved = {**choice.proved.record(kept), "companions": making.records(beside, kept)}
    if run.answers is not None:
        told = {
            "backend": run.facts["backend"],
            "signature": signature,
            "examples": min(options.golden, len(run.examples)),
        }
        proved["trained_on"] = told
    _document(folder, run, base.name, record, proved)
    bom.write(folder, record, base.name)
    manifest.write(folder)
    if options.key is not None:
        signing.write(folder, options.key)
        tell(f"signed    by the key {signing.fingerprint(options.key.public_key())}")


def _document(folder: Path, run: Run, model_name: str, record: Mapping[str, Any], proved: Mapping[str, Any]) -> None:
    """Write card, proof and what a person reads of them."""
    write_json(folder / CARD, record)
    proved = {"created": record["created"], **card.environment(), "lineage": record["lineage"], **proved}
    write_json(folder / PROOF, proved)
    picture = run.dir / document.PICTURE
    if picture.is_file():
        shutil.copyfile(picture, folder / document.PICTURE)
    said = document.readme(record, proved, model_name, picture.is_file())
    (folder / README).write_text(said, encoding="utf-8")


def _check_against_newest(base: BasePath, run: Run, described: Mapping[str, Any], options: _Options) -> None:
    """Raise ValueError if a version breaks what asks the newest one there is, or is worse, and may not."""
    found = base.versions()
    if not found:
        return
    newest, labels = Version(base, found[-1]), list(run.bundle.labels)
    new = {"signatures": described, "labels": labels, "metrics": run.metrics, "lineage": run.facts}
    breaking, _ = differences.changes(newest.card, new)
    if breaking and not options.allow_breaking:
        raise ValueError(
            f"Nothing was published: what asks version {newest.number} would break. {' '.join(breaking)} "
            "Accepted: allow_breaking=True (--allow-breaking), or another base path."
        )
    worse = differences.worse(newest.card, new)
    if worse and not options.allow_worse:
        raise ValueError(
            f"Nothing was published: version {newest.number} is better. On the same test data {worse} "
            "Accepted: allow_worse=True (--allow-worse)."
        )


def summary(comparison: Comparison) -> str:
    """One line on a comparison, for people."""
    largest = max(comparison.absolute.values(), default=0.0)
    agreement = "" if comparison.class_agreement is None else f", same class {comparison.class_agreement:.1%}"
    examples = f"{comparison.examples} example{'s' if comparison.examples != 1 else ''}"
    return f"{comparison.signature}: {examples}, largest difference {largest:.1e}{agreement}"


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record for people and programs."""
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
