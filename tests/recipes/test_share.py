"""The rows of a batch that each of several processes reads."""

import numpy as np
import pytest
import tensorflow as tf

from recipes.pipeline import Part, Reading
from recipes.share import Share

SIZE, BATCH = 22, 8
"""Two batches of eight, and a last one of six, which four parts do not divide."""


def batches(share=None, skipped=0):
    """Those of an epoch, streamed; every example is its number, and 1."""
    stream = tf.data.Dataset.range(SIZE).map(lambda i: (i, i))
    part = Part(SIZE, None, stream, Reading(lambda x, y: (tf.cast(x + 1, tf.float32), tf.cast(y + 1, tf.int32))))
    steps = part.steps(BATCH) - skipped
    return list(part.epochs(BATCH, 3, True, skipped=skipped, share=share).take(steps).as_numpy_iterator())


@pytest.mark.parametrize("skipped", [0, 1])
def test_the_shares_of_all_processes_are_the_batch(skipped):
    whole = batches(skipped=skipped)
    assert [len(x) for x, _ in whole] == [8, 8, 6][skipped:]
    shares = [Share(process, processes=2, parts=4) for process in range(2)]
    found = [[share.of(*batch) for batch in batches(share, skipped)] for share in shares]
    for (x, y), *of_processes in zip(whole, *found, strict=True):
        is_cut = len(x) % 4 == 0
        assert all(bool(told) == is_cut for told, _ in of_processes)
        rows = [own for _, (own, _) in of_processes]
        np.testing.assert_array_equal(np.concatenate(rows) if is_cut else rows[1], x)
        targets = [own for _, (_, own) in of_processes]
        np.testing.assert_array_equal(np.concatenate(targets) if is_cut else targets[0], y)


def test_the_rows_of_others_are_not_read():
    first, _, last = batches(Share(1, processes=2, parts=2))
    np.testing.assert_array_equal(first[0][:4], 0)
    assert first[0][4:].all()
    np.testing.assert_array_equal(last[0] > 0, [False] * 3 + [True] * 3)


def test_what_has_no_fixed_shape_is_read_by_all():
    stream = tf.data.Dataset.range(4).map(lambda i: (i, i))
    part = Part(4, None, stream, Reading(lambda x, y: (tf.ones([2]), tf.strings.as_string(y))))
    ((_, said),) = part.epochs(4, 0, False, share=Share(1, processes=2, parts=2)).take(1).as_numpy_iterator()
    assert said.tolist() == [b"0", b"1", b"2", b"3"]
