"""Forward pass of our language networks beside the same architectures in KerasHub.

    python benchmarks/language.py --length 128 --batch-sizes 1,8 --rounds 15

Both have random weights and run on the same tokens in one process, in turns; the last text of a batch is padded by a
quarter. Every round gives a ratio, and the median of the rounds counts: above 1 says that ours does more tokens per
second. BERT gives all tokens after its last block, GPT-2 the logits of the next.
"""

import argparse

import keras
import keras_hub
import numpy as np
from architectures import forward, in_turns
from keras import ops

import zoo


def bert_base(length):
    """Ours and KerasHub's, each tokens → all tokens after the last block."""
    tokens = keras.Input((length,), dtype="int32")
    theirs = keras_hub.models.BertBackbone(30_522, 12, 12, 768, 3072)
    no_segments = ops.zeros_like(tokens)
    hidden = theirs({"token_ids": tokens, "segment_ids": no_segments, "padding_mask": ops.not_equal(tokens, 0)})
    return zoo.build("bert_base", input_shape=(length,), include_top=False), keras.Model(
        tokens, hidden["sequence_output"]
    )


def gpt2_small(length):
    """Ours and KerasHub's, each tokens → logits."""
    tokens = keras.Input((length,), dtype="int32")
    theirs = keras_hub.models.GPT2Backbone(50_257, 12, 12, 768, 3072)
    hidden = theirs({"token_ids": tokens, "padding_mask": ops.not_equal(tokens, 0)})
    logits = theirs.token_embedding(hidden, reverse=True)
    return zoo.build("gpt2_small", input_shape=(length,)), keras.Model(tokens, logits)


NETWORKS = {"bert_base": bert_base, "gpt2_small": gpt2_small}


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(NETWORKS), help="names, separated by commas")
    parser.add_argument("--length", type=int, default=128, help="tokens of a text")
    parser.add_argument("--batch-sizes", default="1,8", help="numbers of texts, separated by commas")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    print(f"texts of {options.length} tokens\n")
    print("| model | batch | forward, tokens/s | ours / KerasHub's |")
    print("|---|---:|---:|---:|")
    for name in options.models.split(","):
        networks = NETWORKS[name](options.length)
        for batch_size in map(int, options.batch_sizes.split(",")):
            tokens = np.random.default_rng(0).integers(1, 30_000, (batch_size, options.length)).astype(np.int32)
            tokens[-1, -options.length // 4 :] = 0
            mine, other = in_turns([forward(network, tokens) for network in networks], options.rounds)
            speed = batch_size * options.length / np.median(mine)
            print(f"| {name} | {batch_size} | {speed:,.0f} | {np.median(other / mine):.2f} |", flush=True)
        keras.backend.clear_session()


if __name__ == "__main__":
    main()
