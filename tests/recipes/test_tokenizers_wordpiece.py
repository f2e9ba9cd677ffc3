"""WordPiece, token for token as published BERT tokenizers give them."""

import unicodedata

import pytest
import tensorflow as tf
import tokenizers as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.tokenizers import WordPiece
from tests.recipes.test_tokenizers import NASTY, TEXTS, strings

UNICODE = unicodedata.ucd_3_2_0  # as much of Unicode as the tables of accents in the library know
OLD = st.characters(exclude_categories=("Cs", "Cn", "Co")).filter(lambda c: UNICODE.category(c) not in ("Cn", "Co"))
SIGNS = (" ", "\n", "\u00a0", "\u2028", "'", "½", "\u00ad", "\u200d", "\0", "\ufffd", "$", "¿", "12")
WORDS = ("don't", "the", "Quick", "FOX", "über", "GROSSEN", "中文", "é", "e\u0301", "İ", "ẞ", "ﬁ", "한국", "##ing")
PARTS = st.sampled_from((*SIGNS, *WORDS, "[MASK]", "[mask]"))
MIXED = st.lists(st.one_of(PARTS, st.text(OLD, max_size=10)), max_size=12).map("".join)


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def tokenizer(request):
    return WordPiece.fit(
        [*TEXTS * 3, "über quick foxes fox jumping jumps the then there"], 400, lowercase=request.param
    )


@pytest.fixture(scope="module")
def encode(tokenizer):
    return tf.function(tokenizer.encode, input_signature=[tf.TensorSpec([None], tf.string)])


@pytest.fixture(scope="module")
def bert(tokenizer):
    ids = {token: i for i, token in enumerate(tokenizer.vocabulary)}
    return reference.BertWordPieceTokenizer(ids, lowercase=tokenizer.lowercase)


def bert_ids(bert, texts):
    return [encoded.ids for encoded in bert.encode_batch(texts, add_special_tokens=False)]


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(MIXED, min_size=1, max_size=10))
def test_tokens_are_those_of_bert(encode, bert, texts):
    assert encode(texts).to_list() == bert_ids(bert, texts)


def test_tokens_of_nasty_texts_are_those_of_bert(encode, bert):
    texts = [*TEXTS, *(text.decode(errors="replace") for text in NASTY), "x" * 100, "x" * 101, "é" * 100, "é" * 101]
    texts = [text.replace("\U0010ffff", "") for text in texts]  # of no use to anybody, and read in two ways
    assert encode(texts).to_list() == bert_ids(bert, texts)


def slow_words(text, lowercase):
    """`tokenization.py` of google-research/bert, but for the lower case of Σ, which is that of each character."""
    category = unicodedata.category
    text = "".join(" " if c in " \t\n\r" or category(c)[0] == "Z" else c for c in text)
    text = "".join(c for c in text if category(c) not in ("Cc", "Cf") and c != "\ufffd")
    blocks = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F))
    blocks += ((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
    text = "".join(f" {c} " if any(a <= ord(c) <= b for a, b in blocks) else c for c in text)
    if lowercase:
        text = unicodedata.normalize("NFD", "".join(c.lower()[0] for c in text))
        text = "".join(c for c in text if category(c) != "Mn")
    is_ascii = {chr(i) for i in range(33, 127) if not chr(i).isalnum()}
    return "".join(f" {c} " if c in is_ascii or category(c)[0] == "P" else c for c in text).split()


@pytest.mark.slow
def test_every_character_is_read_as_bert_reads_it(tokenizer):
    """All characters of Unicode as Python knows it, by the rules that were published."""
    texts = [f"a{chr(code)}b" for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]
    words = [[word.decode() for word in row] for row in tokenizer.split(tf.constant(texts)).to_list()]
    different = [text for text, row in zip(texts, words, strict=True) if row != slow_words(text, tokenizer.lowercase)]
    assert different == []


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(MIXED, min_size=1, max_size=10))
def test_text_comes_back_as_from_bert(tokenizer, encode, bert, texts):
    ids = encode(texts)
    assert strings(tokenizer.decode(ids)) == bert.decode_batch(ids.to_list())


def test_a_mask_in_the_text_is_the_mask(tokenizer):
    ids = tokenizer.encode(["the [MASK] fox"]).to_list()[0]
    assert ids.count(tokenizer.mask) == 1


def test_a_published_vocabulary_is_read(tokenizer, encode, tmp_path):
    """One token per line as it is, a lone backslash too, and whatever the line ends are."""
    assert "\\" in tokenizer.vocabulary
    for end in ("\n", "\r\n"):
        (tmp_path / "vocab.txt").write_bytes("".join(token + end for token in tokenizer.vocabulary).encode())
        published = WordPiece.from_published(tmp_path / "vocab.txt", lowercase=tokenizer.lowercase)
        assert published == tokenizer


def test_a_vocabulary_without_an_unknown_token_is_refused(tokenizer):
    with pytest.raises(ValueError, match="as its unknown token"):
        WordPiece(("[PAD]", "[CLS]", "[SEP]", "a"))
