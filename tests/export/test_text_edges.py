"""Odd and bad texts, at a real server over REST and gRPC: each gets Keras' answer or a clear error, and the next lives.

One embedded server has all of the models: a classifier for every kind of tokenizer, one that refuses long texts, and
two that write.
"""

import base64
import json

import numpy as np
import pytest
import tensorflow as tf
import urllib3
from click.testing import CliRunner

import export
from recipes import tokenizers, writing
from recipes.examples import Examples
from serving.errors import InvalidInput
from serving.query_commands import query
from tests import writers
from tests.export import many_models, small_runs

LENGTH = 12
"""Most tokens of a classifier's text, its marks included."""

ODD = {
    "empty": b"",
    "blanks": b" \t\r\n ",
    "blanks of Unicode": "\u00a0\u3000\u2028".encode(),
    "a NUL byte": b"the\0cat",
    "nothing but a NUL byte": b"\0",
    "invalid UTF-8": b"caf\xe9 \xff\xfe \xe2\x82",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f642\U0001f3fd".encode(),
    "combining characters": "e\u0301 a\u0323\u0300 \u0301".encode(),
    "unknown": "Ж qqqq жук".encode(),
    "names of special tokens": b"[UNK] [START] [MASK] [PAD] [CLS]",
    "longer than the model": b"the cat sat on the mat " * 9,
    "a megabyte": b"the cat sat " * 2**20,
    "a word of 64 KB": b"c" * 2**16,
}
ODD["a megabyte"] = ODD["a megabyte"][: 2**20]


@pytest.fixture(scope="module")
def runs():
    """What is served, by name."""
    classifiers = {kind: small_runs.text_run(kind) for kind in tokenizers.KINDS}
    return classifiers | {
        "refusing": small_runs.text_run("characters", too_long="refuse"),
        "gpt": small_runs.writing_run(writers.gpt),
        "seq2seq": small_runs.writing_run(writers.simple_rnn),
    }


@pytest.fixture(scope="module")
def server(runs, tmp_path_factory):
    """One server of all of them."""
    with many_models.served(runs, tmp_path_factory.mktemp("texts")) as running:
        yield running


@pytest.fixture(scope="module", params=["rest", "grpc"])
def client(request, server):
    with many_models.connected(server, request.param) as client:
        yield client


def ask(client, model, *texts):
    return client.predict(model, {"text": list(texts)}, signature="text")


def keras_answers(run, *texts):
    return run.bundle.predict({"text": np.array([*texts, None], object)[:-1]})


def assert_same(answer, expected):
    assert answer.keys() == expected.keys()
    for name, wanted in expected.items():
        if wanted.dtype == object:
            assert answer[name].tolist() == np.vectorize(bytes.decode, otypes=[object])(wanted).tolist(), name
        else:
            np.testing.assert_allclose(answer[name], wanted, rtol=1e-4, atol=1e-5, err_msg=name)


def assert_lives(client, run, name):
    """The next request is answered as if nothing had been."""
    assert_same(ask(client, name, b"the cat"), keras_answers(run, b"the cat"))


# --- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", tokenizers.KINDS)
def test_every_text_gets_the_answer_of_keras(kind, client, runs):
    """Among others as alone: what is odd about one text changes no other's answer."""
    together = ask(client, kind, *ODD.values())
    assert_same(together, keras_answers(runs[kind], *ODD.values()))
    for i, (name, text) in enumerate(ODD.items()):
        alone = ask(client, kind, text)["probabilities"][0]
        np.testing.assert_allclose(alone, together["probabilities"][i], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", tokenizers.KINDS)
def test_what_is_unknown_is_all_the_same_but_to_bytes(kind, client):
    first, second = ask(client, kind, "ж".encode(), "ъ".encode())["probabilities"]
    assert np.allclose(first, second) == (kind != "byte_pairs")


@pytest.mark.parametrize("kind", tokenizers.KINDS)
def test_a_text_that_is_too_long_gets_the_answer_of_its_beginning(kind, client, runs):
    preprocessing = runs[kind].bundle.preprocessing
    long = ODD["longer than the model"]
    kept = preprocessing.tokenizer.encode(tf.constant([long]))[:, : LENGTH - 2]
    beginning = preprocessing.tokenizer.decode(kept).numpy()[0]
    assert len(beginning) < len(long)
    whole, part = ask(client, kind, long, beginning)["probabilities"]
    np.testing.assert_allclose(whole, part, rtol=1e-5)


def test_a_model_that_refuses_long_texts_names_its_limit(client, runs):
    fits = b"c" * (LENGTH - 2)
    assert_same(ask(client, "refusing", fits), keras_answers(runs["refusing"], fits))
    with pytest.raises(InvalidInput, match=r"more tokens than the 10 that there is room for\..* = \] \[11\]"):
        ask(client, "refusing", fits + b"c")
    assert_lives(client, runs["refusing"], "refusing")


def test_a_batch_with_one_text_that_is_refused_has_no_answers(client, runs):
    with pytest.raises(InvalidInput, match="more tokens than the 10"):
        ask(client, "refusing", b"the cat", b"the cat " * 9, b"the mat")
    assert_lives(client, runs["refusing"], "refusing")


def post(server, model, body):
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/{model}:predict"
    reply = urllib3.request("POST", url, body=body if isinstance(body, bytes) else json.dumps(body).encode())
    return reply.status, json.loads(reply.data)


def test_json_may_hold_a_text_or_its_bytes(server, runs):
    """The same text as a JSON string, escaped and not, and as base64; what is no UTF-8 as it is, and as base64."""
    text = "a\0b é e\u0301 \U0001f642 中"
    encoded = {"b64": base64.b64encode(text.encode()).decode()}
    for ensure_ascii in (True, False):
        body = {"signature_name": "text", "instances": [text, encoded, {"b64": base64.b64encode(b"\xff").decode()}]}
        status, reply = post(server, "byte_pairs", json.dumps(body, ensure_ascii=ensure_ascii).encode())
        assert status == 200, reply
        found = np.array([row["probabilities"] for row in reply["predictions"]])
        wanted = keras_answers(runs["byte_pairs"], text.encode(), text.encode(), b"\xff")["probabilities"]
        np.testing.assert_allclose(found, wanted, rtol=1e-4)
    status, reply = post(server, "byte_pairs", b'{"signature_name": "text", "instances": ["\xff"]}')
    assert status == 200, reply
    np.testing.assert_allclose(reply["predictions"][0]["probabilities"], wanted[2], rtol=1e-4)


@pytest.mark.parametrize(
    "body",
    [
        {"signature_name": "text", "instances": [{"b64": "no base64!"}]},
        {"signature_name": "text", "instances": [7]},
        {"signature_name": "text", "instances": ["good", None]},
        {"signature_name": "text", "instances": [["nested"], "not"]},
        b'{"signature_name": "text", "instances": ["\\ud83d"]}',
        b'{"signature_name": "text", "instances": ["unfinished',
    ],
)
def test_a_bad_request_is_refused_and_the_next_is_answered(body, server, runs):
    status, reply = post(server, "characters", body)
    assert status == 400
    assert reply["error"]
    status, reply = post(server, "characters", {"signature_name": "text", "instances": ["the cat"]})
    assert status == 200
    wanted = keras_answers(runs["characters"], b"the cat")["probabilities"][0]
    np.testing.assert_allclose(reply["predictions"][0]["probabilities"], wanted, rtol=1e-4)


def test_the_examples_of_a_run_are_asked_as_they_were_with_their_truth(server, runs, tmp_path):
    """With commas, quotes, line breaks of all systems, blanks at the ends, and bytes that are no UTF-8."""
    texts = [b"The cat, sat", b'"on"\nthe\r\nmat\r', b"  don't ", b"", b"caf\xe9"]
    raw = {"text": np.array([*texts, None], object)[:-1]}
    expected = runs["byte_pairs"].bundle.predict(raw)
    truth = [*(label.decode() for label in expected["classes"][:-1]), "other"]
    Examples(raw, np.array(truth, object), "label").save(tmp_path)
    asked = ["byte_pairs", str(tmp_path / "examples.csv"), "--rest", f"http://127.0.0.1:{server.rest_port}", "--json"]
    done = CliRunner().invoke(query, asked)
    assert done.exit_code == 0, done.output
    reply = json.loads(done.stdout)
    assert [answer["truth"] for answer in reply["answers"]] == truth
    assert reply["summary"] == "4/5 right"
    found = [answer["probability"] for answer in reply["answers"]]
    np.testing.assert_allclose(found, expected["probabilities"].max(axis=1), rtol=1e-4)


# --- texts that are written ----------------------------------------------------------------------------------------

GREEDY = {"max_new_tokens": 5, "temperature": 0.0, "top_k": 0, "top_p": 1.0, "seed": 1}
DRAWN = GREEDY | {"temperature": 1.5}


def settings(count, **asked):
    return {
        name: np.broadcast_to(value, [count]).astype(writing.SETTINGS[name].as_numpy_dtype)
        for name, value in (GREEDY | asked).items()
    }


def go_on(client, model, *texts, **asked):
    return client.predict(model, {"text": list(texts), **settings(len(texts), **asked)}, signature="generate")


def keras_goes_on(run, *texts, **asked):
    """The whole text read anew for every token."""
    return run.bundle.write({"text": list(texts), **settings(len(texts), **asked)})


WRITERS = ("gpt", "seq2seq")
SHORT_ODD = {name: text for name, text in ODD.items() if len(text) < writers.MAX_LENGTH}


@pytest.mark.parametrize("model", WRITERS)
def test_odd_texts_are_gone_on_with_as_keras_does(model, client, runs):
    answer = go_on(client, model, *SHORT_ODD.values())
    assert_same(answer, keras_goes_on(runs[model], *SHORT_ODD.values()))


def test_a_source_that_is_too_long_is_read_at_its_beginning(client, runs):
    sources = [b"the cat sat on the mat", b"the cat sat on", ODD["a megabyte"]]
    assert_same(go_on(client, "seq2seq", *sources), keras_goes_on(runs["seq2seq"], *sources))
    assert_same(ask(client, "seq2seq", *sources), keras_answers(runs["seq2seq"], *sources))


def test_a_prompt_is_as_long_as_leaves_room_for_a_token(client, runs):
    longest = b"the cat sat on "
    assert len(longest) == writers.MAX_LENGTH - 1
    answer = go_on(client, "gpt", longest, b"the")
    assert answer["generated_tokens"][0] == 1
    assert_same(answer, keras_goes_on(runs["gpt"], longest, b"the"))
    with pytest.raises(InvalidInput, match=r"more tokens than the 15 that there is room for\..* = \] \[16\]"):
        go_on(client, "gpt", b"the", longest + b"t")
    assert_lives(client, runs["gpt"], "gpt")


@pytest.mark.parametrize("model", WRITERS)
@pytest.mark.parametrize("most", [0, -1])
def test_asking_for_no_tokens_is_refused(most, model, client, runs):
    with pytest.raises(InvalidInput, match="max_new_tokens must be positive"):
        go_on(client, model, b"the", b"cat", max_new_tokens=[5, most])
    with pytest.raises(InvalidInput, match="max_new_tokens must be positive"):
        client.predict(model, {"text": [b"the"], "max_new_tokens": [most]}, signature="beam_search")
    assert_lives(client, runs[model], model)


@pytest.mark.parametrize("most", [10**3, 2**31, 2**32, 2**40])
def test_asking_for_more_tokens_than_there_is_room_for_gives_all_of_them(most, client, runs):
    found = go_on(client, "gpt", b"t", max_new_tokens=most, temperature=1.5, seed=3)
    assert_same(found, keras_goes_on(runs["gpt"], b"t", max_new_tokens=writers.MAX_LENGTH, temperature=1.5, seed=3))
    assert found["generated_tokens"][0] > 0


NAN = float("nan")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({"temperature": 0.0}, GREEDY),
        ({"temperature": -1.0}, GREEDY),
        ({"temperature": NAN}, GREEDY),
        ({"temperature": 1e-9}, GREEDY),
        ({"top_k": 1}, GREEDY),
        ({"top_p": 0.0}, GREEDY),
        ({"top_p": -1.0}, GREEDY),
        ({"top_p": NAN}, GREEDY),
        ({"top_k": 0}, DRAWN),
        ({"top_k": -3}, DRAWN),
        ({"top_k": 10**6}, DRAWN),
        ({"top_k": 2**32 + 1}, DRAWN),
        ({"top_p": 1.0}, DRAWN),
        ({"top_p": 7.0}, DRAWN),
        ({"temperature": float("inf")}, DRAWN | {"temperature": 1e30}),
    ],
    ids=lambda given: "-".join(f"{name}={value}" for name, value in given.items()),
)
def test_settings_at_their_limits_have_one_meaning(asked, meant, client, runs):
    """No cut is a cut at more than there is; what is at or below 0, or no number, takes the most probable token."""
    texts = (b"the", b"sat on", b"")
    found = go_on(client, "gpt", *texts, **{**DRAWN, "seed": [1, 2, 3], **asked})
    assert_same(found, keras_goes_on(runs["gpt"], *texts, **{**meant, "seed": [1, 2, 3]}))


@pytest.mark.parametrize("model", WRITERS)
def test_every_row_of_a_batch_has_its_own_settings(model, client, runs):
    texts = (b"the", b"", b"the", b"sat on", b"the")
    asked = {
        "max_new_tokens": [1, 9, 5, 100, 5],
        "temperature": [0.0, 2.0, 0.7, 1.0, 0.7],
        "top_k": [0, 0, 3, 0, 3],
        "top_p": [1.0, 0.9, 1.0, 0.5, 1.0],
        "seed": [0, 1, 2**40, -3, 7],
    }
    together = go_on(client, model, *texts, **asked)
    assert_same(together, keras_goes_on(runs[model], *texts, **asked))
    for i, text in enumerate(texts):
        alone = go_on(client, model, text, **{name: values[i] for name, values in asked.items()})
        assert alone["generated_text"][0] == together["generated_text"][i]


@pytest.mark.parametrize("model", WRITERS)
def test_no_texts_are_gone_on_with_by_none(model, client, runs):
    answer = go_on(client, model)
    assert answer["generated_text"].shape == answer["generated_tokens"].shape == (0,)
    searched = client.predict(model, {"text": [], "max_new_tokens": []}, signature="beam_search")
    assert searched["generated_text"].shape == (0,)
    assert ask(client, model).popitem()[1].shape[0] == 0
    assert_lives(client, runs[model], model)


def test_prompts_are_gone_on_with_from_the_command_line(server, runs):
    asked = ["gpt", "--text", "the", "--text", "sat", "--signature", "generate", "--set", "max_new_tokens=5"]
    done = CliRunner().invoke(query, [*asked, "--rest", f"http://127.0.0.1:{server.rest_port}", "--json"])
    assert done.exit_code == 0, done.output
    written = keras_goes_on(runs["gpt"], b"the", b"sat")["generated_text"]
    assert [answer["answer"].encode() for answer in json.loads(done.stdout)["answers"]] == written.tolist()


# --- vocabularies --------------------------------------------------------------------------------------------------


def test_a_folder_with_another_vocabulary_is_not_published(tmp_path):
    """Its ids would mean other words, and every answer would be wrong without a word."""
    folder, other = tmp_path / "run", tmp_path / "other"
    for place, size in ((folder, 300), (other, 14)):
        place.mkdir()
        run = small_runs.text_run("words", size)
        run.dir = place
        run.save()
    (other / "vocabulary.txt").replace(folder / "vocabulary.txt")
    with pytest.raises(ValueError, match=r"The vocabulary in .*run is not .* Received: 14 entries, .* Accepted: 2\d "):
        export.publish(folder, tmp_path / "served")
    assert not (tmp_path / "served").exists()


def test_a_vocabulary_larger_than_the_model_is_not_published(tmp_path):
    run = small_runs.text_run("characters", 20)
    run.bundle.preprocessing = small_runs.text_run("byte_pairs").bundle.preprocessing
    with pytest.raises(ValueError, match=r"layer 'stem_embedding' .* Received: 300 tokens\. Accepted: at most 20\."):
        export.publish(run, tmp_path / "served")


def test_logits_without_a_token_are_not_published(tmp_path):
    run = small_runs.writing_run(lambda size: writers.gpt(size + 7))
    with pytest.raises(ValueError, match=r"does not match the logits .* Received: 32 tokens\. Accepted: 39\."):
        export.publish(run, tmp_path / "served")
