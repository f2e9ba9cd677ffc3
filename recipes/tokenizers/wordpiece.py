"""WordPiece: words in pieces, the longest known first (Wu et al. 2016), read as BERT reads them (Devlin et al. 2018).

The splitting into words is that of `tokenization.py` in google-research/bert. TensorFlow Text's own tokenizers for
BERT differ from it: they fold case (ß becomes ss, ½ becomes 1⁄2) and put spaces where control characters were.
"""

import functools
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import ClassVar

import tensorflow as tf

from recipes.tokenizers.tokenizer import MASK, Tokenizer, check_size, count, lower

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", MASK)
LONGEST_WORD = 100
MOST_CHARACTERS = 1000
MOST_WORDS = 50_000

SPACE = r"[\t\n\r\pZ]"
CONTROL = r"[\p{Cc}\p{Cf}\x{FFFD}]"
ACCENT = r"\p{Mn}"
PUNCTUATION = r"([!-/:-@\[-`{-~\pP])"
IDEOGRAPH = (
    r"([\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}"
    r"\x{2B740}-\x{2B81F}\x{2B820}-\x{2CEAF}\x{2F800}-\x{2FA1F}])"
)


@dataclass(frozen=True)
class WordPiece(Tokenizer):
    """A word is the fewest pieces that greedy search finds; a piece inside a word is written `##piece`.

    A word with an unknown character, or of more than 100 characters, is one `[UNK]`.

    Attributes:
        lowercase: read text in lower case and without accents, as BERT's uncased models do.
    """

    lowercase: bool = True

    kind: ClassVar[str] = "wordpiece"
    special_tokens: ClassVar = {
        "padding": ("[PAD]",),
        "unknown": ("[UNK]",),
        "start": ("[CLS]",),
        "end": ("[SEP]",),
        "mask": (MASK,),
    }

    def __post_init__(self):
        super().__post_init__()
        if self.unknown is None:
            raise ValueError("The vocabulary of 'wordpiece' needs '[UNK]' as its unknown token. None was found.")

    @classmethod
    def fit(cls, texts: Iterable[str | bytes], size: int, *, lowercase: bool = True, mask: bool = True) -> "WordPiece":
        """Pieces by the top-down method of TensorFlow Text: those that are most often a word, or begin or end one.

        The 1,000 most frequent characters are pieces, where there is room; the 50,000 most frequent words are
        counted. The vocabulary may be some percent smaller than asked for.

        Args:
            texts: the texts, read once.
            size: most tokens, the special ones included.
            lowercase: the attribute.
            mask: whether the vocabulary has a mask.

        Raises:
            ImportError: TensorFlow Text is not installed.
            ValueError: no room for a piece, or no word in the texts.
        """
        specials = SPECIALS if mask else SPECIALS[:-1]
        check_size(cls.kind, size, len(specials) + 2)
        counts = count(texts, cls(specials, lowercase).split)
        by_frequency = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS]
        vocabulary = _import("tensorflow_text.tools.wordpiece_vocab.wordpiece_tokenizer_learner_lib").learn(
            [(word.decode(), counts[word]) for word in by_frequency],
            vocab_size=size,
            reserved_tokens=list(specials),
            lower_thresh=2,
            max_unique_chars=min(MOST_CHARACTERS, (size - len(specials)) // 2),
        )
        return cls(tuple(vocabulary[:size]), lowercase)

    @classmethod
    def from_published(cls, vocabulary: str | PathLike, *, lowercase: bool) -> "WordPiece":
        """That of a published BERT, by the path of its `vocab.txt`; `lowercase` where the model is uncased."""
        lines = Path(vocabulary).read_bytes().decode().replace("\r\n", "\n")
        return cls(tuple(lines.removesuffix("\n").split("\n")), lowercase)

    def split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Valid UTF-8, `(n,)` → words, string `(n, None)`; every punctuation mark and ideograph is one."""
        texts = tf.strings.regex_replace(texts, SPACE, " ")
        texts = tf.strings.regex_replace(texts, CONTROL, "")
        texts = tf.strings.regex_replace(texts, IDEOGRAPH, r" \1 ")
        if self.lowercase:
            texts = self._tensorflow_text.normalize_utf8(lower(texts), "NFD")
            texts = tf.strings.regex_replace(texts, ACCENT, "")
        return tf.strings.split(tf.strings.regex_replace(texts, PUNCTUATION, r" \1 "))

    @functools.cached_property
    def _tensorflow_text(self):
        return _import("tensorflow_text")

    @functools.cached_property
    def _longest_match(self):
        with tf.init_scope():
            return self._tensorflow_text.FastWordpieceTokenizer(
                list(self.vocabulary),
                max_bytes_per_word=4 * LONGEST_WORD,
                token_out_type=tf.int32,
                no_pretokenization=True,
            )

    def _encode(self, texts):
        words = self.split(texts)
        is_long = tf.strings.length(words.values, unit="UTF8_CHAR") > LONGEST_WORD
        known = tf.where(is_long, "\x01", words.values)  # a control character, which no word holds
        return words.with_values(self._longest_match.tokenize(known)).merge_dims(1, 2)

    def _decode(self, ids):
        joined = tf.strings.reduce_join(self.pieces(ids), axis=-1, separator=" ")
        return tf.strings.regex_replace(tf.strings.regex_replace(joined, " ##", ""), r" ([.,?!])", r"\1")

    @property
    def trackables(self):
        return ()


def _import(module: str):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            "WordPiece needs TensorFlow Text, which is not installed: pip install servable-zoo[text]"
        ) from error
