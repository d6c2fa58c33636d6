"""Partial masks: the truth inside the labelled regions, ignored everywhere else.

Masks are made anew from the ledger each time they are read; nothing is overwritten, so any round can be replayed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raylab.data.classes import IGNORE


def reveal(mask: NDArray[np.uint8], labelled: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The mask as far as it is labelled.

    Args:
        mask: (H, W) uint8 training ids of the whole image.
        labelled: (H, W) bool: which pixels are, as `Regions.covered` gives it.

    Returns:
        (H, W) uint8, `IGNORE` where they are not.
    """
    return np.where(labelled, mask, np.uint8(IGNORE))
