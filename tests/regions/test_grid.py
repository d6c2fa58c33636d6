from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.errors import ConfigError
from raylab.regions import RegionGrid

SIZES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6)


def oracle(sizes: list[tuple[int, int]], n: int) -> list[tuple[int, int, int, int, int, int, int]]:
    """Image, row, col and box of every region, by walking over the pool."""
    found = []
    for image, (height, width) in enumerate(sizes):
        for row, top in enumerate(range(0, height, n)):
            for col, left in enumerate(range(0, width, n)):
                found.append((image, row, col, top, left, min(n, height - top), min(n, width - left)))
    return found


@settings(max_examples=80)
@given(SIZES, st.integers(1, 40))
def test_ids_boxes_and_pixels_against_a_walk_over_the_pool(sizes, n):
    n = min(n, *(max(size) for size in sizes))
    regions = RegionGrid(sizes, n)
    expected = oracle(sizes, n)
    ids = np.arange(len(expected))
    assert regions.n_regions == len(expected)
    assert regions.n_images == len(sizes)
    row, col = regions.row_col(ids)
    found = np.column_stack([regions.image_of(ids), row, col, regions.boxes(ids)])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        regions.offset[regions.image_of(ids)] + row * regions.cols[regions.image_of(ids)] + col, ids
    )
    np.testing.assert_array_equal(regions.pixels(ids), [height * width for *_, height, width in expected])
    assert regions.n_pixels == regions.pixels(ids).sum() == sum(height * width for height, width in sizes)


@settings(max_examples=40)
@given(SIZES, st.integers(1, 40))
def test_regions_cover_every_pixel_once(sizes, n):
    n = min(n, *(max(size) for size in sizes))
    regions = RegionGrid(sizes, n)
    seen = [np.zeros(size, int) for size in sizes]
    ids = np.arange(regions.n_regions)
    for image, (top, left, height, width) in zip(regions.image_of(ids), regions.boxes(ids), strict=True):
        seen[image][top : top + height, left : left + width] += 1
    assert all((count == 1).all() for count in seen)


def test_clipped_borders():
    regions = RegionGrid([(360, 480)], 128)
    assert (regions.rows.tolist(), regions.cols.tolist()) == ([3], [4])
    np.testing.assert_array_equal(regions.boxes([0, 3, 11]), [[0, 0, 128, 128], [0, 384, 128, 96], [256, 384, 104, 96]])


def test_cityscapes_has_the_papers_number_of_regions():
    regions = RegionGrid(np.tile([1024, 2048], (2975, 1)), 128)
    assert (regions.rows[0], regions.cols[0], regions.n_regions) == (8, 16, 380_800)


def test_shapes_and_types_follow_the_ids():
    regions = RegionGrid([(64, 96), (32, 32)], 16)
    assert regions.image_of(24) == 1
    ids = np.asarray([[0, 23], [24, 27]], np.int32)
    assert regions.image_of(ids).tolist() == [[0, 0], [1, 1]]
    assert regions.boxes(ids).shape == (2, 2, 4)
    assert regions.pixels(ids).shape == (2, 2)
    np.testing.assert_array_equal(regions.boxes(ids).reshape(-1, 4), regions.boxes(ids.reshape(-1)))
    assert regions.centres(ids).shape == (2, 2, 2)
    assert regions.image_of([]).shape == (0,)
    assert regions.boxes([]).shape == (0, 4)
    assert (regions.boxes(ids).dtype, regions.pixels(ids).dtype, regions.image_of(ids).dtype) == (
        np.int32,
        np.int64,
        np.int64,
    )


def test_many_large_images_do_not_overflow():
    regions = RegionGrid(np.tile([50_000, 60_000], (3, 1)), 50_000)
    assert regions.n_pixels == 9_000_000_000
    assert regions.pixels([0, 1]).tolist() == [2_500_000_000, 500_000_000]


def test_pickles_to_the_same_grid():
    regions = RegionGrid([(64, 96), (33, 70)], 16)
    other = pickle.loads(pickle.dumps(regions))
    np.testing.assert_array_equal(other.boxes(np.arange(other.n_regions)), regions.boxes(np.arange(regions.n_regions)))


@pytest.mark.parametrize("n", [97, 200])
def test_an_image_smaller_than_n_is_one_clipped_region(n):
    regions = RegionGrid([(200, 200), (64, 96), (7, 9)], n)
    last = [regions.n_regions - 2, regions.n_regions - 1]
    assert regions.boxes(last).tolist() == [[0, 0, 64, 96], [0, 0, 7, 9]]
    assert regions.image_of(last).tolist() == [1, 2]
    assert regions.pixels(last).tolist() == [64 * 96, 63]
    assert regions.centres(last).tolist() == [[n / 2, n / 2]] * 2
    assert regions.covered(2, last).all()
    assert not regions.label_map(2).any()


def test_n_may_exceed_one_side():
    regions = RegionGrid([(64, 96)], 96)
    assert regions.boxes([0]).tolist() == [[0, 0, 64, 96]]


@pytest.mark.parametrize("n", [0, -8])
def test_n_must_be_positive(n):
    with pytest.raises(ConfigError, match=r"regions.size"):
        RegionGrid([(64, 96)], n)
