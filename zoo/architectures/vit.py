"""The Vision Transformer: a picture read as a sentence of 16x16 words.

Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR (2021), §3.1,
Table 1 (Base) and Appendix B.1 (dropout); the two smaller ones from Touvron et al., "Training data-efficient image
transformers & distillation through attention" (DeiT, 2021), Table 1, who regularise by stochastic depth instead:

               patch   layers   width   MLP    heads   dropout   stochastic depth
    vit_tiny16    16       12     192    768       3         0                0.1
    vit_small16   16       12     384   1536       6         0                0.1
    vit_base16    16       12     768   3072      12       0.1                  0

    stem     patches to tokens by one convolution, class token before them, learned positions added
    block    x + attention(LayerNorm(x)), then x + MLP(LayerNorm(x)) with one hidden layer, GELU
    head     LayerNorm, class token, classes

What all variants share: `image` is any size from 16x16, of which rows and columns that fill no whole patch are left
out, as in the reference; positions are learned for the size it is built with, and interpolated when weights of another
size are loaded (§3.2). The layers are parted into four stages,
each a quarter of them; the last stage ends with the final LayerNorm. `stem_patches` gives the grid of patches
`(batch, height, width, dim)`; every stage gives tokens `(batch, 1 + patches, dim)`, the class token first. Every kernel
begins as in DeiT, normal with deviation 0.02.
"""

import functools
import itertools

import keras
from keras import initializers, layers, ops

from zoo.huggingface import HuggingFace
from zoo.layers import StochasticDepth
from zoo.registry import variant

EPSILON = 1e-6
DOSOVITSKIY = "Dosovitskiy et al., An Image is Worth 16x16 Words, 2021"
TOUVRON = "Touvron et al., Training data-efficient image transformers, 2021"
TINY = {
    "input_shape": (16, 16, 3),
    "num_classes": 3,
    "patch_size": 4,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "mlp_dim": 32,
    "dropout": 0.0,
    "stochastic_depth": 0.0,
}

VIT = HuggingFace(
    model_type="vit",
    prefix="vit.",
    sizes=lambda model: {
        "patch_size": model.get_layer("stem_patches").kernel_size[0],
        "hidden_size": model.get_layer("stem_patches").filters,
        "num_hidden_layers": sum(layer.name.endswith("_attention") for layer in model.layers),
        "num_attention_heads": model.get_layer("stage1_block1_attention").num_heads,
        "intermediate_size": model.get_layer("stage1_block1_mlp_hidden").units,
    },
    settings={"hidden_act": "gelu", "qkv_bias": True},
    modules={
        "stem_patches": "embeddings.patch_embeddings.projection",
        "stem_class_token/token": "embeddings.cls_token",
        "stem_positions/positions": "embeddings.position_embeddings",
        "block_attention_norm": "encoder.layer.{}.layernorm_before",
        "block_attention/query": "encoder.layer.{}.attention.attention.query",
        "block_attention/key": "encoder.layer.{}.attention.attention.key",
        "block_attention/value": "encoder.layer.{}.attention.attention.value",
        "block_attention/attention_output": "encoder.layer.{}.attention.output.dense",
        "block_mlp_norm": "encoder.layer.{}.layernorm_after",
        "block_mlp_hidden": "encoder.layer.{}.intermediate.dense",
        "block_mlp_output": "encoder.layer.{}.output.dense",
        "stage": "layernorm",
        "logits": "classifier",
    },
    ignored={"pooler.dense.*": "a layer between backbone and classes that this head does not have"},
)


def _init():
    return initializers.TruncatedNormal(stddev=0.02)


@keras.saving.register_keras_serializable("zoo")
class ClassToken(layers.Layer):
    """Puts one learned token before the others: `(batch, n, dim)` → `(batch, 1 + n, dim)`."""

    def build(self, input_shape):
        self.token = self.add_weight(shape=(1, 1, input_shape[-1]), initializer=_init(), name="token")

    def call(self, tokens):
        first = ops.broadcast_to(self.token, (ops.shape(tokens)[0], 1, tokens.shape[-1]))
        return ops.concatenate([first, tokens], axis=1)

    def compute_output_shape(self, input_shape):
        batch, count, dim = input_shape
        return batch, count + 1, dim

    def multiply_adds(self, input_shape):
        """None: the token is put there, nothing is computed."""
        return 0


@keras.saving.register_keras_serializable("zoo")
class PositionEmbedding(layers.Layer):
    """Adds a learned vector to every token, one for each place: `(batch, n, dim)` → the same shape."""

    def build(self, input_shape):
        self.positions = self.add_weight(shape=(1, *input_shape[1:]), initializer=_init(), name="positions")

    def call(self, tokens):
        return tokens + self.positions

    def compute_output_shape(self, input_shape):
        return input_shape

    def multiply_adds(self, input_shape):
        """None that papers count: the sum is element-wise."""
        return 0


def _block(x, heads, mlp_dim, dropout, drop, name, output_name):
    dim = x.shape[-1]

    def dropped(branch, what):
        return layers.Dropout(dropout, name=f"{name}_{what}_dropout")(branch) if dropout else branch

    def joined(x, branch, what, output_name):
        if drop:
            branch = StochasticDepth(drop, name=f"{name}_{what}_drop")(branch)
        return layers.Add(name=output_name)([x, branch])

    branch = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_attention_norm")(x)
    attention = layers.MultiHeadAttention(heads, dim // heads, kernel_initializer=_init(), name=f"{name}_attention")
    branch = dropped(attention(branch, branch), "attention")
    x = joined(x, branch, "attention", f"{name}_attention_add")

    branch = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_mlp_norm")(x)
    branch = layers.Dense(mlp_dim, "gelu", kernel_initializer=_init(), name=f"{name}_mlp_hidden")(branch)
    branch = dropped(branch, "mlp_hidden")
    branch = layers.Dense(dim, kernel_initializer=_init(), name=f"{name}_mlp_output")(branch)
    branch = dropped(branch, "mlp_output")
    return joined(x, branch, "mlp", output_name)


def vit(
    input_shape=(224, 224, 3),
    num_classes=1000,
    *,
    patch_size=16,
    dim,
    depth=12,
    heads,
    mlp_dim,
    dropout=0.0,
    stochastic_depth=0.1,
    include_top=True,
    name,
):
    """A Vision Transformer of any size.

    Args:
        input_shape: `(height, width, channels)`, at least 16x16 pixels and one patch.
        num_classes: width of the head.
        patch_size: side of a patch in pixels.
        dim, depth, heads, mlp_dim: width of the tokens, blocks, attention heads, width of the MLP's hidden layer.
        dropout: rate after the positions and after every Dense layer but those of query, key and value.
        stochastic_depth: rate at which the last block's branches are dropped, rising linearly from 0.
        include_top: `False` gives all tokens after the final LayerNorm, `(batch, 1 + patches, dim)`.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    if not 1 <= patch_size <= min(input_shape[:2]):
        raise ValueError(
            f"patch_size of {name!r} must be at least 1 and at most the picture's height and width. "
            f"Received: patch_size={patch_size!r} with input_shape={tuple(input_shape)}."
        )
    if depth < 1 or heads < 1 or dim < 1 or mlp_dim < 1 or dim % heads:
        raise ValueError(
            f"depth, heads, dim and mlp_dim of {name!r} must be positive, and dim a multiple of heads. "
            f"Received: depth={depth!r}, heads={heads!r}, dim={dim!r}, mlp_dim={mlp_dim!r}."
        )
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(dim, patch_size, patch_size, kernel_initializer=_init(), name="stem_patches")(image)
    x = layers.Reshape((-1, dim), name="stem_tokens")(x)
    patches = x.shape[1]
    x = ClassToken(name="stem_class_token")(x)
    x = PositionEmbedding(name="stem_positions")(x)
    if dropout:
        x = layers.Dropout(dropout, name="stem_dropout")(x)

    stages = min(4, depth)
    ends = [depth * i // stages for i in range(stages + 1)]
    for i, (first, end) in enumerate(itertools.pairwise(ends), 1):
        for j in range(first, end):
            block = f"stage{i}_block{j - first + 1}"
            ends_stage = j + 1 == end and end < depth
            drop = stochastic_depth * j / max(depth - 1, 1)
            x = _block(x, heads, mlp_dim, dropout, drop, block, f"stage{i}" if ends_stage else f"{block}_mlp_add")
    x = layers.LayerNormalization(epsilon=EPSILON, name=f"stage{stages}")(x)

    if include_top:
        x = layers.Cropping1D((0, patches), name="head_class_token")(x)
        x = layers.Flatten(name="head_flatten")(x)
        x = layers.Dense(num_classes, kernel_initializer=_init(), name="logits", dtype="float32")(x)
    return keras.Model(image, x, name=name)


_member = functools.partial(variant, vit, task="image-classification", tiny=TINY, min_size=16, huggingface=VIT)

vit_tiny16 = _member(
    "vit_tiny16",
    "ViT-Ti/16, the size of DeiT-Ti without its distillation, 5.7 million parameters.",
    {"dim": 192, "heads": 3, "mlp_dim": 768},
    paper=TOUVRON,
)
vit_small16 = _member(
    "vit_small16",
    "ViT-S/16, the size of DeiT-S without its distillation, 22 million parameters.",
    {"dim": 384, "heads": 6, "mlp_dim": 1536},
    paper=TOUVRON,
)
vit_base16 = _member(
    "vit_base16",
    "ViT-B/16: the paper's Base with patches of 16x16 pixels, 86.6 million parameters.",
    {"dim": 768, "heads": 12, "mlp_dim": 3072, "dropout": 0.1, "stochastic_depth": 0.0},
    paper=DOSOVITSKIY,
)
