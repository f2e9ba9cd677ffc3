"""BERT: an encoder that reads a text in both directions at once.

Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL
(2019), §3; the small ones from Turc, Chang, Lee, Toutanova, "Well-Read Students Learn Better: On the Importance of
Pre-training Compact Models" (2019), table 1:

                  layers   width   heads    MLP    parameters
    bert_tiny          2     128       2    512     4,385,920
    bert_mini          4     256       4   1024    11,170,560
    bert_small         4     512       8   2048    28,763,648
    bert_base         12     768      12   3072   109,482,240
    bert_large        24    1024      16   4096   335,141,888

    stem     embeddings of token, segment and place added, LayerNorm
    block    LayerNorm(x + attention(x)), then LayerNorm(x + MLP(x)) with one hidden layer, GELU
    head     of a text's class: the pooler, which is a Dense layer with tanh on the first token, then the classes; of
             the classes of tokens: these alone; of masked tokens: a Dense layer with GELU, LayerNorm, the embedding of
             the tokens transposed, and a bias

The parameters are those with pooler and without classes. Every block is a stage. As in the reference, LayerNorm follows
each sum with an epsilon of 1e-12, GELU is exact, dropout follows the stem, every attention weight and every branch, and
all kernels begin normal with deviation 0.02, truncated, where nothing else is said.
"""

import functools

import keras
from keras import initializers, layers, ops

from zoo.attention import LearnedPositions, MultiHeadAttention, PaddingMask, TokenDense
from zoo.huggingface import HuggingFace
from zoo.registry import stages, variant

EPSILON = 1e-12
SEGMENTS = 2
DEVLIN = "Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, 2019"
TURC = "Turc et al., Well-Read Students Learn Better: On the Importance of Pre-training Compact Models, 2019"
TASKS = ("text-classification", "token-classification", "masked-language-modeling")
TINY = {
    "input_shape": (8,),
    "num_classes": 3,
    "vocabulary_size": 20,
    "dim": 32,
    "depth": 1,
    "heads": 2,
    "max_length": 16,
    "dropout": 0.0,
}

BERT = HuggingFace(
    model_type="bert",
    prefix="bert.",
    sizes=lambda model: {
        "vocab_size": model.get_layer("stem_tokens").input_dim,
        "type_vocab_size": SEGMENTS,
        "hidden_size": model.get_layer("stem_tokens").output_dim,
        "num_hidden_layers": len(stages(model)),
        "num_attention_heads": model.get_layer("stage1_attention").num_heads,
        "intermediate_size": model.get_layer("stage1_mlp_hidden").units,
    },
    settings={"hidden_act": "gelu", "layer_norm_eps": EPSILON, "position_embedding_type": "absolute"},
    modules={
        "stem_tokens": "embeddings.word_embeddings",
        "stem_segments": "embeddings.token_type_embeddings",
        "stem_positions": "embeddings.position_embeddings",
        "stem_norm": "embeddings.LayerNorm",
        "block_attention/query": "encoder.layer.{}.attention.self.query",
        "block_attention/key": "encoder.layer.{}.attention.self.key",
        "block_attention/value": "encoder.layer.{}.attention.self.value",
        "block_attention/output": "encoder.layer.{}.attention.output.dense",
        "block_attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
        "block_mlp_hidden": "encoder.layer.{}.intermediate.dense",
        "block_mlp_output": "encoder.layer.{}.output.dense",
        "stage": "encoder.layer.{}.output.LayerNorm",
        "head_pooler": "pooler.dense",
        "head_hidden": "cls.predictions.transform.dense",
        "head_norm": "cls.predictions.transform.LayerNorm",
        "head_bias": "cls.predictions",
        "logits": "classifier",
    },
    tied={
        "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    ignored={
        "embeddings.position_ids": "a buffer: 0, 1, 2, …",
        "cls.seq_relationship.*": "tells whether one sentence follows another, which no task of ours asks",
        "qa_outputs.*": "finds an answer in a text, which no task of ours asks",
    },
)


def _init(stddev):
    return initializers.TruncatedNormal(stddev=stddev)


@keras.saving.register_keras_serializable("zoo")
class SegmentEmbedding(layers.Layer):
    """Adds a learned vector to every token, that of its segment: `(batch, length, dim)` → the same shape.

    Called as `layer(x, segments=None)`, with `segments` int `(batch, length)`; by default all is segment 0.

    Args:
        initializer: of the vectors.
    """

    def __init__(self, initializer="uniform", **kwargs):
        super().__init__(**kwargs)
        self.initializer = initializers.get(initializer)

    def build(self, x_shape, segments_shape=None):
        shape = (SEGMENTS, x_shape[-1])
        self.embeddings = self.add_weight(shape=shape, initializer=self.initializer, name="embeddings")

    def call(self, x, segments=None):
        return x + (self.embeddings[0] if segments is None else ops.take(self.embeddings, segments, axis=0))

    def compute_output_shape(self, x_shape, segments_shape=None):
        return x_shape

    def multiply_adds(self, x_shape, segments_shape=None):
        """None: a sum."""
        return 0

    def get_config(self):
        return {**super().get_config(), "initializer": initializers.serialize(self.initializer)}


@keras.saving.register_keras_serializable("zoo")
class FirstToken(layers.Layer):
    """What stands at the first place, in BERT that of `[CLS]`: `(batch, length, dim)` → `(batch, dim)`."""

    def call(self, x):
        return x[:, 0]

    def compute_output_shape(self, input_shape):
        batch, _, dim = input_shape
        return batch, dim


@keras.saving.register_keras_serializable("zoo")
class Bias(layers.Layer):
    """Adds a learned number to every channel: `(…, channels)` → the same shape."""

    def build(self, input_shape):
        self.bias = self.add_weight(shape=input_shape[-1:], initializer="zeros", name="bias")

    def call(self, x):
        return x + self.bias

    def compute_output_shape(self, input_shape):
        return input_shape

    def multiply_adds(self, input_shape):
        """None: a sum."""
        return 0


def _norm(x, name):
    return layers.LayerNormalization(epsilon=EPSILON, name=name)(x)


def _block(x, mask, heads, dropout, init, name):
    dim = x.shape[-1]

    def added(x, branch, what):
        if dropout:
            branch = layers.Dropout(dropout, name=f"{name}_{what}_dropout")(branch)
        return layers.Add(name=f"{name}_{what}_add")([x, branch])

    attention = MultiHeadAttention(
        heads, dim // heads, dropout=dropout, kernel_initializer=init(), name=f"{name}_attention"
    )
    x = _norm(added(x, attention(x, mask=mask), "attention"), f"{name}_attention_norm")
    branch = TokenDense(4 * dim, "gelu", kernel_initializer=init(), name=f"{name}_mlp_hidden")(x)
    branch = TokenDense(dim, kernel_initializer=init(), name=f"{name}_mlp_output")(branch)
    return _norm(added(x, branch, "mlp"), name)


def bert(
    input_shape=(128,),
    num_classes=2,
    *,
    task="text-classification",
    vocabulary_size=30_522,
    dim,
    depth,
    heads,
    max_length=512,
    segments=False,
    dropout=0.1,
    initializer_range=0.02,
    include_top=True,
    name,
):
    """A BERT of any size.

    Args:
        input_shape: `(length,)`; `(None,)` takes texts of any length up to `max_length`.
        num_classes: classes of a text or of a token; not used by "masked-language-modeling".
        task: "text-classification", "token-classification" or "masked-language-modeling".
        vocabulary_size: token ids are below it; 0 is padding, which no token sees.
        dim, depth, heads: width of the tokens, blocks, attention heads. The MLP's hidden layer is 4 times as wide.
        max_length: places that have a learned vector.
        segments: whether there is a second input, `segments`; without it all is segment 0.
        dropout: rate, everywhere.
        initializer_range: deviation of the normal distribution, truncated, that kernels and embeddings begin with. The
            reference's is made for a width of 768; a narrow network learns faster from about `dim ** -0.5`.
        include_top: `False` gives all tokens after the last block, `(batch, length, dim)`.
        name: name of the model.

    Returns:
        `tokens` and, if asked for, `segments` of 0 and 1, each int32 `(batch, length)` → logits float32, for a text
        `(batch, num_classes)`, for its tokens `(batch, length, num_classes)`, for masked tokens
        `(batch, length, vocabulary_size)`.
    """
    if len(input_shape) != 1:
        raise ValueError(f"input_shape of {name!r} must be (length,). Received: {tuple(input_shape)}.")
    if depth < 1 or heads < 1 or dim < 1 or dim % heads:
        raise ValueError(
            f"depth, heads and dim of {name!r} must be positive, and dim a multiple of heads. "
            f"Received: depth={depth!r}, heads={heads!r}, dim={dim!r}."
        )
    init = functools.partial(_init, initializer_range)
    tokens = keras.Input(input_shape, dtype="int32", name="tokens")
    inputs = [tokens, keras.Input(input_shape, dtype="int32", name="segments")] if segments else [tokens]
    embedding = layers.ReversibleEmbedding(vocabulary_size, dim, embeddings_initializer=init(), name="stem_tokens")
    mask = PaddingMask(name="stem_mask")(tokens)
    x = SegmentEmbedding(init(), name="stem_segments")(embedding(tokens), *inputs[1:])
    x = LearnedPositions(max_length, initializer=init(), name="stem_positions")(x)
    x = _norm(x, "stem_norm")
    if dropout:
        x = layers.Dropout(dropout, name="stem_dropout")(x)
    for i in range(1, depth + 1):
        x = _block(x, mask, heads, dropout, init, f"stage{i}")
    if include_top:
        x = _head(x, task, num_classes, embedding, dropout, init)
    return keras.Model(inputs if segments else tokens, x, name=name)


def _head(x, task, num_classes, embedding, dropout, init):
    dim = x.shape[-1]
    if task == "masked-language-modeling":
        x = TokenDense(dim, "gelu", kernel_initializer=init(), name="head_hidden")(x)
        x = embedding(_norm(x, "head_norm"), reverse=True)
        x = Bias(dtype="float32", name="head_bias")(x)
        return layers.Activation("linear", dtype="float32", name="logits")(x)
    if task == "text-classification":
        x = FirstToken(name="head_first_token")(x)
        x = layers.Dense(dim, "tanh", kernel_initializer=init(), name="head_pooler")(x)
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    return layers.Dense(num_classes, kernel_initializer=init(), dtype="float32", name="logits")(x)


_member = functools.partial(variant, bert, task=TASKS, tiny=TINY, huggingface=BERT)

bert_tiny = _member(
    "bert_tiny",
    "BERT of 2 blocks of width 128, 4.4 million parameters.",
    {"dim": 128, "depth": 2, "heads": 2},
    paper=TURC,
)
bert_mini = _member(
    "bert_mini",
    "BERT of 4 blocks of width 256, 11.2 million parameters.",
    {"dim": 256, "depth": 4, "heads": 4},
    paper=TURC,
)
bert_small = _member(
    "bert_small",
    "BERT of 4 blocks of width 512, 28.8 million parameters.",
    {"dim": 512, "depth": 4, "heads": 8},
    paper=TURC,
)
bert_base = _member(
    "bert_base",
    "The paper's BERT of 12 blocks of width 768, 109.5 million parameters.",
    {"dim": 768, "depth": 12, "heads": 12},
    paper=DEVLIN,
)
bert_large = _member(
    "bert_large",
    "The paper's BERT of 24 blocks of width 1024, 335.1 million parameters.",
    {"dim": 1024, "depth": 24, "heads": 16},
    paper=DEVLIN,
)
