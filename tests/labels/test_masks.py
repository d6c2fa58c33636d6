from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.labels import IGNORE, reveal
from raylab.regions import RegionGrid


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12), st.data())
def test_the_truth_inside_the_regions_and_ignored_elsewhere(height, width, n, data):
    n = min(n, max(height, width))
    regions = RegionGrid([(height, width)], n)
    ids = data.draw(st.lists(st.integers(0, regions.n_regions - 1), unique=True, max_size=8))
    mask = np.random.default_rng(height * width).integers(0, 19, (height, width)).astype(np.uint8)
    before = mask.copy()
    partial = reveal(mask, regions.covered(0, ids))
    for y in range(height):
        for x in range(width):
            labelled = (y // n) * (-(-width // n)) + x // n in ids
            assert partial[y, x] == (mask[y, x] if labelled else IGNORE)
    np.testing.assert_array_equal(mask, before)
    assert (partial.dtype, partial.shape) == (np.uint8, mask.shape)


def test_pixels_ignored_in_the_truth_stay_ignored():
    mask = np.asarray([[IGNORE, 1], [2, 3]], np.uint8)
    assert reveal(mask, np.asarray([[True, True], [False, False]])).tolist() == [[IGNORE, 1], [IGNORE, IGNORE]]


def test_nothing_labelled_is_all_ignored():
    assert (reveal(np.zeros((4, 5), np.uint8), np.zeros((4, 5), bool)) == IGNORE).all()


def test_everything_labelled_is_the_mask_itself_but_not_the_same_array():
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    whole = reveal(mask, RegionGrid([(3, 4)], 2).covered(0, np.arange(4)))
    np.testing.assert_array_equal(whole, mask)
    assert not np.shares_memory(whole, mask)
