"""Cityscapes' labelIds, which GTA5's masks hold too."""

from __future__ import annotations

EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""labelId of each training id, in the order of `raylab.data.classes.CITYSCAPES`."""
NOT_EVALUATED = tuple(value for value in range(34) if value not in EVALUATED)
LICENSE_PLATE = 255
"""Its labelId is -1, which 8 bits hold as 255."""
