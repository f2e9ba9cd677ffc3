"""Tokens per second of greedy generation with a cache, and by reading the whole text anew for every token.

    python benchmarks/generation.py --new-tokens 64,256,512

Both generate in one graph, with the same random network, from prompts of one token. Every cell is the best of the
rounds, in which the two take turns, behind one that traces.
"""

import argparse
import functools
import time

import tensorflow as tf

import zoo
from recipes import generation
from zoo import decoding


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--new-tokens", default="64,256,512", help="numbers, separated by commas")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--vocabulary-size", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    counts = [int(count) for count in options.new_tokens.split(",")]
    model = zoo.build(
        "gpt",
        input_shape=(None,),
        dim=options.dim,
        depth=options.depth,
        heads=options.heads,
        max_length=max(counts) + 1,
        vocabulary_size=options.vocabulary_size,
    )
    print(f"{model.count_params():,} parameters, batches of {options.batch_size}\n")
    print("| new tokens | with cache, tokens/s | without, tokens/s | ratio |")
    print("|---:|---:|---:|---:|")
    prompts, lengths = tf.ones([options.batch_size, 1], tf.int32), tf.ones([options.batch_size], tf.int32)
    generators = [
        tf.function(functools.partial(generation.sample, *network, end=-1, longest=max(counts) + 1))
        for network in (with_cache(model), without_cache(model))
    ]
    for count in counts:
        seconds = [[], []]
        for _ in range(options.rounds + 1):
            for generate, taken in zip(generators, seconds, strict=True):
                started = time.perf_counter()
                assert generate(prompts, lengths, max_new_tokens=tf.constant(count))["tokens"].shape[1] == count
                taken.append(time.perf_counter() - started)
        cached, whole = (options.batch_size * count / min(taken[1:]) for taken in seconds)
        print(f"| {count} | {cached:,.0f} | {whole:,.0f} | {cached / whole:.1f} |", flush=True)


def with_cache(model):
    """The network as `begin` and `step`."""
    return functools.partial(decoding.begin, model), functools.partial(decoding.step, model)


def without_cache(model):
    """The same, where nothing is kept but the text."""

    def begin(prompts, lengths, longest):
        return tf.pad(prompts, [[0, 0], [0, longest - tf.shape(prompts)[1]]])

    def step(tokens, text, index):
        text = tf.tensor_scatter_nd_update(text, tf.stack([tf.range(tf.shape(text)[0]), index], axis=1), tokens)
        so_far = text[:, : tf.reduce_max(index) + 1]
        return tf.gather(model(so_far, training=False), index, batch_dims=1), text

    return begin, step


if __name__ == "__main__":
    main()
