"""A generated text must be the one its definition names: with a cache or without, alone or in a batch, or served."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from recipes import generation
from tests import writers
from zoo import decoding

END = 8
PROMPTS = [[1], [2, 0, 4], [4, 0]]
NETWORKS = [writers.gpt, writers.transformer, writers.lstm]


def with_cache(model):
    """The network: source → `begin` and `step`."""

    def of(source):
        def begin(prompts, lengths, longest):
            return decoding.begin(model, writers.inputs_of(model, prompts, source), lengths, longest)

        return begin, functools.partial(decoding.step, model)

    return of


def without_cache(model):
    """The same by reading the whole text for every token: what is kept of it is the text itself."""

    def of(source):
        def begin(prompts, lengths, longest):
            return tf.pad(prompts, [[0, 0], [0, longest - tf.shape(prompts)[1]]]), source

        return begin, step

    def step(tokens, cache, index):
        text, source = cache
        text = tf.tensor_scatter_nd_update(text, tf.stack([tf.range(tf.shape(text)[0]), index], 1), tokens)
        return tf.gather(model(writers.inputs_of(model, text, source)), index, batch_dims=1), (text, source)

    return of


def chain(table):
    """A network whose next token depends on the last one alone, by a table of logits."""
    table = tf.constant(table, tf.float32)

    return lambda source: (lambda *prompts: (), lambda tokens, cache, index: (tf.gather(table, tokens), ()))


TOKENS, LENGTHS = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
OF_ROWS = {
    "max_new_tokens": tf.TensorSpec([None], tf.int32),
    "temperature": tf.TensorSpec([None], tf.float32),
    "top_k": tf.TensorSpec([None], tf.int32),
    "top_p": tf.TensorSpec([None], tf.float32),
    "seed": tf.TensorSpec([None], tf.int64),
}


def in_a_graph(function, network, rows, **arguments):
    """`function` traced, of prompts, their lengths, source, and what is given by rows."""

    @tf.function(input_signature=[TOKENS, LENGTHS, TOKENS, {name: OF_ROWS[name] for name in rows}])
    def generate(prompts, lengths, source, rows):
        return function(*network(source), prompts, lengths, **arguments, **rows)

    return generate


def filled_up(prompts):
    """Prompts as a tensor, with something behind them, and their lengths."""
    prompts = tf.ragged.constant(prompts, tf.int32)
    return prompts.to_tensor(7), tf.cast(prompts.row_lengths(), tf.int32)


def run(function, network, prompts, source=writers.SOURCE, **arguments):
    """What `function` gives, as arrays: step by step, for short texts are generated before a graph of it is traced."""
    answer = function(*network(tf.constant(source)), *filled_up(prompts), **arguments)
    return {name: tensor.numpy() for name, tensor in answer.items()}


def texts(answer):
    """The generated tokens of every row."""
    return [tuple(tokens[:length]) for tokens, length in zip(answer["tokens"], answer["length"], strict=True)]


def greedily(model, row, most):
    """What greedy decoding means: the whole network, and the most probable token, again and again."""
    text, log_probability = list(PROMPTS[row]), 0.0
    while len(text) < len(PROMPTS[row]) + most and text[-1:] != [END]:
        inputs = writers.inputs_of(model, np.array([text]), writers.SOURCE[row : row + 1])
        logits = keras.ops.convert_to_numpy(model(inputs))[0, -1].astype(np.float64)
        text.append(int(logits.argmax()))
        log_probability += logits.max() - np.log(np.exp(logits).sum())
    return tuple(text[len(PROMPTS[row]) :]), log_probability


WAYS = {
    "greedy": (generation.sample, {}),
    "sampling": (
        generation.sample,
        {"temperature": [1.0, 1.5, 0.8], "top_k": [0, 4, 3], "top_p": [1.0, 0.9, 1.0], "seed": [1, 2, 3]},
    ),
    "beams": (generation.beam_search, {"num_beams": 3, "length_penalty": 1.0}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_cache_changes_no_text(network, way):
    model = writers.livened(network(), seed=3)
    function, arguments = WAYS[way]
    cached, whole = (
        run(function, of(model), PROMPTS, end=END, longest=8, max_new_tokens=[5, 4, 3], **arguments)
        for of in (with_cache, without_cache)
    )
    assert len(set(texts(whole))) > 1
    np.testing.assert_array_equal(cached["tokens"], whole["tokens"])
    np.testing.assert_array_equal(cached["length"], whole["length"])
    np.testing.assert_allclose(cached["log_probability"], whole["log_probability"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("function", [generation.sample, generation.beam_search])
def test_no_step_begins_before_the_last_has_ended(function):
    """By that `export.rewriting.loops` knows the loops that it need not take apart."""
    write = in_a_graph(function, with_cache(writers.transformer()), ["max_new_tokens"], end=END, longest=8)
    nodes = write.get_concrete_function().graph.as_graph_def().node
    assert [node.attr["parallel_iterations"].i for node in nodes if "While" in node.op].count(1) == 1


@pytest.mark.parametrize("network", NETWORKS)
def test_greedy_texts_are_those_of_the_whole_network(network):
    model = writers.livened(network(), seed=3)
    answer = run(generation.sample, with_cache(model), PROMPTS, end=END, longest=12, max_new_tokens=[9, 4, 8])
    expected = [greedily(model, row, most) for row, most in enumerate([9, 4, 8])]
    assert texts(answer) == [tokens for tokens, _ in expected]
    np.testing.assert_allclose(answer["log_probability"], [p for _, p in expected], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_a_row_does_not_depend_on_the_others(way):
    model = writers.livened(writers.transformer(), seed=3)
    function, arguments = WAYS[way]
    arguments = {"max_new_tokens": [2, 9, 30], **arguments}
    together = run(function, with_cache(model), PROMPTS, end=END, longest=10, **arguments)
    for i in range(3):
        own = slice(i, i + 1)
        of_row = {name: values[own] if isinstance(values, list) else values for name, values in arguments.items()}
        alone = run(function, with_cache(model), PROMPTS[own], writers.SOURCE[own], end=END, longest=10, **of_row)
        assert texts(alone) == texts(together)[own]
        np.testing.assert_allclose(alone["log_probability"], together["log_probability"][own], rtol=1e-4, atol=1e-5)


def all_texts(vocabulary_size, end, longest):
    """Every text that ends, or is as long as it may be."""
    for length in range(1, longest + 1):
        for text in itertools.product(range(vocabulary_size), repeat=length):
            if end not in text[:-1] and (length == longest or text[-1] == end):
                yield text


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_enough_beams_find_the_best_text_of_all(seed, length_penalty):
    vocabulary_size, most = 4, 4
    model = writers.livened(writers.gpt(vocabulary_size), seed)
    search = {"num_beams": 36, "length_penalty": length_penalty}
    found = run(generation.beam_search, with_cache(model), [[1, 2]], end=3, longest=9, max_new_tokens=most, **search)

    every = list(all_texts(vocabulary_size, 3, most))
    padded = np.array([[1, 2, *text, *[0] * (most - len(text))] for text in every])
    log_probabilities = tf.nn.log_softmax(model(padded)).numpy()
    sums = np.array([sum(log_probabilities[i, 1 + j, t] for j, t in enumerate(x)) for i, x in enumerate(every)])
    scores = sums / ((5 + np.array([len(text) for text in every])) / 6) ** length_penalty
    assert texts(found) == [every[scores.argmax()]]
    np.testing.assert_allclose(found["log_probability"], sums[scores.argmax()], rtol=1e-4)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_one_beam_is_greedy(length_penalty):
    network = with_cache(writers.livened(writers.lstm(), seed=3))
    limits = {"end": END, "longest": 12, "max_new_tokens": 9}
    greedy = run(generation.sample, network, PROMPTS, **limits)
    one_beam = run(generation.beam_search, network, PROMPTS, **limits, num_beams=1, length_penalty=length_penalty)
    assert texts(one_beam) == texts(greedy)
    np.testing.assert_allclose(one_beam["log_probability"], greedy["log_probability"], rtol=1e-5)


TWO_WAYS = np.log(
    [  # after 1, the less probable 3 leads to a text that is more probable as a whole
        [1 / 5, 1 / 5, 1 / 5, 1 / 5, 1 / 5],
        [1e-9, 1e-9, 0.6, 0.4, 1e-9],
        [0.25, 0.25, 0.25, 1e-9, 0.25],
        [1e-9, 1e-9, 1e-9, 0.1, 0.9],
        [1 / 5, 1 / 5, 1 / 5, 1 / 5, 1 / 5],
    ]
)


def test_two_beams_see_what_greed_does_not():
    limits = {"end": 4, "longest": 9, "max_new_tokens": 3}
    greedy = run(generation.sample, chain(TWO_WAYS), [[1]], **limits)
    beams = run(generation.beam_search, chain(TWO_WAYS), [[1]], **limits, num_beams=2, length_penalty=0.0)
    assert texts(greedy)[0][0] == 2
    assert texts(beams) == [(3, 4)]
    np.testing.assert_allclose(beams["log_probability"], np.log(0.4 * 0.9), rtol=1e-5)


def test_a_length_penalty_favours_longer_texts():
    table = np.log([[0.2, 0.2, 0.2, 0.4], [1e-9, 1e-9, 0.45, 0.55], [1e-9, 1e-9, 0.9, 0.1], [0.25] * 4])
    search = functools.partial(
        run, generation.beam_search, chain(table), [[1]], end=3, longest=20, max_new_tokens=6, num_beams=2
    )
    assert [search(length_penalty=alpha)["length"][0] for alpha in (0.0, 5.0)] == [1, 6]


LOGITS = np.log([0.05, 0.4, 0.25, 0.2, 0.07, 0.03])
PROBABILITIES = np.exp(LOGITS)
ROWS = 20_000


@pytest.fixture(scope="module")
def shares():
    """How often each token is drawn from `LOGITS`, by as many seeds as rows."""
    draw = in_a_graph(generation.sample, chain(np.tile(LOGITS, (9, 1))), OF_ROWS, end=END, longest=2)
    default = {"max_new_tokens": 1, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": tf.range(ROWS)}

    def of(**arguments):
        rows = {k: tf.fill([ROWS], v) if np.ndim(v) == 0 else v for k, v in (default | arguments).items()}
        rows = {name: tf.cast(values, OF_ROWS[name].dtype) for name, values in rows.items()}
        answer = draw(tf.ones([ROWS, 1], tf.int32), tf.ones([ROWS], tf.int32), writers.SOURCE, rows)
        np.testing.assert_allclose(answer["log_probability"], LOGITS[answer["tokens"][:, 0]], rtol=1e-4)
        return np.bincount(answer["tokens"][:, 0], minlength=6) / ROWS

    return of


def renormalised(probabilities, kept):
    kept = np.isin(np.arange(6), kept) * probabilities
    return kept / kept.sum()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, PROBABILITIES),
        ({"temperature": 2.0}, renormalised(PROBABILITIES**0.5, range(6))),
        ({"temperature": 0.5}, renormalised(PROBABILITIES**2, range(6))),
        ({"top_k": 1}, renormalised(PROBABILITIES, [1])),
        ({"top_k": 3}, renormalised(PROBABILITIES, [1, 2, 3])),
        ({"top_k": 9}, PROBABILITIES),
        ({"top_p": 0.39}, renormalised(PROBABILITIES, [1])),
        ({"top_p": 0.41}, renormalised(PROBABILITIES, [1, 2])),
        ({"top_p": 0.86}, renormalised(PROBABILITIES, [1, 2, 3, 4])),
        ({"top_p": 0.0}, renormalised(PROBABILITIES, [1])),
        # the nucleus of the three that are left: 0.471, 0.294, 0.235
        ({"top_k": 3, "top_p": 0.7}, renormalised(PROBABILITIES, [1, 2])),
        ({"temperature": 1e-9}, renormalised(PROBABILITIES, [1])),
        ({"temperature": 0.0}, renormalised(PROBABILITIES, [1])),
    ],
)
def test_tokens_are_drawn_as_often_as_they_should(shares, arguments, expected):
    drawn = shares(**arguments)
    np.testing.assert_array_equal(drawn[expected == 0], 0)
    possible = expected > 0
    chi_square = ROWS * ((drawn - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square < 20.5  # of five degrees of freedom, passed once in a thousand times by chance


def test_draws_of_one_text_do_not_repeat_each_other():
    generate = in_a_graph(
        generation.sample, chain(np.zeros((4, 4))), ["seed"], end=9, longest=1001, max_new_tokens=1000, temperature=1.0
    )
    tokens = generate([[1]], [1], writers.SOURCE, {"seed": [7]})["tokens"][0].numpy()
    pairs = np.bincount(4 * tokens[:-1] + tokens[1:], minlength=16) / 999
    assert 999 * (16 * (pairs - 1 / 16) ** 2).sum() < 37.7  # of fifteen degrees of freedom, once in a thousand


def test_a_seed_is_a_text():
    network = with_cache(writers.livened(writers.gpt()))

    def of(*seeds):
        limits = {"end": END, "longest": 9, "max_new_tokens": 8}
        seeds = np.array(seeds, np.int64)
        return texts(run(generation.sample, network, [[1]] * len(seeds), temperature=3.0, seed=seeds, **limits))

    together = of(3, 2**40, -1, 3)
    assert together[0] == together[3]
    assert len(set(together)) == 3
    assert together == [of(seed)[0] for seed in (3, 2**40, -1, 3)]


@pytest.mark.parametrize("function", [generation.sample, generation.beam_search])
def test_a_text_ends_where_the_cache_does(function):
    endless = np.zeros((6, 6))
    endless[:, 2] = 9
    prompts = [[1], [1, 1, 1], [1, 1, 1, 1], [1]]
    answer = run(function, chain(endless), prompts, end=END, longest=3, max_new_tokens=[9, 9, 9, 1])
    assert texts(answer) == [(2, 2), (), (), (2,)]
    np.testing.assert_array_equal(answer["tokens"], [[2, 2], [0, 0], [0, 0], [2, 0]])
    np.testing.assert_array_equal(answer["log_probability"][1:3], [0, 0])


def test_a_prompt_longer_than_the_positions_leaves_the_others_their_texts():
    model = writers.livened(writers.gpt())
    prompts = [[1] * (writers.MAX_LENGTH + 3), [1, 1]]
    longest = decoding.max_length(model)
    answer = run(generation.sample, with_cache(model), prompts, end=-1, longest=longest, max_new_tokens=99)
    assert list(answer["length"]) == [0, writers.MAX_LENGTH - 2]


@pytest.mark.parametrize("function", [generation.sample, generation.beam_search])
def test_no_new_tokens_are_none(function):
    answer = run(function, chain(np.zeros((6, 6))), [[1], [2]], end=END, longest=3, max_new_tokens=[0, -1])
    assert answer["tokens"].shape == (2, 0)
    np.testing.assert_array_equal(answer["log_probability"], [0, 0])


def test_texts_that_end_early_end_the_loop():
    steps = []
    begin, step = chain(9 * np.eye(9)[[END] * 9])(None)

    def counted(*arguments):
        steps.append(1)
        return step(*arguments)

    answer = generation.sample(begin, counted, [[1], [2]], [1, 1], end=END, longest=900, max_new_tokens=800)
    assert texts(answer) == [(END,), (END,)]
    assert len(steps) == 1


DRAWN = {"temperature": [2.0, 0.0, 2.0], "top_k": [0, 0, 4], "top_p": [1.0, 1.0, 0.9], "max_new_tokens": [9, 3, 9]}


@pytest.mark.parametrize(
    ("network", "function", "questions"),
    [
        (writers.gpt, generation.sample, [{**DRAWN, "seed": [1, 1, 1]}, {**DRAWN, "seed": [2, 2, 2]}]),
        (writers.lstm, generation.beam_search, [{"max_new_tokens": [9, 3, 9]}]),
    ],
)
def test_a_saved_model_generates_the_same(network, function, questions, tmp_path):
    module = tf.Module()
    module.model = writers.livened(network(), seed=3)
    module.generate = in_a_graph(function, with_cache(module.model), questions[0], end=END, longest=12)
    tf.saved_model.save(module, tmp_path / "1")
    served = tf.saved_model.load(tmp_path / "1")
    answers = []
    for rows in questions:
        rows = {name: tf.constant(value, OF_ROWS[name].dtype) for name, value in rows.items()}
        expected, answer = (each.generate(*filled_up(PROMPTS), writers.SOURCE, rows) for each in (module, served))
        np.testing.assert_array_equal(answer["tokens"], expected["tokens"])
        np.testing.assert_array_equal(answer["length"], expected["length"])
        np.testing.assert_allclose(answer["log_probability"], expected["log_probability"], rtol=1e-5)
        answers.append(tuple(answer["tokens"].numpy().flat))
    assert len(set(answers)) == len(questions)


@pytest.mark.parametrize("function", [generation.sample, generation.beam_search])
def test_a_graph_of_one_row_generates_the_same(function):
    """What is known to be one row may go with any number of rows, as far as TensorFlow knows."""
    network = with_cache(writers.livened(writers.gpt(), seed=3))
    limits = {"end": END, "longest": 6, "max_new_tokens": 3}
    generate = functools.partial(function, *network(tf.constant(writers.SOURCE[:1])), **limits)
    prompts = filled_up(PROMPTS[1:2])
    np.testing.assert_array_equal(tf.function(generate)(*prompts)["tokens"], generate(*prompts)["tokens"])


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (generation.sample, {"longest": 0}, "longest must be a positive integer. Received: 0"),
        (generation.beam_search, {"longest": 9, "num_beams": 0}, "at least one beam.*num_beams=0"),
        (generation.beam_search, {"longest": 9, "length_penalty": -1.0}, "not negative.*length_penalty=-1.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*chain(np.zeros((6, 6)))(None), [[1]], [1], end=END, max_new_tokens=1, **arguments)
