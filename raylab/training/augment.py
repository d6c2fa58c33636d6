"""Joint augmentation of an image and its mask: random scale, pad, random crop, flip (docs/definitions.md)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from raylab.data.classes import IGNORE


def augment(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    *,
    crop: int,
    scale: tuple[float, float],
    pad: NDArray[np.uint8],
    rng: np.random.Generator,
    tries: int = 1,
) -> tuple[Tensor, Tensor]:
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
        (3, crop, crop) uint8 and (crop, crop) uint8.
    """
    factor = rng.uniform(*scale)
    size = np.maximum(np.rint(np.array(mask.shape) * factor), 1).astype(int)
    shown = np.minimum(size, crop)
    step = np.array(mask.shape) / size
    # What is shown, in whole pixels of the image itself.
    window = np.maximum(np.rint(shown * step), 1).astype(int)
    whole = torch.from_numpy(mask)[None]
    for _ in range(tries):
        corner = np.minimum(np.rint(rng.integers(0, size - shown + 1) * step).astype(int), mask.shape - window)
        box = [*corner.tolist(), *window.tolist()]
        part = F.resized_crop(whole, *box, size=shown.tolist(), interpolation=InterpolationMode.NEAREST_EXACT)
        if bool((part != IGNORE).any()):
            break
    pixels = F.resized_crop(torch.from_numpy(image).permute(2, 0, 1), *box, size=shown.tolist(), antialias=True)
    border = [0, 0, *(crop - shown[::-1]).tolist()]
    pixels, part = F.pad(pixels, border, fill=pad.tolist()), F.pad(part, border, fill=[IGNORE])
    if rng.random() < 0.5:
        pixels, part = F.horizontal_flip(pixels), F.horizontal_flip(part)
    return pixels, part[0]
