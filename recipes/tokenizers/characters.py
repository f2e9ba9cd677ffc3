"""Characters: Unicode's code points."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

from recipes.tokenizers.lookup import LookupTokenizer


@dataclass(frozen=True)
class Characters(LookupTokenizer):
    """One id per character, spaces and line breaks included.

    Attributes:
        lowercase: read text in lower case.
    """

    lowercase: bool = False

    kind: ClassVar[str] = "characters"

    @classmethod
    def fit(
        cls, texts: Iterable[str | bytes], size: int, *, lowercase: bool = False, mask: bool = False
    ) -> "Characters":
        """The most frequent characters of the texts, of those equally frequent the ones that come first in Unicode.

        U+0000 is never one of them.

        Args:
            texts: the texts, read once.
            size: most tokens, the special ones included.
            lowercase: the attribute.
            mask: whether the vocabulary has a mask.

        Raises:
            ValueError: no room for a character, or no character in the texts.
        """
        return cls._fit(texts, size, mask=mask, lowercase=lowercase)

    def split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Texts `(n,)` → their characters, string `(n, None)`."""
        return tf.strings.unicode_split(texts, "UTF-8")

    def _decode(self, ids):
        return tf.strings.reduce_join(self.pieces(ids), axis=-1)
