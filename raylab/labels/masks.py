"""Partial masks: the truth inside the labelled regions, ignored everywhere else.

Masks are made anew from the ledger each time they are read; nothing is overwritten, so any round can be replayed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raylab.data.base import IGNORE


def reveal(mask: NDArray[np.uint8], boxes: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The mask as far as it is labelled.

    Args:
        mask: (H, W) uint8 training ids of the whole image.
        boxes: (n, 4) int32 top, left, height, width of the labelled regions of this image.

    Returns:
        (H, W) uint8, `IGNORE` outside the boxes.
    """
    partial = np.full_like(mask, IGNORE)
    for top, left, height, width in boxes:
        window = slice(top, top + height), slice(left, left + width)
        partial[window] = mask[window]
    return partial
