"""What all tokenizers are: a record with a vocabulary, special tokens, and TensorFlow functions both ways."""

import abc
import dataclasses
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import tensorflow as tf

MASK = "[MASK]"
VOCABULARY_FILE = "vocabulary.txt"
BATCH_BYTES = 2**20


@dataclass(frozen=True)
class Tokenizer(abc.ABC):
    """Text ↔ token ids.

    Text is UTF-8. What is no valid UTF-8 is read as U+FFFD, the way `bytes.decode(errors="replace")` reads it.

    No text gives a special token, but for one: where the vocabulary has a mask, `[MASK]` in a text is the mask.

    Attributes:
        vocabulary: the tokens; a token's id is its place.
    """

    vocabulary: tuple[str, ...] = field(repr=False)

    kind: ClassVar[str]
    special_tokens: ClassVar[dict[str, tuple[str, ...]]]
    """What each special token is called: the first of the names that is in the vocabulary."""

    def __post_init__(self):
        repeated = [token for token, times in Counter(self.vocabulary).items() if times > 1]
        if repeated:
            raise ValueError(f"A vocabulary holds every token once. Received {repeated[:5]} more often.")
        for role in ("padding", "start", "end"):
            if self._specials[role] is None:
                names = " or ".join(map(repr, self.special_tokens[role]))
                raise ValueError(f"The vocabulary of {self.kind!r} needs {names} as its {role} token. None was found.")

    # The special tokens

    @functools.cached_property
    def _specials(self) -> dict[str, int | None]:
        ids = {token: i for i, token in enumerate(self.vocabulary)}
        return {
            role: next((ids[name] for name in names if name in ids), None)
            for role, names in self.special_tokens.items()
        }

    @property
    def padding(self) -> int:
        """Id that fills up a row. It is 0 in every vocabulary that was fitted, and in BERT's."""
        return self._specials["padding"]

    @property
    def unknown(self) -> int | None:
        """Id of what is not in the vocabulary; None where everything is."""
        return self._specials["unknown"]

    @property
    def start(self) -> int:
        """Id of the token before the first."""
        return self._specials["start"]

    @property
    def end(self) -> int:
        """Id of the token after the last."""
        return self._specials["end"]

    @property
    def mask(self) -> int | None:
        """Id of the token in place of one to be guessed; None where the vocabulary has none."""
        return self._specials["mask"]

    # Both ways

    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Texts, string `(n,)` → ids, int32 `(n, None)`, without start and end."""
        texts = valid_utf8(tf.convert_to_tensor(texts, tf.string))
        if self.mask is None:
            return self._encode(texts)
        parts = tf.strings.split(texts, self.vocabulary[self.mask])
        masks = tf.fill([tf.size(parts.values), 1], tf.constant(self.mask, tf.int32))
        ids = tf.concat([self._encode(parts.values), masks], axis=1)
        return parts.with_values(ids).merge_dims(1, 2)[:, :-1]

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """Ids, int `(n, length)` or ragged, each one of the vocabulary → texts, string `(n,)`, of valid UTF-8.

        Special tokens are left out, the unknown one too.
        """
        if not isinstance(ids, tf.RaggedTensor):
            ids = tf.RaggedTensor.from_tensor(ids)
        return self._decode(tf.ragged.boolean_mask(ids, self.is_text(ids)))

    def pieces(self, ids: tf.Tensor) -> tf.Tensor:
        """Ids, int of any shape → the tokens' names, string of the same shape."""
        return tf.gather(self._names, ids)

    def is_text(self, ids: tf.Tensor) -> tf.Tensor:
        """Which ids, int of any shape, are no special tokens, bool of the same shape."""
        return tf.gather(self._is_text, ids)

    @abc.abstractmethod
    def _encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Valid UTF-8, `(n,)` → ids, int32 `(n, None)`."""

    @abc.abstractmethod
    def _decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Ids `(n, None)` without special tokens → texts `(n,)`."""

    @property
    @abc.abstractmethod
    def trackables(self) -> tuple[Any, ...]:
        """Tables and layers that a SavedModel must track for `encode` and `decode` to work in it."""

    @functools.cached_property
    def _names(self):
        with tf.init_scope():  # once, outside of whatever graph is being traced
            return tf.constant(self.vocabulary)

    @functools.cached_property
    def _is_text(self):
        specials = set(self._specials.values())
        with tf.init_scope():
            return tf.constant([i not in specials for i in range(len(self.vocabulary))])

    # As files

    def to_json(self) -> dict[str, Any]:
        """The record without what `save` writes, as JSON values; of that its size and SHA-256, under "tables"."""
        options = [f.name for f in dataclasses.fields(self) if f.name not in self.tables()]
        tables = {name: fingerprint(getattr(self, name)) for name in sorted(self.tables())}
        return {"kind": self.kind, **{name: getattr(self, name) for name in options}, "tables": tables}

    @classmethod
    def tables(cls) -> set[str]:
        """Names of the attributes that `save` writes."""
        return {"vocabulary"}

    def save(self, folder: str | PathLike) -> None:
        r"""Write `vocabulary.txt`: one token per line; `\\`, `\n` and `\r` are a backslash and the ends of a line."""
        write_lines(Path(folder) / VOCABULARY_FILE, self.vocabulary)

    @classmethod
    def read(cls, folder: Path) -> dict[str, tuple]:
        """What `save` wrote, by attribute.

        Raises:
            ValueError: a file is missing.
        """
        return {"vocabulary": read_lines(folder / VOCABULARY_FILE)}


def fingerprint(table: tuple) -> dict[str, Any]:
    """By what a table of tokens is known again: how many entries it has, and a SHA-256 of them in their order."""
    return {"size": len(table), "sha256": hashlib.sha256(json.dumps(table).encode()).hexdigest()}


def check_tables(folder: Path, found: dict[str, tuple], wanted: dict[str, dict[str, Any]]) -> None:
    """Raise ValueError unless tables that were read are those of which a record has the fingerprints."""
    for name, record in wanted.items():
        received = fingerprint(found[name])
        if received != record:
            said = [f"{each['size']:,} entries, SHA-256 {each['sha256'][:12]}…" for each in (received, record)]
            raise ValueError(
                f"The {name} in {folder} is not what the model was trained with. Received: {said[0]}. "
                f"Accepted: {said[1]}."
            )


def valid_utf8(texts: tf.Tensor) -> tf.Tensor:
    """Texts with U+FFFD in place of what is no valid UTF-8, as `bytes.decode(errors="replace")` does it."""
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")


def lower(texts: tf.Tensor) -> tf.Tensor:
    """Valid UTF-8 in lower case, each character by itself (Unicode's simple mapping: Σ is σ everywhere, İ is i).

    `tf.strings.lower` would ask the locale of the machine, where I may be ı, and stop at U+0000.
    """
    characters = tf.strings.unicode_decode(texts, "UTF-8")
    capitals, small = (tf.constant(column, tf.int32) for column in _lower_cases())
    place = tf.minimum(tf.searchsorted(capitals, characters.values), capitals.shape[0] - 1)
    is_capital = tf.gather(capitals, place) == characters.values
    lowered = tf.where(is_capital, tf.gather(small, place), characters.values)
    return tf.strings.unicode_encode(characters.with_values(lowered), "UTF-8")


@functools.cache
def _lower_cases() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The capital letters, sorted, and their small letters."""
    pairs = ((code, ord(chr(code).lower()[0])) for code in range(0x110000))
    return tuple(zip(*((capital, small) for capital, small in pairs if capital != small), strict=True))


def count(texts: Iterable[str | bytes], split: Callable[[tf.Tensor], tf.RaggedTensor]) -> Counter[bytes]:
    """How often each token is in the texts.

    Raises:
        ValueError: there is not one.
    """
    counts = Counter()
    for batch in _batches(texts):
        tokens, _, times = tf.unique_with_counts(split(valid_utf8(tf.constant(batch))).flat_values)
        counts.update(dict(zip(tokens.numpy().tolist(), times.numpy().tolist(), strict=True)))
    if not counts:
        raise ValueError("The texts to fit a vocabulary to are empty.")
    return counts


def _batches(texts: Iterable[str | bytes]) -> Iterator[list[bytes]]:
    """Texts in batches of about a megabyte."""
    batch, size = [], 0
    for text in texts:
        batch.append(text if isinstance(text, bytes) else text.encode())
        size += len(batch[-1])
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def check_size(kind: str, size: int, least: int) -> None:
    """Raise ValueError unless a vocabulary of that size has room for at least so many tokens."""
    if size < least:
        raise ValueError(f"A vocabulary of {kind!r} has at least {least:,} tokens. Received: size={size!r}.")


_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_CHARACTERS = {escape: character for character, escape in _ESCAPES.items()}


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a UTF-8 file of one string per line, its own line breaks and backslashes escaped."""
    escaped = (line.translate(str.maketrans(_ESCAPES)) for line in lines)
    path.write_text("".join(f"{line}\n" for line in escaped), encoding="utf-8", newline="\n")


def read_lines(path: Path) -> tuple[str, ...]:
    """What `write_lines` wrote.

    Raises:
        ValueError: no such file.
    """
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no tokenizer: {path.name} not found.")
    escaped = path.read_bytes().decode().split("\n")[:-1]
    return tuple(re.sub(r"\\[\\nr]", lambda escape: _CHARACTERS[escape[0]], line) for line in escaped)
