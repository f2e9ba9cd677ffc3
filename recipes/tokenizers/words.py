"""Words: what stands between spaces."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

from recipes.tokenizers.lookup import LookupTokenizer

SPACE = r"[\pZ\p{Cc}]+"
PUNCTUATION = r"[\pP$+<=>^`|~]"


@dataclass(frozen=True)
class Words(LookupTokenizer):
    """One id per word. Words are parted by Unicode's white space and control characters.

    Attributes:
        lowercase: read text in lower case.
        strip_punctuation: leave out what is punctuation in ASCII or in Unicode, as `TextVectorization` does: "don't"
            is "dont".
    """

    lowercase: bool = True
    strip_punctuation: bool = True

    kind: ClassVar[str] = "words"

    @classmethod
    def fit(
        cls,
        texts: Iterable[str | bytes],
        size: int,
        *,
        lowercase: bool = True,
        strip_punctuation: bool = True,
        mask: bool = False,
    ) -> "Words":
        """The most frequent words of the texts, of words equally frequent those whose bytes sort first.

        Args:
            texts: the texts, read once.
            size: most tokens, the special ones included.
            lowercase, strip_punctuation: the attributes.
            mask: whether the vocabulary has a mask.

        Raises:
            ValueError: no room for a word, or no word in the texts.
        """
        return cls._fit(texts, size, mask=mask, lowercase=lowercase, strip_punctuation=strip_punctuation)

    def standardize(self, texts: tf.Tensor) -> tf.Tensor:
        """Texts `(n,)` → the same in lower case and without punctuation, if so wanted, with ASCII spaces."""
        texts = super().standardize(tf.strings.regex_replace(texts, SPACE, " "))
        return tf.strings.regex_replace(texts, PUNCTUATION, "") if self.strip_punctuation else texts

    def split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Texts `(n,)` → their words, string `(n, None)`."""
        return tf.strings.split(texts)

    def _decode(self, ids):
        return tf.strings.reduce_join(self.pieces(ids), axis=-1, separator=" ")
