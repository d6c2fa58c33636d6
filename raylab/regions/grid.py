"""The region geometry of a pool: N x N tiles, clipped at the right and bottom border (docs/definitions.md).

Plain NumPy; imports neither torch, Ray nor MLflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raylab.regions.base import Regions, checked_sizes


@dataclass(frozen=True, eq=False)
class RegionGrid(Regions):
    """Tiles of every image of a pool, numbered `offset[image] + row * cols[image] + col`.

    Attributes:
        sizes: (images, 2) int32 heights and widths in pixels.
        region_size: N, the side of a tile in pixels.
    """

    sizes: NDArray[np.int32]
    region_size: int

    def __init__(self, sizes: ArrayLike, region_size: int) -> None:
        object.__setattr__(self, "sizes", checked_sizes(sizes, region_size))
        object.__setattr__(self, "region_size", int(region_size))

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """(images,) int64: ceil(H / N)."""
        return -(-self.sizes[:, 0].astype(np.int64) // self.region_size)

    @cached_property
    def cols(self) -> NDArray[np.int64]:
        """(images,) int64: ceil(W / N)."""
        return -(-self.sizes[:, 1].astype(np.int64) // self.region_size)

    @cached_property
    def offset(self) -> NDArray[np.int64]:
        """(images + 1,) int64: the first region_id of every image, and the number of regions at the end."""
        return np.concatenate([[0], np.cumsum(self.rows * self.cols)]).astype(np.int64)

    def row_col(self, region_id: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of every region in its image's grid, int64, shaped like `region_id`."""
        ids = np.asarray(region_id, np.int64)
        image = self.image_of(ids)
        row, col = np.divmod(ids - self.offset[image], self.cols[image])
        return row, col

    def boxes(self, region_id: ArrayLike) -> NDArray[np.int32]:
        """Pixel boxes, clipped to the image.

        Args:
            region_id: (n,) global ids.

        Returns:
            (n, 4) int32 top, left, height, width.
        """
        ids = np.asarray(region_id, np.int64)
        row, col = self.row_col(ids)
        height, width = np.moveaxis(self.sizes[self.image_of(ids)].astype(np.int64), -1, 0)
        top, left = row * self.region_size, col * self.region_size
        clipped = [np.minimum(self.region_size, height - top), np.minimum(self.region_size, width - left)]
        return np.stack([top, left, *clipped], axis=-1).astype(np.int32)

    def pixels(self, region_id: ArrayLike) -> NDArray[np.int64]:
        """(n,) int64: number of pixels of every region."""
        return np.asarray(self.boxes(region_id)[..., 2:].astype(np.int64).prod(axis=-1), np.int64)

    def centres(self, region_id: ArrayLike) -> NDArray[np.float64]:
        """(n, 2) float64: the nominal grid centre, also of a tile that the border clips."""
        return np.asarray((np.stack(self.row_col(region_id), axis=-1) + 0.5) * self.region_size, np.float64)

    def label_map(self, image: int) -> NDArray[np.int32]:
        """(H, W) int32: row * cols + col of every pixel's tile."""
        row, col = (np.arange(side, dtype=np.int32) // self.region_size for side in self.sizes[image])
        return np.asarray(row[:, None] * np.int32(self.cols[image]) + col[None, :], np.int32)

    def part(self, first: int, stop: int) -> RegionGrid:
        """The tiles of images first .. stop - 1 alone, numbered from 0."""
        return RegionGrid(self.sizes[first:stop], self.region_size)

    def covered(self, image: int, region_id: ArrayLike) -> NDArray[np.bool_]:
        """(H, W) bool: which pixels of an image lie in these tiles."""
        ids = self.offset[image] + self.within(image, region_id)
        inside = np.zeros(self.sizes[image], bool)
        for top, left, height, width in self.boxes(ids).reshape(-1, 4):
            inside[top : top + height, left : left + width] = True
        return inside
