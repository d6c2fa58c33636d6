"""The protocol every data set follows, and the class map it brings.

A data set is opened from its configuration in every process that needs it (`raylab.data.open_dataset`), so
it holds paths and sizes, not pixels, and pickles in a few kilobytes.
"""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from raylab.data.classes import ClassMap

Split = Literal["train", "val"]


@runtime_checkable
class SegmentationDataset(Protocol):
    """What raylab asks of a data set. The `train` split is the pool, `val` is what mIoU is measured on."""

    name: str
    classes: ClassMap

    def image_names(self, split: Split) -> list[str]:
        """Names of the images of a split, sorted; its position is the image's index."""
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
