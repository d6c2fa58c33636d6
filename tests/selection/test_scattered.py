"""Regions that lie anywhere: their distances, and no strategy tells a grid from the same regions as superpixels."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.acquisition import ALIASES, STRATEGIES, Acquisition, strategy
from raylab.regions.grid import RegionGrid
from raylab.regions.superpixels import Geometry, Superpixels
from raylab.selection import GreedySelector, select
from raylab.selection.distance import SpatialDistance, largest_distance, lp_norm
from raylab.selection.image_blocks import ScatteredBlock, image_blocks
from tests.selection import guarded
from tests.selection.pools import irregular, scattered

ORDERS = st.sampled_from([1.0, 2.0, math.inf])


@pytest.mark.parametrize("name", [*STRATEGIES, *ALIASES])
def test_a_grid_and_the_same_regions_as_superpixels_give_the_same_picks(name: str) -> None:
    rng = np.random.default_rng(len(name))
    regions = RegionGrid([(64, 96), (50, 70), (33, 64), (64, 96)], 16)
    arguments: dict[str, Any] = {
        "labelled": rng.permutation(regions.n_regions)[:9],
        "uncertainty": rng.random(regions.n_regions),
        "features": rng.normal(size=(regions.n_regions, 5)).astype(np.float32),
        "predicted_class": rng.integers(0, 4, regions.n_regions),
        "seed": 3,
    }
    one, other = (select(regions, strategy(name), 30, **arguments) for regions in (regions, scattered(regions)))
    for column in ("region_id", "phi", "uncertainty", "feature", "spatial"):
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column))


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), ORDERS)
def test_distances_are_the_same_one_by_one_and_on_the_device(seed: int, p: float) -> None:
    rng = np.random.default_rng(seed)
    dy, dx = rng.integers(0, 60, (2, 40)) / rng.choice([1, 2, 7])
    got = lp_norm(np, dy, dx, p)
    plain = {1.0: lambda a, b: a + b, 2.0: lambda a, b: math.sqrt(a * a + b * b), math.inf: max}[p]
    assert got.tolist() == [plain(a, b) for a, b in zip(dy.tolist(), dx.tolist(), strict=True)]
    xp = guarded.namespace()
    assert lp_norm(xp, xp.asarray(dy), xp.asarray(dx), p).get().tolist() == got.tolist()


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), ORDERS, st.sampled_from(["maps", "places", "few places"]))
def test_the_largest_distance_is_that_of_some_pair(seed: int, p: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    pool = irregular(rng, [(20, 30), (8, 40), (25, 9), (16, 16)][: rng.integers(1, 5)], 8, kind)
    largest = 0.0
    for image in range(pool.n_images):
        y, x = pool.centres(np.arange(pool.offset[image], pool.offset[image + 1])).T
        largest = max(largest, lp_norm(np, abs(y[:, None] - y), abs(x[:, None] - x), p).max())
    assert largest_distance(pool, p) == largest


def test_images_are_padded_by_half_at_most() -> None:
    counts = np.array([1, 400, 9, 100, 10, 130, 160, 2, 100])
    n = int(counts.sum())
    geometry = Geometry(counts, np.zeros((n, 2)), np.zeros((n, 4), np.int32), np.ones(n, np.int64))
    pool = Superpixels([(40, 40)] * len(counts), 8, geometry)
    blocks, kind = image_blocks(np, pool, SpatialDistance(pool, STRATEGIES["entropy+spatial"]), False)
    for i, block in enumerate(blocks):
        mine = counts[kind == i]
        assert isinstance(block, ScatteredBlock)
        assert block.regions == mine.max() <= max(1.5 * mine.min(), mine.min() + 8)
    assert sum(len(block.first) for block in blocks) == len(counts)


def test_regions_with_one_centre_are_still_two() -> None:
    """Of two concentric superpixels one is picked after the other at distance a, not 0."""
    geometry = Geometry(np.array([2, 1]), np.full((3, 2), 4.0), np.zeros((3, 4), np.int32), np.ones(3, np.int64))
    pool = Superpixels([(8, 8), (8, 8)], 8, geometry)
    picks = select(pool, Acquisition(spatial=1.0), 3, labelled=[0])
    assert (picks.region_id.tolist(), picks.spatial.tolist()) == ([2, 1], [1.0, 0.5])


def test_a_linear_distance_where_no_image_has_two_regions() -> None:
    geometry = Geometry(np.ones(3, np.int64), np.ones((3, 2)), np.zeros((3, 4), np.int32), np.ones(3, np.int64))
    pool = Superpixels([(8, 8)] * 3, 8, geometry)
    picks = select(pool, Acquisition(spatial=1.0, distance="linear"), 3, labelled=[1])
    assert (picks.region_id.tolist(), picks.phi.tolist()) == ([0, 2], [0.0, 0.0])


def test_many_superpixels_take_little_memory() -> None:
    """38,000 regions within 300 bytes each: no table of pairs, no loop's worth of copies."""
    rng = np.random.default_rng(0)
    counts = rng.integers(110, 146, 300)
    n = int(counts.sum())
    geometry = Geometry(counts, 1000 * rng.random((n, 2)), np.zeros((n, 4), np.int32), np.ones(n, np.int64))
    pool, u = Superpixels([(1024, 2048)] * 300, 128, geometry), rng.random(n)
    tracemalloc.start()
    selector = GreedySelector(pool, strategy("entropy+spatial-linear"))
    selector.label(rng.permutation(n)[:2000])
    assert len(selector.select(2000, uncertainty=u)) == 2000
    assert tracemalloc.get_traced_memory()[1] < 300 * n
    tracemalloc.stop()
