"""GPT: a decoder that goes on with a text.

Radford, Wu, Child, Luan, Amodei, Sutskever, "Language Models are Unsupervised Multitask Learners" (GPT-2, 2019), §2.3
and table 2, and its code:

                   layers   width   heads   places    parameters
    gpt2_small         12     768      12     1024   124,439,808
    gpt2_medium        24    1024      16     1024   354,823,168

    stem     embeddings of token and place added
    block    x + attention(LayerNorm(x)), then x + MLP(LayerNorm(x)) with one hidden layer, 4 times as wide, GELU
    head     LayerNorm, the embedding of the tokens transposed

Every block is a stage; the last one ends with the final LayerNorm. As in the reference, GELU is approximated by tanh,
the epsilon of LayerNorm is 1e-5, dropout follows the stem, every attention weight and every branch, and all kernels
begin normal with deviation 0.02, those that end a branch with 0.02 / sqrt(2 * layers), so that their sum does not grow
with their number. A token sees itself and those before it: none of a text sees what pads it at its end.

With `banded_window` every second block sees only the nearest tokens, as in Brown et al., "Language Models are Few-Shot
Learners" (GPT-3, 2020), §2.1: "alternating dense and locally banded sparse attention patterns", which are those of
Child et al., "Generating Long Sequences with Sparse Transformers" (2019).
"""

import functools
import math

import keras
from keras import initializers, layers, ops

from zoo.attention import LearnedPositions, MultiHeadAttention, TokenDense
from zoo.huggingface import HuggingFace, Part
from zoo.registry import stages, variant

EPSILON = 1e-5
DEVIATION = 0.02
PAPER = "Radford et al., Language Models are Unsupervised Multitask Learners, 2019"
TINY = {
    "input_shape": (8,),
    "vocabulary_size": 20,
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "max_length": 16,
    "dropout": 0.0,
}

GPT2 = HuggingFace(
    model_type="gpt2",
    prefix="transformer.",
    transposed=False,
    sizes=lambda model: {
        "vocab_size": model.get_layer("stem_tokens").input_dim,
        "n_embd": model.get_layer("stem_tokens").output_dim,
        "n_layer": len(stages(model)),
        "n_head": model.get_layer("stage1_attention").num_heads,
    },
    settings={
        "activation_function": "gelu_new",
        "layer_norm_epsilon": EPSILON,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
    },
    modules={
        "stem_tokens": "wte",
        "stem_positions": "wpe",
        "block_attention_norm": "h.{}.ln_1",
        "block_attention/query": Part("h.{}.attn.c_attn", 0, 3),
        "block_attention/key": Part("h.{}.attn.c_attn", 1, 3),
        "block_attention/value": Part("h.{}.attn.c_attn", 2, 3),
        "block_attention/output": "h.{}.attn.c_proj",
        "block_mlp_norm": "h.{}.ln_2",
        "block_mlp_hidden": "h.{}.mlp.c_fc",
        "block_mlp_output": "h.{}.mlp.c_proj",
        "stage": "ln_f",
    },
    tied={"lm_head.weight": "wte.weight"},
    ignored={
        "h.*.attn.bias": "a buffer: the mask of causal attention",
        "h.*.attn.masked_bias": "a buffer: the number put where the mask hides",
        "score.weight": "tells a text's class, which no task of ours asks of it",
    },
)


@keras.saving.register_keras_serializable("zoo")
def gelu_tanh(x):
    """GELU as Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016), §2 approximate it by tanh."""
    return ops.gelu(x, approximate=True)


def _init(deviation=DEVIATION):
    return initializers.RandomNormal(stddev=deviation)


def _block(x, heads, window, dropout, end, name, output_name):
    dim = x.shape[-1]

    def added(x, branch, what, output_name):
        if dropout:
            branch = layers.Dropout(dropout, name=f"{name}_{what}_dropout")(branch)
        return layers.Add(name=output_name)([x, branch])

    attention = MultiHeadAttention(
        heads,
        dim // heads,
        causal=True,
        window=window,
        dropout=dropout,
        kernel_initializer=_init(),
        output_initializer=_init(end),
        name=f"{name}_attention",
    )
    branch = attention(layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_attention_norm")(x))
    x = added(x, branch, "attention", f"{name}_attention_add")

    branch = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_mlp_norm")(x)
    branch = TokenDense(4 * dim, gelu_tanh, kernel_initializer=_init(), name=f"{name}_mlp_hidden")(branch)
    branch = TokenDense(dim, kernel_initializer=_init(end), name=f"{name}_mlp_output")(branch)
    return added(x, branch, "mlp", output_name)


def decoder(
    input_shape=(128,),
    *,
    vocabulary_size=50_257,
    dim,
    depth,
    heads,
    max_length=1024,
    banded_window=None,
    dropout=0.1,
    include_top=True,
    name,
):
    """A GPT of any size.

    Args:
        input_shape: `(length,)`; `(None,)` takes texts of any length up to `max_length`.
        vocabulary_size: token ids are below it.
        dim, depth, heads: width of the tokens, blocks, attention heads.
        max_length: places that have a learned vector.
        banded_window: most keys that a token sees in the second, fourth, … block, itself among them; None: all.
        dropout: rate, everywhere.
        include_top: `False` gives all tokens after the final LayerNorm, `(batch, length, dim)`.
        name: name of the model.

    Returns:
        `tokens` int32 `(batch, length)` → logits float32 of the token after each, `(batch, length, vocabulary_size)`.
    """
    if len(input_shape) != 1:
        raise ValueError(f"input_shape of {name!r} must be (length,). Received: {tuple(input_shape)}.")
    if depth < 1 or heads < 1 or dim < 1 or dim % heads:
        raise ValueError(
            f"depth, heads and dim of {name!r} must be positive, and dim a multiple of heads. "
            f"Received: depth={depth!r}, heads={heads!r}, dim={dim!r}."
        )
    tokens = keras.Input(input_shape, dtype="int32", name="tokens")
    embedding = layers.ReversibleEmbedding(vocabulary_size, dim, embeddings_initializer=_init(), name="stem_tokens")
    x = LearnedPositions(max_length, initializer=_init(), name="stem_positions")(embedding(tokens))
    if dropout:
        x = layers.Dropout(dropout, name="stem_dropout")(x)
    end = DEVIATION / math.sqrt(2 * depth)
    for i in range(1, depth + 1):
        block = f"stage{i}"
        window = banded_window if i % 2 == 0 else None
        x = _block(x, heads, window, dropout, end, block, block if i < depth else f"{block}_mlp_add")
    x = layers.LayerNormalization(epsilon=EPSILON, name=f"stage{depth}")(x)
    if include_top:
        x = embedding(x, reverse=True)
        x = layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model(tokens, x, name=name)


_member = functools.partial(variant, decoder, task="language-modeling", paper=PAPER, tiny=TINY, huggingface=GPT2)

gpt = _member(
    "gpt",
    "A GPT of any size; by default 4 blocks of width 128, small enough to train on a CPU.",
    {"dim": 128, "depth": 4, "heads": 4, "max_length": 256, "vocabulary_size": 8192},
)
gpt2_small = _member(
    "gpt2_small",
    "The smallest GPT-2, 12 blocks of width 768, 124.4 million parameters.",
    {"dim": 768, "depth": 12, "heads": 12},
)
gpt2_medium = _member(
    "gpt2_medium",
    "GPT-2 of 24 blocks of width 1024, 354.8 million parameters.",
    {"dim": 1024, "depth": 24, "heads": 16},
)
