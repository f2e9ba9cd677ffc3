"""`verify`: are the files those that were published, and does the version still answer as its proof says?"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from export import comparison, fresh_process, golden, manifest, signing
from export.companions import COMPANIONS
from export.comparison import Comparison, Tolerance
from export.fresh_process import FreshProcess
from export.golden import Golden
from export.server import Refused, Server, Tls
from export.version import Version, find
from recipes.batches import all_joined, parts
from zoo.lazy import without_startup_chatter


class Verdict:
    """What stands against a version; true if nothing does."""

    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing stands against it."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class Report(Verdict):
    """What `verify` found; true if nothing stands against the version.

    Attributes:
        version: the version.
        where: what answered: "a fresh process", or a server's address.
        signatures: signature → comparison with the recorded answers; of a companion as "serving_default of model.onnx".
            Empty where the files are not those published.
        problems: everything that stands against the version, one sentence each.
        not_asked: why a companion was not asked, one sentence each. It does not stand against the version.
        signed_by: fingerprint of the key that signed it (`export.signing.fingerprint`), where that was asked.
    """

    version: Version
    where: str
    signatures: Mapping[str, Comparison] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()
    signed_by: str | None = None


def verify(
    path: str | Path,
    *,
    rest: str | None = None,
    grpc: str | None = None,
    name: str | None = None,
    tls: Tls | None = None,
    signed_by: str | Path | None = None,
) -> Report:
    """Check a version's signature if asked to, its files against its manifest, then replay its proof.

    The proof is replayed in a fresh process without Keras, or at a running server. The process asks companions, too,
    where what runs them is installed. A server is asked in plain TF Serving's protocol, every signature through
    Predict, by code that shares nothing with the client of `serving`: so a fault of that client cannot hide a fault of
    the version.

    Args:
        path: a version folder, or a base path, whose newest version is meant; the URL of one in an object store.
        rest: address of a REST server, `http://host:port`, or `https://` behind a proxy.
        grpc: address of a gRPC server, `host:port`, or `grpcs://host:port`.
        name: the name the server knows the model by; by default the base folder's.
        tls: how the server is known over TLS: `export.Tls`, or `serving.Tls`.
        signed_by: file of the public keys of which one must have signed the version: see `export.signing`.

    Returns:
        A report. A version that fails is no error: it is what the report says.

    Raises:
        ValueError: there is no version at `path`; `signed_by` holds no key; or the server lacks the model or this
            version of it.
        ConnectionError: the server does not answer.
        OSError: the object store does not give the version.
    """
    if rest and grpc:
        raise ValueError("A proof is replayed at one server. Received: rest and grpc. Accepted: one of them.")
    version = find(path)
    server = _server(version, rest, grpc, name, tls)
    where = "a fresh process" if server is None else f"{server.address}, as {server.model!r}"
    trusted = None if signed_by is None else signing.public_keys(signed_by)
    with version.fetched() as here:
        signer, problems = published_by(here.path, trusted)
        if problems:
            # What these files would answer proves nothing; to load a stranger's graph is to run a stranger's program.
            return Report(version, where, problems=problems, signed_by=signer)
        not_asked = {} if server else _not_asked(here)
        found = _replayed_at(server, here) if server else _replayed_here(here, not_asked)
    problems = dict.fromkeys(problem for of_signature in found.values() for problem in of_signature.problems)
    return Report(version, where, found, tuple(problems), tuple(not_asked.values()), signer)


def published_by(folder: Path, trusted: Sequence[Ed25519PublicKey] | None) -> tuple[str | None, tuple[str, ...]]:
    """Fingerprint of the trusted key that signed a version, and what stands against its files being those it signed.

    Args:
        folder: of the version.
        trusted: None if nobody needs to have signed it.
    """
    if trusted is None:
        return None, tuple(manifest.check(folder))
    try:
        signer = signing.signer(folder, trusted)
    except ValueError as error:
        return None, (str(error),)
    return signing.fingerprint(signer), tuple(manifest.check(folder))


def _server(version: Version, rest: str | None, grpc: str | None, name: str | None, tls: Tls | None) -> Server | None:
    model = name or version.base.name
    if rest:
        from export.over_rest import Rest

        server = Rest(rest, model, version.number, tls)
    elif grpc:
        with without_startup_chatter():
            from export.over_grpc import Grpc

        server = Grpc(grpc, model, version.number, tls)
    else:
        return None
    server.check()
    return server


def _not_asked(version: Version) -> dict[str, str]:
    """Companion → why it cannot be asked here."""
    lacking = {name: COMPANIONS[name].lacks([COMPANIONS[name].runs]) for name in version.proof.get("companions", {})}
    return {name: f"Not asked: {sentence}" for name, sentence in lacking.items() if sentence}


def _replayed_here(version: Version, without: Collection[str]) -> dict[str, Comparison]:
    with fresh_process.started() as process:
        found = _replayed(process, version.path, version, version.proof["signatures"])
        for name, record in version.proof.get("companions", {}).items():
            if name not in without:
                answered = _replayed(process, version.path / record["file"], version, record["signatures"])
                found |= {f"{s} of {record['file']}": _named(record["file"], one) for s, one in answered.items()}
    return found


def _replayed(process: FreshProcess, path: Path, version: Version, proved: Mapping) -> dict[str, Comparison]:
    """Signature → what a folder or file answers, compared, for all signatures that are proved of it."""
    examples = golden.load(version.path)
    try:
        replies = process.replay(path, version.path)
    except ChildProcessError as error:
        return {s: Comparison(s, 0, problems=(str(error),)) for s in proved}
    return {
        s: comparison.compare_replay(s, examples[s], replies, comparison.recorded_tolerances(proved[s])) for s in proved
    }


def _named(file: str, found: Comparison) -> Comparison:
    return replace(found, problems=tuple(f"{file}: {problem}" for problem in found.problems))


def _replayed_at(server: Server, version: Version) -> dict[str, Comparison]:
    proved = version.proof["signatures"]
    return {
        signature: _asked(server, signature, examples, comparison.recorded_tolerances(proved[signature]))
        for signature, examples in golden.load(version.path).items()
    }


def _asked(server: Server, signature: str, examples: Golden, allowed: Mapping[str, Tolerance]) -> Comparison:
    try:
        asked = zip(*(parts(batch, golden.AT_ONCE) for batch in (examples.inputs, examples.outputs)), strict=True)
        answers = all_joined([server.predict(signature, *part) for part in asked])
    except Refused as error:
        return Comparison(signature, 0, problems=(f"Signature {signature!r} is refused by the server: {error}",))
    return comparison.compare(signature, examples, answers, allowed)
