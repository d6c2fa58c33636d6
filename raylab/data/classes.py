"""Class maps: names and colours of the classes, and the value of a pixel that does not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""Red, green and blue, each 0..255."""
IGNORE = 255
"""Mask value of a pixel that counts neither in the loss nor in the evaluation."""


def voc_colour(number: int) -> Colour:
    """The colour of a class number in PASCAL VOC's colour map, whose first colours lie far apart; 0 is black."""
    colour = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            colour[channel] |= (number >> 3 * bit + channel & 1) << 7 - bit
    return colour[0], colour[1], colour[2]


def over_classes(iou: Mapping[str, float | None]) -> str:
    """Over how many classes a mean is: those that occur, of all.

    Args:
        iou: by class, None where it occurs neither in prediction nor truth.

    Example:
        >>> over_classes({"road": 0.9, "car": 0.4, "train": None})
        'over 2 of 3 classes'
    """
    return f"over {sum(score is not None for score in iou.values())} of {len(iou)} classes"


@dataclass(frozen=True)
class ClassMap:
    """Names and colours of the classes; a class's index is its training id.

    Attributes:
        names: one a class.
        colours: one (red, green, blue) triple in 0..255 a class.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

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


CITYSCAPES = ClassMap(
    names=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    colours=(
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60),
        (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip
"""The 19 classes that Cityscapes is evaluated on, with its colours."""
