"""Tokenizers: every kind gives ids and text back, is the same from files and in a SavedModel, and refuses no bytes."""

import dataclasses
import string
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes import tokenizers
from recipes.tokenizers import BytePairs, Characters, WordPiece, Words
from recipes.tokenizers.tokenizer import lower, valid_utf8
from recipes.tokenizers.words import PUNCTUATION

TEXTS = (
    "The quick brown fox jumps over the lazy dog, and doesn't look back.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich: 12 gegen 1!",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. 我能吞下玻璃而不伤身体。",
    "tabs\tand\nlines\r\n  and \\ backslashes \\n 🙂 e\u0301",
)
NASTY = (
    b"",
    b" ",
    b"  two  spaces  ",
    b"\n\n\tx \n",
    "non\u00a0breaking\u3000spaces\u2028".encode(),
    "\u00a0 \u00a0x".encode(),
    b"don't DON'T we'll ''s 'S",
    "🙂👩‍👩‍👧 e\u0301\u0323 a\u0300b".encode(),
    b"a\x00b\x01\x7f\x85",
    b"broken \xff\xfe \xe2\x82 \xc0\x80 utf-8 \xf0\x9f",
    "İIıi ΑΣ ẞß ½²".encode(),
    "\ufeffbom \ufffd \U0010ffff".encode(),
    b"1234567890" * 30,
    b"a" * 300,
)
SIZES = {"words": 60, "characters": 120, "wordpiece": 200, "byte_pairs": 320}
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=30)


@pytest.fixture(scope="module", params=sorted(tokenizers.KINDS))
def tokenizer(request):
    return tokenizers.KINDS[request.param].fit(TEXTS, SIZES[request.param])


def strings(tensor):
    return [text.decode() for text in np.ravel(tensor)]


def test_a_batch_gives_one_row_of_ids_per_text(tokenizer):
    ids = tokenizer.encode(tf.constant(TEXTS))
    assert isinstance(ids, tf.RaggedTensor)
    assert ids.dtype == tf.int32
    assert ids.shape.rank == 2
    assert ids.shape[0] == len(TEXTS)
    assert tokenizer.encode(tf.constant([], tf.string)).to_list() == []


def test_special_tokens_have_the_same_ids_in_every_fitted_vocabulary(tokenizer):
    assert tokenizer.padding == 0
    firsts = {"words": (1, 2, 3, None), "characters": (1, 2, 3, None), "wordpiece": (1, 2, 3, 4)}
    expected = firsts.get(tokenizer.kind, (None, 1, 2, None))
    assert (tokenizer.unknown, tokenizer.start, tokenizer.end, tokenizer.mask) == expected


def test_decoding_leaves_out_padding_and_special_tokens(tokenizer):
    ids = tokenizer.encode(TEXTS[:2])
    start, end = tf.fill([2, 1], tokenizer.start), tf.fill([2, 1], tokenizer.end)
    padded = tf.concat([start, ids, end], 1).to_tensor(tokenizer.padding)
    assert tokenizer.decode(padded).numpy().tolist() == tokenizer.decode(ids).numpy().tolist()
    assert tokenizer.decode(tf.zeros([2, 0], tf.int64)).numpy().tolist() == [b"", b""]


def test_pieces_are_the_names_of_the_ids(tokenizer):
    ids = tokenizer.encode(TEXTS[:1]).to_tensor()
    assert strings(tokenizer.pieces(ids)) == [tokenizer.vocabulary[i] for i in np.ravel(ids)]
    assert tokenizer.pieces(ids).shape == ids.shape


def test_every_text_has_an_answer_alone_and_in_any_company(tokenizer):
    together = tokenizer.encode(tf.constant(NASTY)).to_list()
    assert together == [tokenizer.encode(tf.constant([text])).to_list()[0] for text in NASTY]
    for text, ids in zip(NASTY, together, strict=True):
        assert ids == tokenizer.encode([text.decode(errors="replace")]).to_list()[0]
    for decoded in tokenizer.decode(tf.ragged.constant(together, tf.int32)).numpy():
        decoded.decode()


def test_fitting_twice_gives_the_same(tokenizer):
    again = type(tokenizer).fit(iter([text.encode() for text in TEXTS]), SIZES[tokenizer.kind])
    assert again == tokenizer
    assert len(again.vocabulary) <= SIZES[tokenizer.kind]


def test_files_and_record_are_the_tokenizer(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    record = tokenizer.to_json()
    assert "vocabulary" not in record
    assert "merges" not in record
    assert tokenizers.load(tmp_path, record) == tokenizer


def test_tokens_of_any_characters_survive_their_file(tmp_path):
    odd = ("\n", "\r", "\\", "\\n", "\r\n", "\u2028", "\x85", "\x0b", " ", "\t", "#", '"', "é")
    characters = Words(("", "[UNK]", "[START]", "[END]", *odd), lowercase=False)
    characters.save(tmp_path)
    assert tokenizers.load(tmp_path, characters.to_json()) == characters


def test_a_folder_without_its_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no tokenizer: vocabulary\.txt not found"):
        tokenizers.load(tmp_path, {"kind": "words"})
    with pytest.raises(ValueError, match=r"Unknown tokenizer 'word'\. Did you mean 'words'"):
        tokenizers.load(tmp_path, {"kind": "word"})


@pytest.mark.parametrize("table", ["vocabulary", "merges"])
def test_the_tables_of_another_model_are_refused(table, tmp_path):
    """Ids that mean other tokens would give wrong answers without a word."""
    tokenizer = BytePairs.fit(TEXTS, 300)
    tokenizer.save(tmp_path)
    lines = (tmp_path / f"{table}.txt").read_text().splitlines(keepends=True)
    (tmp_path / f"{table}.txt").write_text("".join([lines[1], lines[0], *lines[2:]]))
    size = len(getattr(tokenizer, table))
    said = rf"The {table} in .* is not what the model was trained with\. Received: {size} entries, .* Accepted: {size} "
    with pytest.raises(ValueError, match=said):
        tokenizers.load(tmp_path, tokenizer.to_json())
    (tmp_path / f"{table}.txt").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=rf"Received: {size - 1} entries, SHA-256 \w+…\. Accepted: {size} entries"):
        tokenizers.load(tmp_path, tokenizer.to_json())


def test_a_vocabulary_without_room_or_text_is_refused(tokenizer):
    with pytest.raises(ValueError, match="has at least"):
        type(tokenizer).fit(TEXTS, 3)
    if tokenizer.kind != "byte_pairs":
        with pytest.raises(ValueError, match="are empty"):
            type(tokenizer).fit([b"", b""], 300)


def test_a_vocabulary_that_cannot_work_is_refused(tokenizer):
    with pytest.raises(ValueError, match="every token once"):
        dataclasses.replace(tokenizer, vocabulary=(*tokenizer.vocabulary, tokenizer.vocabulary[-1]))
    with pytest.raises(ValueError, match="as its padding token"):
        dataclasses.replace(tokenizer, vocabulary=tokenizer.vocabulary[1:])


class Served(tf.Module):
    """A tokenizer behind a signature."""

    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer
        self.tables = tokenizer.trackables

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def answer(self, texts):
        ids = self.tokenizer.encode(texts)
        padded = ids.to_tensor(self.tokenizer.padding)
        return {"ids": padded, "pieces": self.tokenizer.pieces(padded), "texts": self.tokenizer.decode(padded)}


def save(tokenizer, folder):
    # A new instance, first used while the graph is traced.
    served = Served(dataclasses.replace(tokenizer))
    tf.saved_model.save(served, str(folder), signatures=served.answer)


def test_a_saved_model_gives_the_same_answers(tokenizer, tmp_path):
    save(tokenizer, tmp_path)
    answers = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](texts=tf.constant((*NASTY, *TEXTS)))
    ids = tokenizer.encode(tf.constant((*NASTY, *TEXTS))).to_tensor(tokenizer.padding)
    assert answers["ids"].numpy().tolist() == ids.numpy().tolist()
    assert answers["pieces"].numpy().tolist() == tokenizer.pieces(ids).numpy().tolist()
    assert answers["texts"].numpy().tolist() == tokenizer.decode(ids).numpy().tolist()


def test_an_input_pipeline_gives_the_same_ids(tokenizer):
    fresh = dataclasses.replace(tokenizer)
    data = tf.data.Dataset.from_tensor_slices(list(TEXTS)).batch(2).map(fresh.encode)
    assert [row for ids in data for row in ids.to_list()] == tokenizer.encode(TEXTS).to_list()


@pytest.mark.slow
def test_a_process_without_this_package_answers_with_two_libraries_of_tensorflow_text(tmp_path):
    for kind in tokenizers.KINDS.values():
        save(kind.fit(TEXTS, SIZES[kind.kind]), tmp_path / kind.kind)
    process = """
import importlib.util, pathlib, sys
import tensorflow as tf
spec = importlib.util.find_spec("tensorflow_text")
for name in ("_fast_wordpiece_tokenizer.so", "_normalize_ops.so"):
    tf.load_op_library(str(pathlib.Path(spec.submodule_search_locations[0], "python", "ops", name)))
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    answer = tf.saved_model.load(str(folder)).signatures["serving_default"]
    print(folder.name, answer(texts=tf.constant(["The lazy dog"]))["texts"].numpy()[0].decode())
assert not {"recipes", "tensorflow_text"} & sys.modules.keys()
"""
    done = subprocess.run(
        [sys.executable, "-c", process, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    texts = {"words": "the lazy dog", "wordpiece": "the lazy dog"}
    assert done.stdout.splitlines() == [f"{kind} {texts.get(kind, 'The lazy dog')}" for kind in sorted(SIZES)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=12), min_size=1, max_size=20))
def test_broken_utf8_is_read_as_python_reads_it(texts):
    assert strings(valid_utf8(tf.constant(texts))) == [text.decode(errors="replace") for text in texts]


def test_lower_case_is_that_of_each_character():
    """All of Unicode, whatever the locale of the machine."""
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    assert strings(lower(tf.constant(every))) == [character.lower()[0] for character in every]
    assert strings(lower(tf.constant(["TITLE ÀÉ \0X ΑΣ İI"]))) == ["title àé \0x ασ ii"]


# Words and characters


def slow_words(text, lowercase, strip_punctuation):
    category = unicodedata.category
    text = "".join(" " if category(c)[0] == "Z" or category(c) == "Cc" else c for c in text)
    if lowercase:
        text = "".join(c.lower()[0] for c in text)
    if strip_punctuation:
        text = "".join(c for c in text if category(c)[0] != "P" and c not in "$+<=>^`|~")
    return [word for word in text.split(" ") if word]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_punctuation", [True, False])
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=10))
def test_words_are_what_stands_between_spaces(lowercase, strip_punctuation, texts):
    texts = [*texts, *(text.decode(errors="replace") for text in NASTY)]
    words = [slow_words(text, lowercase, strip_punctuation) for text in texts]
    known = sorted({word for row in words for word in row} - {"[UNK]", "[START]", "[END]"})[::2]
    tokenizer = Words(("", "[UNK]", "[START]", "[END]", *known), lowercase, strip_punctuation)
    ids = {word: i for i, word in enumerate(known, 4)}
    assert tokenizer.encode(texts).to_list() == [[ids.get(word, 1) for word in row] for row in words]


def test_the_punctuation_that_is_left_out_holds_that_of_keras():
    assert all(tf.strings.regex_full_match(list(string.punctuation), PUNCTUATION).numpy())


def test_the_most_frequent_words_come_first_and_bytes_break_ties():
    tokenizer = Words.fit(["b a c", "é z a", "Z"], 8)
    assert tokenizer.vocabulary == ("", "[UNK]", "[START]", "[END]", "a", "z", "b", "c")


def test_text_cannot_write_a_special_token_but_the_mask():
    plain = Words.fit(["[START] of [UNK] [MASK]"], 20, lowercase=False, strip_punctuation=False)
    assert plain.vocabulary[4:] == ("of",)
    assert plain.encode(["[START] of [END]"]).to_list() == [[1, 4, 1]]
    masked = Words.fit(["paris is a city"], 20, mask=True)
    assert strings(masked.pieces(masked.encode(["Paris is [MASK]."]))[0]) == ["paris", "is", "[MASK]"]
    assert masked.encode(["[MASK][MASK]", "", "[mask]"]).to_list() == [[4, 4], [], [1]]
    for kind, size in ((Characters, 30), (BytePairs, 300)):
        tokenizer = kind.fit(["paris is a city"], size, mask=True)
        ids = tokenizer.encode(["a[MASK]t"])
        assert strings(tokenizer.pieces(ids)[0]) == ["a", "[MASK]", "t"]


@settings(max_examples=25, deadline=None)
@given(st.lists(TEXT.filter(lambda text: "\0" not in text), min_size=1, max_size=10))
def test_characters_give_back_the_very_text(texts):
    tokenizer = Characters.fit([*texts, "x"], 1000)
    assert strings(tokenizer.decode(tokenizer.encode(texts))) == texts
    assert [len(row) for row in tokenizer.encode(texts).to_list()] == [len(text) for text in texts]


def test_wordpiece_says_what_to_install_where_tensorflow_text_is_not(monkeypatch):
    tokenizer = WordPiece(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"))
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    with pytest.raises(ImportError, match=r"pip install servable-zoo\[text\]"):
        tokenizer.encode(["a"])
