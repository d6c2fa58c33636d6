"""What every region shape offers: ids, boxes, location and pixels. Selection never asks for the shape.

Plain NumPy; imports neither torch, Ray nor MLflow.
"""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raylab.errors import ConfigError, DamagedError
from raylab.files import first_line

_MOST = 2**31 - 1
"""Pixels of a side: what 32 bits hold."""
_MOST_IMAGES = 10**8


class Regions(ABC):
    """The regions of a pool, which partition the pixels of every image.

    Ids are global: `offset[image] + local index`, images in their order.

    Attributes:
        sizes: (images, 2) int32 heights and widths in pixels.
        region_size: N in pixels: the side of a tile; a superpixel has about N x N pixels.
    """

    sizes: NDArray[np.int32]
    region_size: int

    @property
    @abstractmethod
    def offset(self) -> NDArray[np.int64]:
        """(images + 1,) int64: the first region_id of every image, and the number of regions at the end."""

    @abstractmethod
    def boxes(self, region_id: ArrayLike) -> NDArray[np.int32]:
        """Bounding boxes: (n, 4) int32 top, left, height, width of (n,) global ids."""

    @abstractmethod
    def pixels(self, region_id: ArrayLike) -> NDArray[np.int64]:
        """(n,) int64: number of pixels of every region."""

    @abstractmethod
    def centres(self, region_id: ArrayLike) -> NDArray[np.float64]:
        """Locations: (n, 2) float64 y and x in pixels, between which the spatial distance is measured."""

    @abstractmethod
    def label_map(self, image: int) -> NDArray[np.int32]:
        """(H, W) int32: the region of every pixel of an image, as its index within the image; not to be written to."""

    @abstractmethod
    def covered(self, image: int, region_id: ArrayLike) -> NDArray[np.bool_]:
        """(H, W) bool: which pixels of an image lie in these regions; regions of other images cover none of them."""

    @abstractmethod
    def part(self, first: int, stop: int) -> Regions:
        """The regions of images first .. stop - 1 alone, numbered from 0; of superpixels only the geometry."""

    @property
    def n_images(self) -> int:
        """Number of images in the pool."""
        return len(self.sizes)

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

    def sizes_text(self) -> bytes:
        """The images' sizes, runs of equal ones together, and N, as JSON: what a table's metadata holds of a pool."""
        runs = [[len(list(group)), *size] for size, group in itertools.groupby(self.sizes.tolist())]
        return json.dumps({"region_size": self.region_size, "count_height_width": runs}).encode()

    def within(self, image: int, region_id: ArrayLike) -> NDArray[np.int64]:
        """(m,) int64: those of some regions that lie in an image, as their indices within it."""
        local = np.asarray(region_id, np.int64).reshape(-1) - self.offset[image]
        return local[(local >= 0) & (local < self.offset[image + 1] - self.offset[image])]


def read_sizes_text(text: bytes, uri: str) -> tuple[list[list[int]], int]:
    """Heights and widths of a pool's images, and N, out of `Regions.sizes_text`.

    Args:
        text: of a table's metadata.
        uri: of the table, for the message.

    Raises:
        DamagedError: it is no such text.
    """
    try:
        value = json.loads(text)
        size, runs = value["region_size"], value["count_height_width"]
        if not all(type(number) is int and 0 < number <= _MOST for number in (size, *itertools.chain(*runs))):
            raise ValueError("its numbers are no sizes")
        if any(len(run) != 3 for run in runs) or sum(run[0] for run in runs) > _MOST_IMAGES:
            raise ValueError("its numbers are no sizes")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"the sizes of its images cannot be read: {first_line(error)}"
        raise DamagedError(f"{uri} is damaged ({reason}); restore it", reason) from None
    return [sides for count, *sides in runs for _ in range(count)], size


def checked_sizes(sizes: ArrayLike, region_size: int) -> NDArray[np.int32]:
    """The sizes of a pool's images as a table, after a look at N. An image smaller than N is one clipped region.

    Args:
        sizes: (images, 2) heights and widths.
        region_size: N.

    Raises:
        ConfigError: N is not positive.
    """
    table = np.asarray(sizes, np.int32).reshape(-1, 2)
    if region_size < 1:
        raise ConfigError(f"regions.size: {region_size} is not a positive number of pixels")
    return table
