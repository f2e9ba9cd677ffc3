"""Golden examples are kept without pickle, so that reading a stranger's version runs no code of his."""

import io

import numpy as np

from export import golden
from recipes import arrays


def test_strings_and_numbers_come_back():
    strings = np.array([[b"", b"\x00\xff\x00"], ["µ".encode(), b"a" * 999]], object)
    group = {"file": strings, "a/b c": np.arange(6.0, dtype=np.float32).reshape(2, 3), "none": strings[:0]}
    buffer = io.BytesIO()
    arrays.save(buffer, {"inputs": group})
    buffer.seek(0)
    (back,) = arrays.load(buffer).values()
    assert back.keys() == group.keys()
    for name, array in group.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_what_fits_is_counted_in_bytes_and_the_last_stay():
    strings = np.array([b"12345", b"1", b"123456", b"last"], object)
    examples = golden.Golden({"x": strings}, {"y": np.zeros((4, 2), np.float32)})
    for limit, count in ((0, 1), (12, 1), (25, 1), (33, 1), (34, 2), (47, 2), (48, 3), (99, 3)):
        kept = examples.within(limit, last=1)
        assert kept.inputs["x"].tolist() == [*strings[:count], b"last"]
        assert len(kept.outputs["y"]) == count + 1


def test_a_small_batch_is_repeated():
    """One golden example still makes a warm-up record of eight rows."""
    assert golden.rows({"x": np.array([1, 2])}, 5)["x"].tolist() == [1, 2, 1, 2, 1]
