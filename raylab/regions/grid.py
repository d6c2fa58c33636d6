"""The region geometry of a pool: N x N tiles, clipped at the right and bottom border (docs/definitions.md).

Plain NumPy; imports neither torch, Ray nor MLflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raylab.errors import ConfigError


@dataclass(frozen=True, eq=False)
class RegionGrid:
    """Tiles of every image of a pool, numbered `offset[image] + row * cols[image] + col`.

    Attributes:
        sizes: (images, 2) int32 heights and widths in pixels.
        region_size: N, the side of a tile in pixels.
    """

    sizes: NDArray[np.int32]
    region_size: int

    def __init__(self, sizes: ArrayLike, region_size: int) -> None:
        table = np.asarray(sizes, np.int32).reshape(-1, 2)
        if region_size < 1:
            raise ConfigError(f"regions.size: {region_size} is not a positive number of pixels")
        too_small = np.flatnonzero(table.max(axis=1, initial=0) < region_size)
        if len(too_small):
            height, width = table[too_small[0]]
            raise ConfigError(
                f"regions.size: {region_size} is larger than image {too_small[0]} ({width}x{height}); "
                f"choose at most {table.max(axis=1).min()}"
            )
        object.__setattr__(self, "sizes", table)
        object.__setattr__(self, "region_size", int(region_size))

    @property
    def n_images(self) -> int:
        """Number of images in the pool."""
        return len(self.sizes)

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

    @property
    def n_regions(self) -> int:
        """Number of regions in the pool."""
        return int(self.offset[-1])

    @property
    def n_pixels(self) -> int:
        """Number of pixels in the pool."""
        return int(self.sizes.astype(np.int64).prod(axis=1).sum())

    def image_of(self, region_id: ArrayLike) -> NDArray[np.int64]:
        """Index of the image every region lies in, int64, shaped like `region_id`."""
        after = np.searchsorted(self.offset, np.asarray(region_id, np.int64), side="right")
        return np.asarray(after - 1, np.int64)

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
        height, width = self.sizes[self.image_of(ids)].astype(np.int64).T
        top, left = row * self.region_size, col * self.region_size
        clipped = [np.minimum(self.region_size, height - top), np.minimum(self.region_size, width - left)]
        return np.stack([top, left, *clipped], axis=-1).astype(np.int32)

    def pixels(self, region_id: ArrayLike) -> NDArray[np.int64]:
        """(n,) int64: number of pixels of every region."""
        return np.asarray(self.boxes(region_id)[..., 2:].astype(np.int64).prod(axis=-1), np.int64)
