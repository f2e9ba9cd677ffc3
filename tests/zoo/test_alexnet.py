"""AlexNet and its local response normalisation."""

import keras
import numpy as np
import pytest

import zoo
from zoo.layers import LocalResponseNormalization


def normalized_by_hand(maps, size, k, alpha, beta):
    """§3.3 of the paper, one map after the other."""
    result, count = np.empty_like(maps), maps.shape[-1]
    for i in range(count):
        first, last = max(0, i - size // 2), min(count - 1, i + size // 2)
        result[..., i] = maps[..., i] / (k + alpha * (maps[..., first : last + 1] ** 2).sum(-1)) ** beta
    return result


def test_local_response_normalization_is_the_papers_formula():
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 7)).astype(np.float32) * 100
    for arguments in ({}, {"size": 3, "k": 1.0, "alpha": 0.1, "beta": 0.5}):
        expected = normalized_by_hand(maps, **{"size": 5, "k": 2.0, "alpha": 1e-4, "beta": 0.75, **arguments})
        np.testing.assert_allclose(LocalResponseNormalization(**arguments)(maps), expected, rtol=1e-5)


def test_local_response_normalization_survives_half_precision():
    maps = np.full((1, 1, 1, 5), 300, np.float16)  # 300² is infinite in float16
    layer = LocalResponseNormalization(dtype="mixed_float16")
    expected = normalized_by_hand(maps.astype(np.float32), 5, 2.0, 1e-4, 0.75)
    np.testing.assert_allclose(layer(maps), expected, rtol=2e-3)


def test_local_response_normalization_needs_a_map_in_the_middle():
    with pytest.raises(ValueError, match=r"must be odd and positive\. Received: 4"):
        LocalResponseNormalization(size=4)


def test_small_alexnet_normalizes_its_first_two_stages_and_no_other():
    found = [layer.name for layer in zoo.build("alexnet", **zoo.spec("alexnet").tiny).layers if "norm" in layer.name]
    assert found == ["stage1_block1_norm", "stage2_block1_norm"]


def test_wrong_number_of_widths_says_how_many():
    with pytest.raises(ValueError, match=r"must name five convolutions\. Received: \(8, 8\)"):
        zoo.build("alexnet", widths=(8, 8))


def test_dropout_is_there_in_training_only():
    model = zoo.build("alexnet", **{**zoo.spec("alexnet").tiny, "dropout": 0.5})
    x = np.random.default_rng(0).normal(size=(1, *model.input_shape[1:])).astype(np.float32)
    answer, again, training = (keras.ops.convert_to_numpy(model(x, training=t)) for t in (False, False, True))
    np.testing.assert_array_equal(answer, again)
    assert (training != answer).any()
