"""What words and characters share: one id per string that a text is split into, as Keras' `TextVectorization` does."""

import abc
import functools
from typing import ClassVar

import tensorflow as tf

from recipes.tokenizers.tokenizer import MASK, Tokenizer, check_size, count, lower

SPECIALS = ("", "[UNK]", "[START]", "[END]")


class LookupTokenizer(Tokenizer):
    """A tokenizer that looks strings up in a table. Its vocabulary begins with the special tokens."""

    special_tokens: ClassVar = {
        "padding": ("",),
        "unknown": ("[UNK]",),
        "start": ("[START]",),
        "end": ("[END]",),
        "mask": (MASK,),
    }

    def __post_init__(self):
        super().__post_init__()
        if self.vocabulary[: len(SPECIALS)] != SPECIALS:
            raise ValueError(
                f"The vocabulary of {self.kind!r} begins with {SPECIALS}. Received: {self.vocabulary[: len(SPECIALS)]}."
            )

    @classmethod
    def _fit(cls, texts, size, *, mask, **options):
        specials = (*SPECIALS, MASK) if mask else SPECIALS
        check_size(cls.kind, size, len(specials) + 1)
        draft = cls(specials, **options)
        counts = count(texts, lambda batch: draft.split(draft.standardize(batch)))
        for name in (*SPECIALS, MASK, "\0"):
            counts.pop(name.encode(), None)
        by_frequency = sorted(counts, key=lambda token: (-counts[token], token))
        return cls(specials + tuple(token.decode() for token in by_frequency[: size - len(specials)]), **options)

    def standardize(self, texts: tf.Tensor) -> tf.Tensor:
        """Texts `(n,)` → what of them counts, `(n,)`."""
        return lower(texts) if self.lowercase else texts

    @abc.abstractmethod
    def split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Texts `(n,)` → their tokens, string `(n, None)`."""

    @functools.cached_property
    def _table(self):
        with tf.init_scope():
            initializer = tf.lookup.KeyValueTensorInitializer(
                self.vocabulary, range(len(self.vocabulary)), tf.string, tf.int32
            )
            return tf.lookup.StaticHashTable(initializer, default_value=self.unknown)

    def _encode(self, texts):
        tokens = self.split(self.standardize(texts))
        ids = self._table[tokens.values]
        return tokens.with_values(tf.where(tf.gather(self._is_text, ids), ids, self.unknown))

    @property
    def trackables(self):
        return (self._table,)
