"""Images side by side: arrays of (images, regions of an image), and the spatial distances within each image.

A grid needs one table of distances for all images of one shape. Regions that lie anywhere have theirs computed from
their centres when they are asked for; images are padded to the most regions among those of about as many.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from raylab.regions.base import Regions
from raylab.regions.grid import RegionGrid
from raylab.selection.arrays import Array
from raylab.selection.distance import SpatialDistance, grid_shapes, lp_norm

_DENSE_TABLE = 1 << 10  # regions of an image up to which all pairs' distances are kept (8 MB)


class ImageBlock(ABC):
    """Some images of a pool, side by side. Images are named by their index among these.

    Attributes:
        first: (images,) int64 on the device, each image's first region_id.
        regions: columns: the most regions that an image has.
        largest: no distance within an image exceeds it.
    """

    first: Array
    regions: int
    largest: float

    @abstractmethod
    def distances(self, images: Array | slice, local: Array) -> Array:
        """Distances to some regions.

        Args:
            images: (m,) the image of each, or a slice of the one image that all are of.
            local: (m,) their indices within it.

        Returns:
            (m, regions) float64: row i holds the distances of all regions of the image to region `local[i]`.
        """

    @abstractmethod
    def view(self, values: Array, images: Array | slice, pad: float = 0.0) -> Array:
        """(images, regions): the values, one a region of the pool, of these images; `pad` where an image has none."""

    @abstractmethod
    def put(self, values: Array, images: Array, update: Array) -> None:
        """Writes rows of a `view` back: `values` at the regions of `images` become `update`."""


class GridBlock(ImageBlock):
    """The images of one grid shape.

    Args:
        xp: array namespace.
        first: (images,) int64 on the host.
        table: (rows, cols) float64 distances by offset.
    """

    def __init__(self, xp: ModuleType, first: NDArray[np.int64], table: NDArray[np.float64]) -> None:
        self.rows, self.cols = table.shape
        self.regions, self.largest = table.size, float(table.max())
        self.first, self._start, self._images = xp.asarray(first), int(first[0]), len(first)
        self._xp = xp
        self._contiguous = bool(np.all(np.diff(first) == self.regions))
        # at [R - 1 + dr, C - 1 + dc]; the window from [R - 1 - r, C - 1 - c] on holds all distances to (r, c)
        dr, dc = np.abs(np.arange(1 - self.rows, self.rows)), np.abs(np.arange(1 - self.cols, self.cols))
        self._mirrored = xp.asarray(table[dr[:, None], dc[None, :]])
        self._pairs = None
        if self.regions <= _DENSE_TABLE:
            self._pairs = self._windows(xp.arange(self.regions))

    def _windows(self, local: Array) -> Array:
        xp = self._xp
        row, col = self.rows - 1 - local // self.cols, self.cols - 1 - local % self.cols
        rows = row[:, None, None] + xp.arange(self.rows)[None, :, None]
        cols = col[:, None, None] + xp.arange(self.cols)[None, None, :]
        return self._mirrored[rows, cols].reshape(len(local), self.regions)

    def distances(self, images: Array | slice, local: Array) -> Array:
        """(m, regions) float64; all images have the same."""
        return self._windows(local) if self._pairs is None else self._pairs[local]

    def view(self, values: Array, images: Array | slice, pad: float = 0.0) -> Array:
        """(images, regions), without a copy where images lie one after another and are asked for as a slice."""
        if self._contiguous:
            return self._all(values)[images]
        return values[self._index(images)]

    def put(self, values: Array, images: Array, update: Array) -> None:
        """Writes rows of a `view` back."""
        if self._contiguous:
            self._all(values)[images] = update
        else:
            values[self._index(images)] = update

    def _all(self, values: Array) -> Array:
        return values[self._start : self._start + self._images * self.regions].reshape(self._images, self.regions)

    def _index(self, images: Array | slice) -> Array:
        return self.first[images][:, None] + self._xp.arange(self.regions)[None, :]


class ScatteredBlock(ImageBlock):
    """Images whose regions lie anywhere.

    Args:
        xp: array namespace.
        first: (images,) int64 on the host.
        count: (images,) int64 on the host, regions of every image.
        y: (n,) float64 on the device, of the centres of the whole pool.
        x: (n,) float64 on the device.
        distance: of the pool.
        is_sum: distances are wanted relative to the one across images, on Max-Sum's grid.
    """

    def __init__(
        self,
        xp: ModuleType,
        first: NDArray[np.int64],
        count: NDArray[np.int64],
        y: Array,
        x: Array,
        distance: SpatialDistance,
        is_sum: bool,
    ) -> None:
        self.first, self._last, self.regions = xp.asarray(first), xp.asarray(count - 1), int(count.max())
        self.largest = distance.scale * distance.within - distance.raw_cross if is_sum else distance.within
        self._xp, self._y, self._x, self._distance, self._is_sum = xp, y, x, distance, is_sum

    def _index(self, images: Array | slice) -> Array:
        """(m, regions) region ids; an image's last region stands for those it has not."""
        columns = self._xp.arange(self.regions)[None, :]
        return self.first[images][:, None] + self._xp.minimum(columns, self._last[images][:, None])

    def _inside(self, images: Array | slice) -> Array:
        return self._xp.arange(self.regions)[None, :] <= self._last[images][:, None]

    def distances(self, images: Array | slice, local: Array) -> Array:
        """(m, regions) float64, computed from the centres; whatever where an image has no region."""
        xp, index = self._xp, self._index(images)
        here = self.first[images] + local
        dy, dx = (xp.abs(centre[index] - centre[here][:, None]) for centre in (self._y, self._x))
        pixels, same = lp_norm(xp, dy, dx, self._distance.p), (xp.arange(len(local)), local)
        if self._is_sum:
            return self._distance.relative(xp, pixels, same)
        d = self._distance.scaled(xp, pixels)
        d[same] = 0.0  # whoever else may share its centre
        return d

    def view(self, values: Array, images: Array | slice, pad: float = 0.0) -> Array:
        """(images, regions), a copy."""
        return self._xp.where(self._inside(images), values[self._index(images)], pad)

    def put(self, values: Array, images: Array, update: Array) -> None:
        """Writes rows of a `view` back."""
        inside = self._inside(images)
        values[self._index(images)[inside]] = update[inside]


class ImageDistances:
    """The spatial distances within each image of a pool.

    Args:
        xp: array namespace.
        regions: of the pool, or of some of its images.
        distance: of the pool.
        is_sum: distances are wanted relative to the one across images, on Max-Sum's grid.

    Attributes:
        blocks: the images side by side.
        kind: (images,) int64 the block each image is in.
        rank: (images,) int64 its index there.
        largest: the largest distance between two regions of one image, as it is wanted.
    """

    def __init__(self, xp: ModuleType, regions: Regions, distance: SpatialDistance, is_sum: bool) -> None:
        self.distance = distance
        self.blocks, self.kind = image_blocks(xp, regions, distance, is_sum)
        self.largest = max((block.largest for block in self.blocks), default=0.0)
        self.rank = np.zeros(regions.n_images, np.int64)
        for i in range(len(self.blocks)):
            self.rank[self.kind == i] = np.arange(np.count_nonzero(self.kind == i))
        self._counts = np.diff(regions.offset)

    def __call__(self, image: int, local: Array) -> Array:
        """(m, regions of the image) float64: the distances of all regions of an image to some of its regions."""
        block, rank = self.blocks[self.kind[image]], int(self.rank[image])
        return block.distances(slice(rank, rank + 1), local)[:, : int(self._counts[image])]


def image_blocks(
    xp: ModuleType, regions: Regions, distance: SpatialDistance, is_sum: bool
) -> tuple[list[ImageBlock], NDArray[np.int64]]:
    """The pool's images in blocks, and (images,) int64, which of the blocks each image is in; in order within it."""
    first = regions.offset[:-1]
    found: list[ImageBlock] = []
    if isinstance(regions, RegionGrid):
        shapes, kind = grid_shapes(regions)
        table = distance.sum_table if is_sum else distance.table
        for i, (rows, cols) in enumerate(shapes):
            found.append(GridBlock(xp, first[kind == i], table(rows, cols)))
        return found, kind
    count = np.diff(regions.offset)
    kind = _alike(count)
    y, x = (xp.asarray(np.ascontiguousarray(centre)) for centre in regions.centres(np.arange(regions.n_regions)).T)
    for i in range(int(kind.max(initial=-1)) + 1):
        found.append(ScatteredBlock(xp, first[kind == i], count[kind == i], y, x, distance, is_sum))
    return found, kind


def _alike(count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups of images of about as many regions, so that padding adds at most half as many, or eight."""
    least: list[int] = []
    for value in np.unique(count).tolist():
        if not least or value > max(least[-1] * 3 // 2, least[-1] + 8):
            least.append(value)
    return np.searchsorted(least, count, side="right").astype(np.int64) - 1
