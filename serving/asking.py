"""What both clients do, written once, as coroutines: deadlines, retries, the metadata cache, long lists in batches.

``AsyncClient`` is awaited. ``Client`` gives it a transport and a pause that block, so that nothing in it ever suspends.
"""

import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from serving.errors import AnswerMismatch, DeadlineExceeded, Failure, ModelFailed, ServerError, public_error
from serving.metadata import ModelMetadata, Signature, VersionStatus
from serving.transport import ModelRef, transport_to

if TYPE_CHECKING:
    from serving.questions import Question
    from serving.served_models import ServedModel
    from serving.tls import Tls

DEFAULT_SIGNATURE = "serving_default"
BATCH = 32  # rows of a long list in one request

_FIRST_PAUSE = 0.1  # seconds before the first retry; doubles with each
_LONGEST_PAUSE = 2.0
_SHORTEST_ATTEMPT = 0.1  # seconds that must be left for a retry: one that is cut off hides why it was needed
_POLL = 0.1  # seconds between two looks at a server that is starting
_LONGEST_LOOK = 5.0  # seconds that one look may take
# Over REST an answer does not tell its version, so a cached signature is trusted no longer than the servers' own poll
# of the file system; over gRPC it does, and the cache is dropped by the answer that shows a new one.
_REST_METADATA_SECONDS = 1.0
_INVALID = "INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"

T = TypeVar("T")
Outputs = dict[str, np.ndarray]


class Asking:
    """The methods of both clients. ``pause(seconds)`` waits as the transport does, by blocking or by suspending."""

    def __init__(
        self,
        target: str,
        *,
        timeout: float,
        retries: int,
        tls: "Tls | None",
        blocking: bool,
        pause: Callable[[float], Awaitable[None]],
    ):
        if timeout <= 0:
            raise ValueError(f"timeout must be positive, in seconds. Received: {timeout}")
        if retries < 0:
            raise ValueError(f"retries must not be negative. Received: {retries}")
        self._timeout = timeout
        self._retries = retries
        self._pause = pause
        self._transport = transport_to(target, tls, blocking=blocking)
        self._cache: dict[ModelRef, tuple[ModelMetadata, float]] = {}

    @property
    def address(self) -> str:
        return self._transport.address

    async def predict(
        self,
        model: str,
        inputs: object,
        *,
        signature: str = DEFAULT_SIGNATURE,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Outputs:
        """The outputs of ``signature`` for ``inputs``, as arrays under the names that the signature gives them.

        ``inputs`` is a dict of input names to arrays, nested lists or bytes, or one bare value if the signature has one
        input. Numbers are converted to the declared dtype where nothing but rounding is lost; str becomes UTF-8.
        String outputs are object arrays of ``bytes`` for names ending in ``_bytes``, else of ``str``.
        """
        reference = ModelRef(model, version, label)
        deadline = self._deadline(timeout)
        with self._explained(f"predict {reference}, signature {signature!r},"):
            return await self._predict(reference, signature, inputs, deadline)

    async def predict_images(
        self,
        model: str,
        paths: "str | Path | Iterable[str | Path]",
        *,
        signature: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
        batch_size: int = BATCH,
        progress: bool = True,
    ) -> Outputs:
        """The outputs for the pictures in these files, a row for each, in their order.

        ``signature`` is the one that takes a picture's bytes, unless given. ``batch_size`` pictures travel in one
        request, for each of which ``timeout`` counts anew; a list of more than one request draws a ``progress`` bar if
        standard error is a terminal and rich is installed. Outputs as wide as their batch needs are filled up with 0
        and empty strings, as models do within a batch.

        A file that cannot be read (OSError), or that is no picture, is named before anything is sent; one that the
        model refuses is named too. Give ``version``, or a server that moves meanwhile answers the rest with another.
        """
        from serving.questions import Question, picture_files, picture_signature

        reference = ModelRef(model, version, label)
        with self._explained(f"predict_images of {reference}"):
            files = _fitted(picture_files, paths)
            metadata = await self._fetch_metadata(reference, self._deadline(timeout))
            chosen, input_name = _fitted(picture_signature, metadata, signature)
        return await self.predict_questions(
            model,
            [Question(str(file), {input_name: file}) for file in files],
            signature=chosen,
            version=version,
            label=label,
            timeout=timeout,
            batch_size=batch_size,
            progress=progress,
        )

    async def predict_texts(
        self,
        model: str,
        texts: str | bytes | Iterable[str | bytes],
        *,
        signature: str | None = None,
        settings: Mapping[str, object] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
        batch_size: int = BATCH,
        progress: bool = True,
    ) -> Outputs:
        """The outputs for these texts, a row for each, in their order.

        ``signature`` is ``text``, or another that takes texts, unless given. ``settings`` are its other inputs, one
        value for all texts; those of models that write texts have usual values (``serving.questions.USUAL``). The rest
        is as in ``predict_images``.
        """
        from serving import questions

        reference = ModelRef(model, version, label)
        with self._explained(f"predict_texts of {reference}"):
            lines = _fitted(questions.text_lines, texts)
            metadata = await self._fetch_metadata(reference, self._deadline(timeout))
            chosen, input_name = _fitted(questions.text_signature, metadata, signature)
            asked = list(questions.texts(lines, input_name))
            asked = _fitted(questions.with_settings, asked, chosen, metadata.signatures[chosen], settings or {})
        return await self.predict_questions(
            model,
            asked,
            signature=chosen,
            version=version,
            label=label,
            timeout=timeout,
            batch_size=batch_size,
            progress=progress,
        )

    async def predict_questions(
        self,
        model: str,
        questions: "Sequence[Question]",
        *,
        signature: str,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
        batch_size: int = BATCH,
        progress: bool = True,
    ) -> Outputs:
        """The outputs for questions, in batches as ``predict_images`` asks them. ``serving.questions`` makes them."""
        from serving.batches import joined
        from serving.progress import bar

        if not questions or batch_size < 1:
            raise ValueError(
                f"Give at least one question, and a batch_size of at least 1. Received: {len(questions)}, {batch_size}"
            )
        reference = ModelRef(model, version, label)
        batches = [questions[start : start + batch_size] for start in range(0, len(questions), batch_size)]
        with self._explained(f"predict {reference}, signature {signature!r},"):
            metadata = await self._known_metadata(reference, self._deadline(timeout))
            chosen = metadata.signature(signature)
            parts = []
            with bar(model, len(questions), shown=progress and len(batches) > 1) as advance:
                for batch in batches:
                    parts += await self._ask(reference, batch, signature, chosen, timeout)
                    advance(len(batch))
            return joined(parts, chosen.outputs)

    async def metadata(
        self, model: str, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> ModelMetadata:
        """The version that answers now and its signatures, asked afresh."""
        reference = ModelRef(model, version, label)
        deadline = self._deadline(timeout)
        with self._explained(f"metadata of {reference}"):
            return await self._fetch_metadata(reference, deadline)

    async def status(
        self, model: str, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> tuple[VersionStatus, ...]:
        """The state of each version that the server knows of, newest first."""
        reference = ModelRef(model, version, label)
        deadline = self._deadline(timeout)
        with self._explained(f"status of {reference}"):
            return await self._retry(lambda left: self._transport.status(reference, left), deadline)

    async def wait_ready(
        self, model: str, timeout: float | None = None, *, each_look: Callable[[], None] = lambda: None
    ) -> ModelMetadata:
        """Waits until the server answers for ``model``, and returns what it says of it.

        ``each_look`` is called between two looks; what it raises ends the waiting. Raises ModelFailed as soon as the
        server has given up on every version, DeadlineExceeded after ``timeout`` seconds.
        """
        reference = ModelRef(model)
        deadline = self._deadline(timeout)
        while True:
            each_look()
            try:
                return await self._look(reference, min(deadline.left(), _LONGEST_LOOK))
            except Failure as failure:
                if failure.code not in ("NOT_FOUND", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
                    raise public_error(failure, f"waiting for {reference} at {self.address}") from None
                if deadline.left() <= _POLL:
                    raise DeadlineExceeded(
                        f"{reference} at {self.address} was not ready in {deadline.seconds:.3g} s: {failure.words}"
                    ) from None
            await self._pause(_POLL)

    async def reload(self, models: "Mapping[str, ServedModel]", *, timeout: float | None = None) -> None:
        """Has the server serve these models and no others from now on. gRPC only: Unsupported over REST.

        Returns when every new model has a version that answers. Base paths are those that the server sees.
        """
        from serving.served_models import server_config

        config = server_config(models)
        deadline = self._deadline(timeout)
        with self._explained(f"reload of {', '.join(models) or 'no model'}"):
            await self._retry(lambda left: self._transport.reload(config, left), deadline)

    async def close(self) -> None:
        await self._transport.close()

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Makes the error that a caller gets: what was asked of whom, then what failed."""
        asked = f"{what} at {self.address}"
        try:
            yield
        except Failure as failure:
            raise public_error(failure, asked) from None
        except AnswerMismatch as mismatch:
            raise ServerError(f"{asked}: the answer does not fit the server's own metadata: {mismatch}") from None

    def _deadline(self, timeout: float | None) -> "_Deadline":
        return _Deadline(self._timeout if timeout is None else timeout)

    async def _ask(
        self,
        model: ModelRef,
        batch: "Sequence[Question]",
        signature_name: str,
        signature: Signature,
        timeout: float | None,
    ) -> list[tuple[int, Outputs]]:
        """The outputs of a batch, with its size: in one part, or in a part for each where the whole was refused."""
        from serving.questions import stack

        try:
            inputs = stack(batch, signature)
            return [(len(batch), await self._predict(model, signature_name, inputs, self._deadline(timeout)))]
        except Failure as failure:
            if failure.code not in _INVALID:
                raise
            if len(batch) == 1:
                raise Failure(failure.code, f"{batch[0].named}: {failure.words}") from None
        # One of them is at fault: ask each alone, and name it. Or they are too many.
        alone = [await self._ask(model, [question], signature_name, signature, timeout) for question in batch]
        return [part for parts in alone for part in parts]

    async def _predict(self, model: ModelRef, signature: str, inputs: object, deadline: "_Deadline") -> Outputs:
        metadata = await self._known_metadata(model, deadline)
        try:
            return await self._predict_as(metadata, model, signature, inputs, deadline)
        except (Failure, AnswerMismatch) as error:
            if isinstance(error, Failure) and error.code not in _INVALID:
                raise
            # A request that was right for the version we know may be wrong for the one that answers now.
            fresh = await self._fetch_metadata(model, deadline)
            if fresh == metadata:
                raise
        return await self._predict_as(fresh, model, signature, inputs, deadline)

    async def _predict_as(
        self, metadata: ModelMetadata, model: ModelRef, signature_name: str, inputs: object, deadline: "_Deadline"
    ) -> Outputs:
        """One prediction, read and written as ``metadata`` says."""
        signature = metadata.signature(signature_name)
        arrays = signature.bind(inputs)
        answer = await self._retry(
            lambda left: self._transport.predict(model, signature_name, signature, arrays, left), deadline
        )
        if answer.version not in (None, metadata.version):
            self._cache.pop(model, None)
        return answer.outputs

    async def _known_metadata(self, model: ModelRef, deadline: "_Deadline") -> ModelMetadata:
        metadata, fetched = self._cache.get(model, (None, 0.0))
        if metadata is None:
            return await self._fetch_metadata(model, deadline)
        unverified = not self._transport.tells_version and model.version is None
        if unverified and time.monotonic() - fetched > _REST_METADATA_SECONDS:
            self._cache[model] = metadata, time.monotonic()  # one asks again, who comes meanwhile does not
            return await self._fetch_metadata(model, deadline)
        return metadata

    async def _fetch_metadata(self, model: ModelRef, deadline: "_Deadline") -> ModelMetadata:
        metadata = await self._retry(lambda left: self._transport.metadata(model, left), deadline)
        self._cache[model] = metadata, time.monotonic()
        return metadata

    async def _look(self, model: ModelRef, timeout: float) -> ModelMetadata:
        """One look at a server that may be starting. Raises Failure while the model is not there."""
        try:
            metadata = await self._transport.metadata(model, timeout)
        except Failure as failure:
            if failure.code == "NOT_FOUND":
                await self._raise_if_failed(model, timeout)
            raise
        self._cache[model] = metadata, time.monotonic()
        return metadata

    async def _raise_if_failed(self, model: ModelRef, timeout: float) -> None:
        try:
            versions = await self._transport.status(model, timeout)
        except Failure:
            return  # not even the name is known yet
        if versions and all(version.state == "END" and version.error for version in versions):
            raise ModelFailed(
                f"{model} at {self.address} could not be loaded: "
                + "; ".join(f"version {version.version}: {version.error}" for version in versions)
            )

    async def _retry(self, attempt: Callable[[float], Awaitable[T]], deadline: "_Deadline") -> T:
        """``attempt(seconds left)`` until it is answered, fails otherwise than by UNAVAILABLE, or time is up."""
        for pause in [*_pauses(self._retries), None]:
            try:
                return await attempt(deadline.left())
            except Failure as failure:
                if failure.code != "UNAVAILABLE" or pause is None or pause + _SHORTEST_ATTEMPT > deadline.left():
                    raise
            await self._pause(pause)
        raise AssertionError("the last attempt returns or raises")


class _Deadline:
    def __init__(self, seconds: float):
        if seconds <= 0:
            raise ValueError(f"timeout must be positive, in seconds. Received: {seconds}")
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the end, never quite zero: the transports take none as "for ever"."""
        return max(self._end - time.monotonic(), 1e-3)


def _pauses(retries: int) -> list[float]:
    """Seconds to wait before each retry: doubling, and spread so that many clients do not come back at once."""
    longest = (min(_FIRST_PAUSE * 2**retry, _LONGEST_PAUSE) for retry in range(retries))
    return [pause * random.uniform(0.5, 1.0) for pause in longest]


def _fitted(fit: Callable[..., T], *values: object) -> T:
    """``fit(*values)``, whose ValueError says what is wrong with a caller's values."""
    try:
        return fit(*values)
    except ValueError as error:
        raise Failure("INVALID_ARGUMENT", str(error)) from None
