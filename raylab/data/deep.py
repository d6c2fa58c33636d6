"""Images of more than 8 bits a channel, of which PIL alone keeps 8 where they are in colours."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raylab.data.image_file import ImageFile, Reading, bits, open_image, raw_mode
from raylab.errors import DataError

_DEEP_GREY = {"I;16": 65535, "I;16L": 65535, "I;16B": 65535, "I;16N": 65535, "I;12": 4095}
_DEEP_COLOUR = ("RGB;16L", "RGB;16B", "RGB;16N", "RGBA;16L", "RGBA;16B", "RGBA;16N")
_DEEP_GREY_ALPHA = "LA;16B"
_NATIVE = "L" if sys.byteorder == "little" else "B"
_SWAPPED = {"L": "B", "B": "L"}


def deep_values(file: ImageFile, image: Image.Image, reading: Reading) -> tuple[NDArray[np.uint16], int]:
    """The pixels of such an image.

    Args:
        file: that is read.
        image: the same, opened and not decoded yet.
        reading: how.

    Returns:
        (H, W) or (H, W, 3) uint16, as stored but for a TIFF's orientation, and the largest value its bits can hold.

    Raises:
        DataError: its bits are stored in a way that is not read.
    """
    raw = raw_mode(image)
    way_out = "save it as PNG with 8 or 16 bits a channel"
    tags = image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]
    if tags.get(262) == 0:
        raise DataError(f"{file}: {bits(image)} bits a channel with white stored as 0; {way_out}")
    if raw in _DEEP_GREY and image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16), _DEEP_GREY[raw]
    if raw == _DEEP_GREY_ALPHA:
        parts = _decoded_as(image, "RGBA")
        return _joined(parts[..., 0], parts[..., 1]), 65535
    if raw in _DEEP_COLOUR:
        stem, order = raw[:-1], raw[-1].replace("N", _NATIVE)
        with open_image(file, reading) as again:
            low = _decoded_as(again, stem + _SWAPPED[order])
        high = _decoded_as(image, stem + order)
        return _joined(high[..., :3], low[..., :3]), 65535
    kind = f"{bits(image)} bits a channel, stored as {raw or image.mode}"
    raise DataError(f"{file}: image has more than 8 bits a channel ({kind}); {way_out}")


def _joined(high: NDArray[np.uint8], low: NDArray[np.uint8]) -> NDArray[np.uint16]:
    values = high.astype(np.uint16)
    values <<= 8
    values |= low
    return values


def _decoded_as(image: Any, raw: str) -> NDArray[np.uint8]:
    """Pixels by another of PIL's unpackers than its own choice, which keeps the high byte of each value."""
    image.tile = [
        tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:])) for tile in image.tile
    ]
    return np.array(image)
