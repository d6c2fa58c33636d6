from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.regions import RegionGrid
from raylab.scoring.pooling import region_means
from raylab.scoring.uncertainty import UNCERTAINTIES, entropy


@settings(max_examples=60, deadline=None)
@given(height=st.integers(4, 50), width=st.integers(4, 50), size=st.integers(1, 50))
def test_full_size_means_are_the_plain_means_of_boxes(height: int, width: int, size: int) -> None:
    size = min(size, max(height, width))
    maps = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * 64 + width))
    grid = RegionGrid([(height, width)], size)
    got = region_means(maps, (height, width), size).flatten(2).numpy()
    for region, (top, left, h, w) in enumerate(grid.boxes(np.arange(grid.n_regions))):
        expected = maps[:, :, top : top + h, left : left + w].mean((2, 3)).numpy()
        np.testing.assert_allclose(got[:, :, region], expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(cells=st.integers(2, 12), stride=st.integers(2, 5), size=st.integers(3, 24))
def test_low_resolution_means_are_those_of_the_map_repeated_to_full_size(cells: int, stride: int, size: int) -> None:
    pixels = cells * stride
    size = min(size, pixels)
    maps = torch.rand(1, 2, cells, cells, generator=torch.Generator().manual_seed(cells))
    full = maps.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    torch.testing.assert_close(
        region_means(maps, (pixels, pixels), size), region_means(full, (pixels, pixels), size), rtol=1e-5, atol=1e-6
    )


def test_entropy_of_a_certain_pixel_is_zero_and_of_an_even_one_ln_c() -> None:
    logits = torch.zeros(1, 7, 1, 2)
    logits[0, 3, 0, 0] = 1e4
    result = entropy(logits)
    assert float(result[0, 0, 0]) == 0.0
    np.testing.assert_allclose(float(result[0, 0, 1]), np.log(7), rtol=1e-6)


def test_every_uncertainty_is_higher_for_an_even_posterior() -> None:
    logits = torch.zeros(1, 4, 1, 2)
    logits[0, 0, 0, 0] = 3.0
    for name, measure in UNCERTAINTIES.items():
        sure, even = measure(logits)[0, 0].tolist()
        assert sure < even, name
