"""The protocol every data set follows, and the class map it brings.

A data set is opened from its configuration in every process that needs it (`raylab.data.open_dataset`), so
it holds paths and sizes, not pixels, and pickles in a few kilobytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "val"]
IGNORE = 255
"""Mask value of a pixel that counts neither in the loss nor in the evaluation."""


def voc_colour(number: int) -> tuple[int, int, int]:
    """The colour of a class number in PASCAL VOC's colour map, whose first colours lie far apart; 0 is black."""
    colour = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            colour[channel] |= (number >> 3 * place + channel & 1) << 7 - place
    return colour[0], colour[1], colour[2]


@dataclass(frozen=True)
class ClassMap:
    """Names and colours of the classes; a class's index is its training id.

    Attributes:
        names: one a class.
        colours: one (red, green, blue) triple in 0..255 a class.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.names)

    def paint(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Colour a mask of training ids.

        Args:
            mask: (H, W) uint8 training ids, `IGNORE` where nothing is known.

        Returns:
            (H, W, 3) uint8; ignored pixels are black.
        """
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.colours)] = self.colours
        return table[mask]


@runtime_checkable
class SegmentationDataset(Protocol):
    """What raylab asks of a data set. The `train` split is the pool, `val` is what mIoU is measured on."""

    name: str
    classes: ClassMap

    def image_names(self, split: Split) -> list[str]:
        """Names of the images of a split, sorted; an image's index is its place in this list."""
        ...

    def image_sizes(self, split: Split) -> NDArray[np.int32]:
        """(images, 2) int32 heights and widths, read from the files' headers, in the order of the names."""
        ...

    def read_image(self, split: Split, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB.

        Raises:
            DataError: the file is missing or does not decode.
        """
        ...

    def read_mask(self, split: Split, index: int) -> NDArray[np.uint8]:
        """(H, W) uint8 training ids, `IGNORE` where a pixel does not count.

        Raises:
            DataError: the file is missing, does not decode or holds an id outside the class map.
        """
        ...

    def problems(self) -> list[str]:
        """Every problem of the data set's files, one line each, found in one pass (`raylab check`)."""
        ...

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over names, sizes and bytes of all files: what the data was, for the record."""
        ...
