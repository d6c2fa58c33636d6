"""Means over regions, on the device that ran the network: only region rows leave it. Plain torch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_FEW = 8  # channels up to which a map is spread to the image's pixels instead of weighed cell by cell
_AT_ONCE = 64  # channels that are held in float64 at once


def label_means(maps: Tensor, label_map: NDArray[np.int32], n_regions: int) -> Tensor:
    """Mean of maps over the regions of a label map.

    A pixel takes the value of the cell that its centre lies in: for a map of the image's own size its own, so that the
    result is the plain mean. Sums are taken in float64; on a CPU they know one order.

    Args:
        maps: (C, h, w), covering the image.
        label_map: (H, W) int32, region of every pixel, in 0 .. n_regions - 1.
        n_regions: how many there are; one without a pixel gets 0.

    Returns:
        (n_regions, C) float32.
    """
    (channels, h, w), (height, width), device = maps.shape, label_map.shape, maps.device
    label = torch.from_numpy(label_map.reshape(-1).astype(np.int64)).to(device)
    row, col = _cells(height, h).to(device), _cells(width, w).to(device)
    count = torch.bincount(label, minlength=n_regions).clamp(min=1)
    cell = (row[:, None] * w + col[None, :]).reshape(-1)
    values = maps.reshape(channels, -1)
    if channels <= _FEW:
        sums = torch.stack([torch.bincount(label, channel[cell].double(), n_regions) for channel in values], dim=1)
    else:
        pair, shared = torch.unique(label * (h * w) + cell, return_counts=True)
        index = torch.stack([pair // (h * w), pair % (h * w)])
        weights = torch.sparse_coo_tensor(
            index, shared.double(), (n_regions, h * w), is_coalesced=True, check_invariants=False
        )
        sums = torch.cat([torch.sparse.mm(weights, some.double().T) for some in values.split(_AT_ONCE)], dim=1)
    return (sums / count[:, None]).float()


@lru_cache(maxsize=64)
def _cells(pixels: int, cells: int) -> Tensor:
    """(pixels,) int64: the cell of one axis that the centre of each pixel lies in, by whole numbers."""
    return ((2 * torch.arange(pixels) + 1) * cells) // (2 * pixels)


def region_means(maps: Tensor, size: tuple[int, int], region_size: int) -> Tensor:
    """Mean of maps over every region.

    A map of lower resolution than the image is averaged as if each of its cells covered an equal share of the image,
    so a region takes of a cell what it overlaps; exact for maps of the image's own size.

    Args:
        maps: (B, C, h, w), covering images of `size`.
        size: height and width of the images in pixels.
        region_size: N in pixels.

    Returns:
        (B, C, rows, cols) float32.
    """
    down = _overlap(maps.shape[2], size[0], region_size).to(maps.device)
    across = _overlap(maps.shape[3], size[1], region_size).to(maps.device)
    return torch.matmul(torch.matmul(down, maps.float()), across.T)


@lru_cache(maxsize=64)
def _overlap(cells: int, pixels: int, region_size: int) -> Tensor:
    """(regions, cells) float32: share of each region of one axis that lies in each cell; rows sum to 1."""
    starts = torch.arange(0, pixels, region_size, dtype=torch.float64)
    ends = (starts + region_size).clamp(max=pixels)
    edges = torch.arange(cells + 1, dtype=torch.float64) * (pixels / cells)
    shared = torch.minimum(ends[:, None], edges[None, 1:]) - torch.maximum(starts[:, None], edges[None, :-1])
    return (shared.clamp(min=0) / (ends - starts)[:, None]).float()
