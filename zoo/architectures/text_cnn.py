"""A convolutional network that reads a sentence.

Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP (2014), §2 and §3.1:

    stem      token → vector
    stage1    100 maps each of windows over 3, 4 and 5 tokens, ReLU, side by side
    head      the largest value of every map over the sentence, dropout 0.5, classes

`tokens` is of any length, id 0 is padding. A window begins at every token and may reach into the padding, which counts
as zeros; windows that begin in the padding give zero, so that more padding changes nothing. A text without tokens gives
zeros. Left out: the limit of the paper on the norm of the head's weights, and its second, fixed copy of the vectors.
"""

from keras import Input, Model, layers

from zoo.layers import MaskPadding
from zoo.registry import register


@register(
    task="text-classification",
    paper="Kim, Convolutional Neural Networks for Sentence Classification, 2014",
    tiny={
        "input_shape": (8,),
        "num_classes": 3,
        "vocabulary_size": 20,
        "dim": 8,
        "windows": (2, 3),
        "maps": 4,
        "dropout": 0.0,
    },
)
def text_cnn(
    input_shape=(128,),
    num_classes=2,
    *,
    vocabulary_size=20_000,
    dim=128,
    windows=(3, 4, 5),
    maps=100,
    dropout=0.5,
    include_top=True,
    name="text_cnn",
):
    """One layer of convolutions over words, and the strongest answer of each.

    Args:
        input_shape: `(length,)` of a text in tokens; None for any.
        num_classes: width of the head.
        vocabulary_size: token ids are 0, which is padding, to `vocabulary_size - 1`.
        dim: width of a token's vector; 300 in the paper.
        windows: tokens under each window.
        maps: feature maps of each window.
        dropout: rate before the classes.
        include_top: end with the classes; without, with the maps, `(batch, length, maps * len(windows))`.
        name: the model's.

    Returns:
        `tokens` int32 `(batch, length)` → logits float32 `(batch, num_classes)`.
    """
    tokens = Input(input_shape, name="tokens", dtype="int32")
    x = layers.Embedding(vocabulary_size, dim, name="stem_embedding")(tokens)
    x = MaskPadding(name="stem_mask")(x, tokens)
    seen = [_maps(x, maps, window, f"stage1_window{window}") for window in windows]
    x = layers.Concatenate(name="stage1_concat")(seen) if len(seen) > 1 else seen[0]
    # After ReLU, zero is below everything that a window can say.
    x = MaskPadding(name="stage1")(x, tokens)
    if include_top:
        x = layers.GlobalMaxPooling1D(name="head_pool")(x)
        x = layers.Dropout(dropout, name="head_dropout")(x)
        x = layers.Dense(num_classes, name="logits", dtype="float32")(x)
    return Model(tokens, x, name=name)


def _maps(x, maps, window, name):
    """`(batch, length, dim)` → `(batch, length, maps)`: a window begins at every token."""
    x = layers.ZeroPadding1D((0, window - 1), name=f"{name}_pad")(x)
    return layers.Conv1D(maps, window, activation="relu", name=name)(x)
