"""Byte pairs: GPT-2's byte-level byte-pair encoding (Radford et al. 2019, section 2.2; Sennrich et al. 2016).

A text is split into words by a regular expression, a word into its bytes; then the pair of neighbours whose merge was
learned first becomes one token, all over the word, until no pair is left that has a merge. All of it is done on
numbers: a table of the graph knows the merge of a pair of ids.
"""

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import ClassVar

import tensorflow as tf

from recipes.tokenizers.tokenizer import MASK, Tokenizer, check_size, read_lines, valid_utf8, write_lines

MERGES_FILE = "merges.txt"
SPECIALS = ("[PAD]", "[START]", "[END]")
PUBLISHED_SPECIAL = "<|endoftext|>"

# GPT-2's expression is 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ where \s is Unicode's
# white space. TensorFlow's expressions know neither that \s nor the look-ahead, by which several spaces before a word
# leave the last one to the word: there they are cut beforehand.
_SPACE = r"\t-\r \x{85}\pZ"
LAST_SPACE = rf"([{_SPACE}])([{_SPACE}][^{_SPACE}])"
WORD = rf"('s|'t|'re|'ve|'m|'ll|'d| ?\pL+| ?\pN+| ?[^{_SPACE}\pL\pN]+|[{_SPACE}]+)"
CUT = b"\xff"  # no byte of UTF-8


def _byte_symbols() -> tuple[str, ...]:
    """The characters that stand for the bytes in GPT-2's files: what can be seen for itself, others from U+0100 on."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in visible else next(others)) for byte in range(256))


SYMBOLS = _byte_symbols()
BYTES = {symbol: byte for byte, symbol in enumerate(SYMBOLS)}


@dataclass(frozen=True)
class BytePairs(Tokenizer):
    """Every text has ids, and the ids give back the very text.

    Attributes:
        merges: pairs of tokens that become one, in the order in which they were learned.
    """

    merges: tuple[tuple[str, str], ...] = field(repr=False)

    kind: ClassVar[str] = "byte_pairs"
    special_tokens: ClassVar = {
        "padding": ("[PAD]", PUBLISHED_SPECIAL),
        "unknown": (),
        "start": ("[START]", PUBLISHED_SPECIAL),
        "end": ("[END]", PUBLISHED_SPECIAL),
        "mask": (MASK,),
    }

    def __post_init__(self):
        super().__post_init__()
        tokens = set(self.vocabulary)
        needed = (*SYMBOLS, *(token for left, right in self.merges for token in (left, right, left + right)))
        missing = [token for token in needed if token not in tokens]
        if missing:
            raise ValueError(f"The vocabulary lacks bytes or results of merges: {', '.join(missing[:5])}.")

    @classmethod
    def fit(cls, texts: Iterable[str | bytes], size: int, *, mask: bool = False) -> "BytePairs":
        """Merges of the pairs that are most frequent, as long as one is there twice; the first ids win a tie.

        Args:
            texts: the texts, read once.
            size: most tokens, the special ones and the 256 bytes included.
            mask: whether the vocabulary has a mask.

        Raises:
            ImportError: the library `tokenizers` is not installed.
            ValueError: no room for the bytes.
        """
        try:
            from tokenizers import Tokenizer, models, pre_tokenizers, trainers
        except ImportError as error:
            raise ImportError(
                "Byte pairs are learned by the library tokenizers, which is not installed: "
                "pip install servable-zoo[text]"
            ) from error
        specials = (*SPECIALS, MASK) if mask else SPECIALS
        check_size(cls.kind, size, len(specials) + len(SYMBOLS))
        learner = Tokenizer(models.BPE())
        learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            special_tokens=list(specials),
            initial_alphabet=list(SYMBOLS),
            show_progress=False,
        )
        decoded = (text.decode(errors="replace") if isinstance(text, bytes) else text for text in texts)
        learner.train_from_iterator(decoded, trainer)
        learned = json.loads(learner.to_str())["model"]
        return cls(_in_order(learned["vocab"]), tuple(map(tuple, learned["merges"])))

    @classmethod
    def from_published(cls, vocabulary: str | PathLike, merges: str | PathLike) -> "BytePairs":
        """That of a published GPT-2, by the paths of its `vocab.json` (or `encoder.json`) and `merges.txt`.

        Its special token is `<|endoftext|>`, for padding too.
        """
        lines = Path(merges).read_bytes().decode().split("\n")
        pairs = (line.split(" ") for line in lines if line and not line.startswith("#version"))
        return cls(_in_order(json.loads(Path(vocabulary).read_bytes())), tuple(map(tuple, pairs)))

    @classmethod
    def tables(cls) -> set[str]:
        return {"vocabulary", "merges"}

    def save(self, folder: str | PathLike) -> None:
        """Write `vocabulary.txt`, and `merges.txt`: one pair per line."""
        super().save(folder)
        write_lines(Path(folder) / MERGES_FILE, map(" ".join, self.merges))

    @classmethod
    def read(cls, folder: Path) -> dict[str, tuple]:
        return super().read(folder) | {"merges": tuple(tuple(m.split(" ")) for m in read_lines(folder / MERGES_FILE))}

    def split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Valid UTF-8, `(n,)` → words, string `(n, None)`, which together are the text."""
        texts = tf.strings.regex_replace(texts, LAST_SPACE, rb"\1" + CUT + rb"\2")
        words = tf.strings.split(tf.strings.regex_replace(texts, WORD, rb"\1" + CUT), CUT)
        return tf.ragged.boolean_mask(words, words != "")

    def _encode(self, texts):
        words = self.split(texts)
        unique, places = tf.unique(words.values)
        return words.with_values(tf.gather(self._merge(unique), places)).merge_dims(1, 2)

    def _merge(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Words, string `(n,)` → ids, int32 `(n, None)`."""
        bytes_ = tf.io.decode_raw(tf.strings.reduce_join(words)[tf.newaxis], tf.uint8)[0]
        lengths = tf.strings.length(words)
        ids = tf.gather(self._byte_ids, tf.cast(bytes_, tf.int32))
        size = tf.size(words, tf.int64)
        word = tf.repeat(tf.range(size), lengths)  # the word that each id is of

        def ranks(ids, word):
            pairs = ids[:-1] * len(self.vocabulary) + ids[1:]
            return tf.where(word[:-1] == word[1:], self._ranks.lookup(pairs), len(self.merges))

        def merge(ids, word, rank):
            first = tf.gather(tf.math.unsorted_segment_min(rank, word[:-1], size), word[:-1])
            chosen = _every_other((rank == first) & (rank < len(self.merges)))
            left, right = tf.concat([chosen, [False]], 0), tf.concat([[False], chosen], 0)
            results = tf.gather(self._results, tf.concat([rank, [len(self.merges)]], 0))
            ids = tf.boolean_mask(tf.where(left, results, ids), ~right)
            word = tf.boolean_mask(word, ~right)
            return ids, word, ranks(ids, word)

        anything = tf.TensorShape([None])
        ids, word, _ = tf.while_loop(
            lambda ids, word, rank: tf.reduce_any(rank < len(self.merges)),
            merge,
            (ids, word, ranks(ids, word)),
            shape_invariants=(anything, anything, anything),
        )
        return tf.RaggedTensor.from_value_rowids(tf.cast(ids, tf.int32), word, size)

    @functools.cached_property
    def _ids(self):
        return {token: i for i, token in enumerate(self.vocabulary)}

    @functools.cached_property
    def _byte_ids(self):
        with tf.init_scope():
            return tf.constant([self._ids[symbol] for symbol in SYMBOLS], tf.int64)

    @functools.cached_property
    def _results(self):
        """The id that each merge gives, and one more for what is no merge."""
        with tf.init_scope():
            return tf.constant([*(self._ids[left + right] for left, right in self.merges), 0], tf.int64)

    @functools.cached_property
    def _ranks(self):
        """Pair of ids, `left * size of the vocabulary + right` → the rank of its merge."""
        keys = [self._ids[left] * len(self.vocabulary) + self._ids[right] for left, right in self.merges]
        with tf.init_scope():
            initializer = tf.lookup.KeyValueTensorInitializer(
                tf.constant(keys, tf.int64), tf.range(len(keys), dtype=tf.int32)
            )
            return tf.lookup.StaticHashTable(initializer, default_value=len(keys))

    @functools.cached_property
    def _token_bytes(self):
        specials = set(self._specials.values())
        with tf.init_scope():
            return tf.constant(
                [b"" if i in specials else bytes(map(BYTES.get, name)) for i, name in enumerate(self.vocabulary)]
            )

    def _decode(self, ids):
        return valid_utf8(tf.strings.reduce_join(tf.gather(self._token_bytes, ids), axis=-1))

    @property
    def trackables(self):
        return (self._ranks,)


def _every_other(chosen: tf.Tensor) -> tf.Tensor:
    """Of every run of True, bool `(n,)`, the first, the third, …: pairs of equal neighbours must not overlap."""
    is_first = chosen & ~tf.concat([[False], chosen[:-1]], 0)
    starts = tf.where(is_first)[:, 0]
    run = tf.maximum(tf.cumsum(tf.cast(is_first, tf.int32)) - 1, 0)
    offset = tf.range(tf.size(chosen, tf.int64)) - tf.gather(starts, run)
    return chosen & (offset % 2 == 0)


def _in_order(ids: dict[str, int]) -> tuple[str, ...]:
    """The tokens of a table from token to id.

    Raises:
        ValueError: the ids are not 0, 1, 2, ….
    """
    tokens = sorted(ids, key=ids.get)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError(f"The ids of a vocabulary are 0 to its size less one. Received up to {max(ids.values())}.")
    return tuple(tokens)
