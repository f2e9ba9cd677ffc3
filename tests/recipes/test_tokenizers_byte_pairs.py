"""Byte pairs, token for token as the library `tokenizers` gives them with GPT-2's parts."""

import itertools
import json
import pydoc_data.topics
import unicodedata

import pytest
import tensorflow as tf
import tokenizers as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.tokenizers import BytePairs
from recipes.tokenizers.byte_pairs import SYMBOLS
from tests.recipes.test_tokenizers import NASTY, TEXT, TEXTS, strings

PROSE = [*TEXTS * 3, *list(pydoc_data.topics.topics.values())[:20]]
SPACES = (" ", "  ", "\n", "\t", "\u00a0", "\u3000", "\x85", "\x1c")
SIGNS = ("'", "'s", "'ll", "’", "12", "٣", "²", "_", "...", "🙂", "\u200d", "\0")
WORDS = ("don't", "the", " of", "é", "e\u0301", "中文", "aaa", "abab", "statement")
PARTS = st.sampled_from((*SPACES, *SIGNS, *WORDS))
MIXED = st.lists(st.one_of(PARTS, TEXT), max_size=12).map("".join)


@pytest.fixture(scope="module")
def tokenizer():
    return BytePairs.fit(PROSE, 1000)


@pytest.fixture(scope="module")
def encode(tokenizer):
    return tf.function(tokenizer.encode, input_signature=[tf.TensorSpec([None], tf.string)])


@pytest.fixture(scope="module")
def gpt2(tokenizer):
    ids = {token: i for i, token in enumerate(tokenizer.vocabulary)}
    library = reference.Tokenizer(reference.models.BPE(ids, list(tokenizer.merges)))
    library.pre_tokenizer = reference.pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = reference.decoders.ByteLevel()
    return library


def test_the_vocabulary_is_fitted_to_the_size(tokenizer):
    assert len(tokenizer.vocabulary) == 1000
    assert tokenizer.vocabulary[:3] == ("[PAD]", "[START]", "[END]")
    assert set(SYMBOLS) < set(tokenizer.vocabulary)
    assert "Ġthe" in tokenizer.vocabulary


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(MIXED, min_size=1, max_size=10))
def test_tokens_are_those_of_gpt2(encode, gpt2, texts):
    assert encode(texts).to_list() == [encoded.ids for encoded in gpt2.encode_batch(texts)]


def test_tokens_of_prose_and_of_nasty_texts_are_those_of_gpt2(encode, gpt2):
    texts = [*PROSE, *(text.decode(errors="replace") for text in NASTY), "abab" * 50, "aaaaa", "a" * 999]
    assert encode(texts).to_list() == [encoded.ids for encoded in gpt2.encode_batch(texts)]


@pytest.mark.slow
def test_every_character_is_split_as_gpt2_splits_it(tokenizer, gpt2):
    """All characters of Unicode as Python knows it, after and before a letter, a digit, a sign and a space."""
    known = (chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co"))
    texts = [f"a{c}1{c}! {c}\n{c}" for c in known if not 0xAC00 < ord(c) < 0xD7A4 and not 0x20000 <= ord(c) < 0x31350]
    split = gpt2.pre_tokenizer.pre_tokenize_str
    expected = [[span for _, span in split(text)] for text in texts]
    words = tokenizer.split(tf.constant(texts))
    ends = tf.cumsum(tf.strings.length(words.values, unit="UTF8_CHAR"))
    lengths = words.with_values(tf.strings.length(words.values, unit="UTF8_CHAR")).to_list()
    assert ends.shape[0] == sum(map(len, expected))
    assert lengths == [[end - begin for begin, end in spans] for spans in expected]


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(MIXED, min_size=1, max_size=10))
def test_the_very_text_comes_back(tokenizer, encode, gpt2, texts):
    ids = encode(texts)
    assert strings(tokenizer.decode(ids)) == texts


def test_half_a_character_is_decoded_as_python_decodes_it(tokenizer, encode):
    ids = encode(["中"])[:, :1]
    assert strings(tokenizer.decode(ids)) == ["�"]


def slow_merge(word, merges):
    """`bpe` of GPT-2's `encoder.py`: the pair learned first, wherever it is, from left to right."""
    tokens, ranks = list(word), {pair: rank for rank, pair in enumerate(merges)}
    while pairs := ranks.keys() & set(itertools.pairwise(tokens)):
        first, merged, i = min(pairs, key=ranks.get), [], 0
        while i < len(tokens):
            is_pair = tuple(tokens[i : i + 2]) == first
            merged.append("".join(first) if is_pair else tokens[i])
            i += 1 + is_pair
        tokens = merged
    return tokens


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_merges_are_made_in_the_order_of_gpt2(data):
    """Also those that no text teaches: one token made in two ways, a late one before an early one."""
    tokens, merges = ["a", "b", "c"], []
    for _ in range(data.draw(st.integers(1, 12))):
        pair = data.draw(st.tuples(st.sampled_from(tokens), st.sampled_from(tokens)))
        tokens.append("".join(pair))
        merges.append(pair)
    merges = data.draw(st.permutations(list(dict.fromkeys(merges))))
    words = data.draw(st.lists(st.text("abc", max_size=20), max_size=5))
    vocabulary = dict.fromkeys(("[PAD]", "[START]", "[END]", *SYMBOLS, *tokens))
    tokenizer = BytePairs(tuple(vocabulary), tuple(merges))
    pieces = tokenizer.pieces(tokenizer.encode(tf.constant(words, tf.string)))
    assert [[piece.decode() for piece in row] for row in pieces.to_list()] == [slow_merge(w, merges) for w in words]


def test_a_published_vocabulary_is_read(tokenizer, encode, tmp_path):
    """The files have the form of GPT-2's, whose one special token is the last."""
    tokens = [*tokenizer.vocabulary[3:], "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    merges = "\n".join(map(" ".join, tokenizer.merges))
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    published = BytePairs.from_published(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert (published.padding, published.start, published.end, published.unknown) == (997, 997, 997, None)
    assert (published.encode(PROSE) + 3).to_list() == encode(PROSE).to_list()
    assert strings(published.decode([[*published.encode(["the"])[0].numpy(), 997]])) == ["the"]


def test_merges_of_unknown_tokens_are_refused(tokenizer):
    with pytest.raises(ValueError, match="lacks bytes or results of merges: xy"):
        BytePairs(tokenizer.vocabulary, (*tokenizer.merges, ("x", "y"), ("xy", "xy")))
    with pytest.raises(ValueError, match="lacks bytes"):
        BytePairs(("[PAD]", "[START]", "[END]", "a"), ())
