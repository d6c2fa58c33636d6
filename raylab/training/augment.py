"""Joint augmentation of an image and its mask: random scale, pad, random crop, flip (docs/definitions.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raylab.data.classes import IGNORE

SourceBox = tuple[float, float, float, float]


def augment(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    *,
    crop: int,
    scale: tuple[float, float],
    pad: NDArray[np.uint8],
    rng: np.random.Generator,
    tries: int = 1,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One training crop; only the part of the image that it shows is resampled.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) uint8 training ids.
        crop: side of the crop in pixels.
        scale: range of the random scale.
        pad: (3,) uint8 colour outside the image; the mask is `IGNORE` there.
        rng: decides scale, position and flip.
        tries: crops drawn until one holds a labelled pixel; the last is taken in any case.

    Returns:
        (crop, crop, 3) uint8 and (crop, crop) uint8.
    """
    factor = rng.uniform(*scale)
    size = np.maximum(np.rint(np.array(mask.shape) * factor), 1).astype(int)
    shown = np.minimum(size, crop)
    for _ in range(tries):
        corner = rng.integers(0, size - shown + 1)
        part = _sample_nearest(mask, size, corner, shown)
        if (part != IGNORE).any():
            break
    step = np.array(mask.shape) / size
    (top, left), (bottom, right) = corner * step, (corner + shown) * step
    box: SourceBox = (left, top, right, bottom)
    pixels = np.asarray(Image.fromarray(image).resize((shown[1], shown[0]), Image.Resampling.BILINEAR, box=box))
    crop_image = np.empty((crop, crop, 3), np.uint8)
    crop_image[:] = pad
    crop_mask = np.full((crop, crop), IGNORE, np.uint8)
    crop_image[: shown[0], : shown[1]] = pixels
    crop_mask[: shown[0], : shown[1]] = part
    if rng.random() < 0.5:
        return crop_image[:, ::-1], crop_mask[:, ::-1]
    return crop_image, crop_mask


def _sample_nearest(
    mask: NDArray[np.uint8], size: NDArray[np.int64], corner: NDArray[np.int64], shown: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """The window of the mask resized to `size` by nearest neighbour (centres of pixels)."""
    rows, cols = (
        np.minimum(((corner[i] + np.arange(shown[i]) + 0.5) * mask.shape[i] / size[i]).astype(int), mask.shape[i] - 1)
        for i in (0, 1)
    )
    return mask[rows[:, None], cols]
