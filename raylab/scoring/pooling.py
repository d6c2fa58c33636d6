"""Means over regions, on the device that ran the network: only region rows leave it. Plain torch."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


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
