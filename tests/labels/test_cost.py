from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.config import DataConfig, SyntheticConfig
from raylab.data import open_dataset
from raylab.data.classes import IGNORE
from raylab.labels.cost import Prices, polygon_clicks, spend
from raylab.regions import RegionGrid

EVERYWHERE = np.ones((12, 12), bool)


def painted(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    mask = np.zeros((12, 12), np.uint8)
    for value, top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = value
    return mask


@pytest.mark.parametrize(
    ("mask", "clicks"),
    [
        (painted(), 1),  # one class: its name
        (np.full((12, 12), IGNORE, np.uint8), 0),  # nothing that counts
        (painted((1, 0, 0, 12, 4)), 2 + 2),  # two names; the border between them meets the region's at two points
        (painted((1, 3, 3, 9, 9)), 2 + 8),  # a square inside: two names, four corners cut off by half a pixel each
        (painted((1, 0, 0, 12, 3), (2, 0, 9, 12, 12)), 3 + 4),  # the largest segment, in the middle, is what is left
        (painted((1, 1, 1, 3, 3), (1, 3, 3, 5, 5)), 2 + 8),  # touching at a corner: one segment, one outline
    ],
)
def test_clicks_by_hand(mask: np.ndarray, clicks: int) -> None:
    got = polygon_clicks(mask, EVERYWHERE)
    # Squares' corners are simplified to within a pixel, so an outline may have fewer vertices, never more.
    names = clicks if clicks < 3 else 2
    assert names <= got <= clicks


def test_a_straight_border_costs_its_two_ends_wherever_it_runs() -> None:
    assert {polygon_clicks(painted((1, 0, 0, 12, right)), EVERYWHERE) for right in range(1, 12)} == {4}


def test_what_lies_outside_the_region_costs_nothing() -> None:
    mask = painted((1, 0, 0, 12, 6), (2, 8, 8, 12, 12))
    left = np.zeros((12, 12), bool)
    left[:, :5] = True
    assert polygon_clicks(mask, left) == 1
    corner = np.zeros((12, 12), bool)
    corner[:, 7:] = True
    assert polygon_clicks(mask, corner) >= 4


def test_a_region_may_be_one_pixel_wide() -> None:
    assert polygon_clicks(np.array([[0, 0, 1, 1]], np.uint8), np.ones((1, 4), bool)) >= 2
    assert polygon_clicks(np.array([[3], [3]], np.uint8), np.ones((2, 1), bool)) == 1


@settings(max_examples=200)
@given(
    costs=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    allowance=st.integers(0, 200),
    usual=st.floats(0.5, 20),
)
def test_an_allowance_is_spent_as_far_as_it_goes_and_never_exceeded(costs, allowance, usual) -> None:
    table = np.array(costs, np.float64)
    asked, paid, prices = spend(lambda k: np.arange(min(k, len(costs))), lambda ids: table[ids], allowance, usual)
    assert prices.tolist() == costs[:paid]
    assert prices.sum() <= allowance
    assert paid <= asked
    if paid < len(costs) and prices.sum() < allowance:
        assert prices.sum() + costs[paid] > allowance


def test_prices_by_unit() -> None:
    dataset = open_dataset(DataConfig(synthetic=SyntheticConfig(train_images=2, val_images=1, height=40, width=60)))
    regions = RegionGrid(dataset.image_sizes("train"), 16)
    ids = np.array([0, 11, 23])
    assert Prices("regions", dataset, regions)(ids).tolist() == [1, 1, 1]
    assert Prices("pixels", dataset, regions)(ids).tolist() == [256, 8 * 12, 8 * 12]
    clicks = Prices("clicks", dataset, regions)
    expected = []
    for region in ids.tolist():
        top, left, height, width = regions.boxes([region])[0]
        window = dataset.read_mask("train", region // 12)[top : top + height, left : left + width]
        expected.append(polygon_clicks(window, np.ones(window.shape, bool)))
    assert clicks(ids).tolist() == expected
