"""The reference itself, by numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import doctest
import math
from typing import Literal

import numpy as np
import pytest

from raylab.acquisition import Acquisition
from raylab.regions import RegionGrid
from raylab.selection import reference, select
from raylab.selection.reference import Distances, algorithm_1

POOL = RegionGrid([(32, 48), (16, 16)], 16)  # 0 1 2 / 3 4 5, and 6


def test_its_examples_run() -> None:
    assert doctest.testmod(reference).failed == 0


def test_eq_6_is_0_a_b_or_c_over_the_larger_of_b_and_c() -> None:
    q = Acquisition(spatial=1.0, a=1.0, b=1.5, c=2.0)
    assert Distances(POOL, q, None).spatial(0).tolist() == [0, 0.5, 0.75, 0.5, 0.5, 0.75, 1]
    by_rows_and_columns = Acquisition(spatial=1.0, a=1.0, b=1.5, c=2.0, p=1.0)
    assert Distances(POOL, by_rows_and_columns, None).spatial(0).tolist() == [0, 0.5, 0.75, 0.5, 0.75, 0.75, 1]


def test_eq_5_is_the_distance_of_the_centres_over_the_largest_there_is() -> None:
    q = Acquisition(spatial=1.0, distance="linear", p=2.0)
    want = [0, 1, 2, 1, math.sqrt(2), math.sqrt(5), math.sqrt(5)]
    assert Distances(POOL, q, None).spatial(0) == pytest.approx(np.array(want) / math.sqrt(5))


def test_core_set_takes_the_farthest_from_its_nearest_member() -> None:
    features = np.array([[0], [1], [2], [3], [4], [5], [9]], np.float32)
    ids, phi = algorithm_1(POOL, Acquisition(feature=1.0), 3, labelled=[0], features=features)
    assert (ids.tolist(), phi.tolist()) == ([6, 4, 2], pytest.approx([1, 4 / 9, 2 / 9]))


def test_max_sum_adds_where_max_min_takes_the_least() -> None:
    features = np.array([[0], [1], [2], [3], [4], [5], [9]], np.float32)
    q = Acquisition(uncertainty=1.0, feature=1.0, set_function="max_sum")
    ids, phi = algorithm_1(POOL, q, 2, labelled=[0, 3], uncertainty=np.arange(7.0), features=features)
    # s = 6, of region 6 to region 3, and 4 regions in the end: 1/2 + (9 + 6)/6/4, then 5/12 + (5 + 2 + 4)/6/4
    assert (ids.tolist(), phi.tolist()) == ([6, 5], pytest.approx([1.125, 0.875]))
    raw = dataclasses.replace(q, set_function="max_sum_raw")
    ids, phi = algorithm_1(POOL, raw, 2, labelled=[0, 3], uncertainty=np.arange(7.0), features=features)
    assert (ids.tolist(), phi.tolist()) == ([6, 5], pytest.approx([3.0, 2.25]))


@pytest.mark.parametrize("set_function", ["max_sum", "max_sum_raw"])
def test_equal_sums_are_equal_however_they_came_about(set_function: Literal["max_sum", "max_sum_raw"]) -> None:
    """Region 1 is at 1/3 of region 0 and at 3/3 of 2 and 6; region 4 at 2/3 of 2 and of 6, and at 3/3 of 0."""
    pool = RegionGrid([(16, 32), (16, 80)], 16)
    q = Acquisition(spatial=1.0, a=1.0, b=2.0, c=3.0, set_function=set_function)
    ids, _ = algorithm_1(pool, q, 1, labelled=[0, 2, 6])
    assert ids.tolist() == select(pool, q, 1, labelled=[0, 2, 6]).region_id.tolist() == [1]


def test_one_minimum_of_the_weighted_sum_and_not_a_sum_of_two_minima() -> None:
    """Region 1 is near member 0 by location and near member 6 by features: no member is near by both."""
    features = np.array([[8], [0], [8], [8], [8], [8], [0]], np.float32)
    q = Acquisition(feature=1.0, spatial=1.0)
    ids, phi = algorithm_1(POOL, q, 1, labelled=[0, 6], features=features)
    # s = 0 to 0: every region lies where a member lies
    assert (ids.tolist(), phi.tolist()) == ([2], [1.0])
    features[1] = 4
    ids, phi = algorithm_1(POOL, q, 1, labelled=[0, 6], features=features)
    assert (ids.tolist(), phi.tolist()) == ([1], [1.5])  # min(4/4 + 1/2, 4/4 + 1)


def test_half_of_a_batch_is_drawn_and_the_odd_one_is_not() -> None:
    q = Acquisition(uncertainty=1.0, random=0.5)
    ids, phi = algorithm_1(POOL, q, 5, labelled=[1], uncertainty=np.arange(7.0), seed=4)
    assert ids[:3].tolist() == [6, 5, 4]
    assert sorted(ids[3:].tolist() + [i for i in (0, 2, 3) if i not in ids]) == [0, 2, 3]
    assert phi[3:].tolist() == [0.0, 0.0]


def test_a_frequent_class_counts_less() -> None:
    q = Acquisition(uncertainty=1.0, class_balanced=True)
    classes = np.array([0, 0, 0, 0, 0, 0, 1])
    ids, phi = algorithm_1(POOL, q, 1, labelled=[], uncertainty=np.r_[0, 1, np.full(5, 0.9)], predicted_class=classes)
    assert (ids.tolist(), phi.tolist()) == ([6], [0.9 * math.exp(-1 / 7)])
