"""Text ↔ token ids, in operations of the TensorFlow graph: what trains is what is served.

>>> from recipes import tokenizers
>>> tokenizer = tokenizers.Words.fit(["the cat sat", "the dog"], size=100)
>>> tokenizer.encode(tf.constant(["The cat!"]))
<tf.RaggedTensor [[4, 5]]>
>>> tokenizer.save(folder)
>>> tokenizers.load(folder, tokenizer.to_json()) == tokenizer
True
"""

from os import PathLike
from pathlib import Path
from typing import Any

from recipes.tokenizers.byte_pairs import BytePairs
from recipes.tokenizers.characters import Characters
from recipes.tokenizers.tokenizer import Tokenizer, check_tables
from recipes.tokenizers.wordpiece import WordPiece
from recipes.tokenizers.words import Words
from zoo.nearest import choose

__all__ = ["KINDS", "BytePairs", "Characters", "Tokenizer", "WordPiece", "Words", "load"]

KINDS = {kind.kind: kind for kind in (Words, Characters, WordPiece, BytePairs)}


def load(folder: str | PathLike, record: dict[str, Any]) -> Tokenizer:
    """The tokenizer of which `save` wrote the files and `to_json` the record.

    Raises:
        ValueError: no such kind, a file is missing, or it is not the one that the record was made with.
    """
    kind = KINDS[choose("tokenizer", record["kind"], KINDS)]
    tables = kind.read(Path(folder))
    check_tables(Path(folder), tables, record["tables"])
    return kind(**tables, **{name: value for name, value in record.items() if name not in ("kind", "tables")})
