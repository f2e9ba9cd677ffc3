"""What is special to the Vision Transformer: patches, positions, the class token, and stages where there were none."""

import math

import keras
import numpy as np
import pytest

import zoo

TINY = {**zoo.spec("vit_base16").tiny, "depth": 2}


def build(**arguments):
    return zoo.build("vit_base16", **{**TINY, **arguments})


def pictures(*size, count=2):
    return np.random.default_rng(0).normal(size=(count, *size)).astype(np.float32)


def livened(model):
    """The model with weights large enough for every part of it to matter."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.6, weight.shape))
    return model


def paper(model, picture, patch, heads, blocks):
    """Equations 1 to 4 of the paper for one picture, in NumPy, with the model's weights."""
    weights = {w.path: keras.ops.convert_to_numpy(w).astype(np.float64) for w in model.weights}

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * weights[f"{name}/gamma"] + weights[f"{name}/beta"]

    def dense(x, name):
        kernel = weights[f"{name}/kernel"]
        return x @ kernel.reshape(x.shape[-1], -1) + weights[f"{name}/bias"].reshape(-1)

    def attention(x, name):
        query, key, value = (
            dense(x, f"{name}/{part}").reshape(len(x), heads, -1) for part in ("query", "key", "value")
        )
        mixed = []
        for head in range(heads):
            scores = np.exp(query[:, head] @ key[:, head].T / math.sqrt(query.shape[-1]))
            mixed.append(scores / scores.sum(-1, keepdims=True) @ value[:, head])
        return dense(np.concatenate(mixed, -1), f"{name}/attention_output")

    def gelu(x):
        return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2

    height, width = picture.shape[0] // patch, picture.shape[1] // patch
    cut = picture[: height * patch, : width * patch].reshape(height, patch, width, patch, -1)
    x = dense(cut.transpose(0, 2, 1, 3, 4).reshape(height * width, -1), "stem_patches")
    x = np.concatenate([weights["stem_class_token/token"][0], x]) + weights["stem_positions/positions"][0]
    for block in blocks:
        x = x + attention(norm(x, f"{block}_attention_norm"), f"{block}_attention")
        hidden = gelu(dense(norm(x, f"{block}_mlp_norm"), f"{block}_mlp_hidden"))
        x = x + dense(hidden, f"{block}_mlp_output")
    return dense(norm(x, "stage2")[0], "logits")


def test_it_computes_the_papers_equations():
    model = livened(build(input_shape=(18, 23, 3)))
    picture = pictures(18, 23, 3, count=1)
    expected = paper(model, picture[0], 4, 2, ["stage1_block1", "stage2_block1"])
    np.testing.assert_allclose(np.asarray(model(picture))[0], expected, rtol=1e-3, atol=1e-3)


def test_patches_keep_their_places_in_the_grid_and_what_fills_none_is_left_out():
    model = livened(build(input_shape=(18, 23, 3)))
    grid = zoo.features(model, "stem_patches")
    assert grid.output_shape == (None, 4, 5, 16)
    picture = pictures(18, 23, 3)
    answer = np.asarray(model(picture))
    picture[:, 16:] = picture[:, :, 20:] = 9
    np.testing.assert_array_equal(np.asarray(model(picture)), answer)
    before = np.asarray(grid(picture))
    picture[:, 4:8, 8:12] = 9
    changed = (np.asarray(grid(picture)) != before).any((0, 3))
    assert [tuple(place) for place in np.argwhere(changed)] == [(1, 2)]


def test_only_positions_tell_where_a_patch_lies():
    model = livened(build())
    picture = pictures(16, 16, 3)
    upside_down = picture.reshape(2, 4, 4, 16, 3)[:, ::-1].reshape(2, 16, 16, 3)
    assert np.abs(np.asarray(model(picture)) - np.asarray(model(upside_down))).max() > 1e-2
    model.get_layer("stem_positions").set_weights([np.zeros((1, 17, 16))])
    np.testing.assert_allclose(np.asarray(model(picture)), np.asarray(model(upside_down)), atol=1e-4)


@pytest.mark.parametrize(
    ("depth", "ends"),
    [
        (12, ["stage1_block3", "stage2_block3", "stage3_block3", "stage4_block3"]),
        (6, ["stage1_block1", "stage2_block2", "stage3_block1", "stage4_block2"]),
        (3, ["stage1_block1", "stage2_block1", "stage3_block1"]),
        (1, ["stage1_block1"]),
    ],
)
def test_stages_share_the_blocks_and_the_last_ends_with_the_final_norm(depth, ends):
    model = build(depth=depth, include_top=False)
    names = [layer.name for layer in model.layers]
    assert [name.partition("_mlp_output")[0] for name in names if name.endswith("_mlp_output")][-1] == ends[-1]
    for i, block in enumerate(ends[:-1], 1):
        assert names[names.index(f"{block}_mlp_output") + 1] == f"stage{i}"
    assert names[-1] == f"stage{len(ends)}"
    assert isinstance(model.layers[-1], keras.layers.LayerNormalization)
    assert model.output_shape == (None, 17, 16)


def test_dropout_and_stochastic_depth_lie_where_the_papers_have_them():
    model = build(depth=3, dropout=0.1, stochastic_depth=0.2)
    rates = {layer.name: layer.rate for layer in model.layers if hasattr(layer, "rate")}
    dropped = {"stem_dropout": 0.1}
    for block in ("stage1_block1", "stage2_block1", "stage3_block1"):
        dropped |= {f"{block}_{what}_dropout": 0.1 for what in ("attention", "mlp_hidden", "mlp_output")}
    for block, rate in {"stage2_block1": 0.1, "stage3_block1": 0.2}.items():
        dropped |= {f"{block}_{what}_drop": rate for what in ("attention", "mlp")}
    assert rates == pytest.approx(dropped)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patch_size": 17}, r"patch_size of 'vit_base16' must be .* Received: patch_size=17"),
        ({"dim": 15}, r"dim a multiple of heads. Received: .*dim=15"),
        ({"depth": 0}, r"must be positive, .* Received: depth=0"),
    ],
)
def test_a_network_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)
