from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.regions import RegionGrid
from raylab.scoring.pooling import label_means, region_means
from raylab.scoring.uncertainty import MAPS, entropy


@settings(max_examples=60)
@given(height=st.integers(4, 50), width=st.integers(4, 50), size=st.integers(1, 50))
def test_full_size_means_are_the_plain_means_of_boxes(height: int, width: int, size: int) -> None:
    size = min(size, max(height, width))
    maps = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * 64 + width))
    regions = RegionGrid([(height, width)], size)
    got = region_means(maps, (height, width), size).flatten(2).numpy()
    for region, (top, left, h, w) in enumerate(regions.boxes(np.arange(regions.n_regions))):
        expected = maps[:, :, top : top + h, left : left + w].mean((2, 3)).numpy()
        np.testing.assert_allclose(got[:, :, region], expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=40)
@given(cells=st.integers(2, 12), stride=st.integers(2, 5), size=st.integers(3, 24))
def test_low_resolution_means_are_those_of_the_map_repeated_to_full_size(cells: int, stride: int, size: int) -> None:
    pixels = cells * stride
    size = min(size, pixels)
    maps = torch.rand(1, 2, cells, cells, generator=torch.Generator().manual_seed(cells))
    full = maps.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    torch.testing.assert_close(
        region_means(maps, (pixels, pixels), size), region_means(full, (pixels, pixels), size), rtol=1e-5, atol=1e-6
    )


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    cells=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 3, 9, 130]),
    regions=st.integers(1, 30),
    seed=st.integers(0, 999),
)
def test_label_means_are_the_plain_means_of_what_pixels_see(
    size: tuple[int, int], cells: tuple[int, int], channels: int, regions: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, regions, size).astype(np.int32)
    maps = rng.normal(size=(channels, *cells)).astype(np.float32)
    y, x = (((np.arange(n) + 0.5) / n * m).astype(int) for n, m in zip(size, cells, strict=True))
    seen = maps[:, y][:, :, x].astype(np.float64)  # a pixel sees the cell that its centre lies in
    expected = np.zeros((regions, channels))
    for region in np.unique(labels):
        expected[region] = seen[:, labels == region].mean(axis=1)
    with torch.inference_mode():
        got = label_means(torch.from_numpy(maps), labels, regions)
        again = label_means(torch.from_numpy(maps), labels, regions)
    assert (got.shape, got.dtype) == ((regions, channels), torch.float32)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(got, again)


def test_label_means_of_a_grid_are_its_region_means() -> None:
    regions = RegionGrid([(40, 56)], 16)
    for cells in ((40, 56), (10, 14)):
        maps = torch.rand(12, *cells, generator=torch.Generator().manual_seed(0))
        want = region_means(maps[None], (40, 56), 16)[0].flatten(1).T
        got = label_means(maps, regions.label_map(0), regions.n_regions)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def test_entropy_of_a_certain_pixel_is_zero_and_of_an_even_one_ln_c() -> None:
    logits = torch.zeros(1, 7, 1, 2)
    logits[0, 3, 0, 0] = 1e4
    result = entropy(logits)
    assert float(result[0, 0, 0]) == 0.0
    np.testing.assert_allclose(float(result[0, 0, 1]), np.log(7), rtol=1e-6)


def test_every_uncertainty_is_higher_for_an_even_posterior() -> None:
    logits = torch.zeros(1, 4, 1, 2)
    logits[0, 0, 0, 0] = 3.0
    for name, row in MAPS.items():
        if row.committee:
            continue
        sure, even = row.function(logits)[0, 0].tolist()
        assert sure < even, name
