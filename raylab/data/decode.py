"""From a file to an array: images, and masks by their coding.

What a file says of its pixels (`raylab.data.image_file`) is applied, alike for images and masks, or the
file is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raylab.data.bands import BLOCK_PIXELS, TileFile, Values, bands_of, blocks, read_window
from raylab.data.coding import MaskCoding
from raylab.data.deep import deep_values
from raylab.data.image_checks import refuse_lossy
from raylab.data.image_file import (
    PLAIN,
    ImageFile,
    Reading,
    bits,
    check_decodable,
    check_trailer,
    open_image,
    orientation,
    told_orientation,
    turned,
)
from raylab.errors import DataError


def read_rgb(file: ImageFile, reading: Reading = PLAIN) -> NDArray[np.uint8]:
    """Decode an image, upright.

    Args:
        file: to read.
        reading: how; values of more than 8 bits are scaled from its range.

    Returns:
        (H, W, 3) uint8 RGB; an alpha channel is dropped.

    Raises:
        DataError: the file is missing, does not decode, has too many pixels or stores more than 8 bits a channel in a
            way that is not read.
    """
    values, largest = image_values(file, reading)
    return _in_8_bits(file, values, largest, reading) if largest else values


def image_values(file: ImageFile, reading: Reading = PLAIN) -> Values:
    """Decode an image, upright, as it is stored.

    Returns:
        (H, W, 3) uint8 RGB and 0; or, of more than 8 bits a channel, (H, W) or (H, W, 3) uint16 and the largest value
        that the bits can hold.

    Raises:
        DataError: as `read_rgb`.
    """
    if isinstance(file, TileFile):
        return read_window(file, reading, "image", lambda band: image_values(band, reading))
    with open_image(file, reading) as image:
        way = orientation(image)
        values: NDArray[Any]
        if bits(image) > 8:
            values, largest = deep_values(file, image, reading)
        else:
            _load(file, image)
            values, largest = _as_rgb(image), 0
        check_trailer(file, image, way)
        return (values if way == 1 else turned(values, way)), largest


def _load(file: ImageFile, image: Image.Image) -> None:
    image.load()
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{file}: image has more than 8 bits a channel (mode {image.mode}); save it as PNG with 8 or 16 bits a "
            "channel"
        )


def _as_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.width * image.height <= BLOCK_PIXELS:
        return np.array(image.convert("RGB"), np.uint8)
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    for rows, block in blocks(image):
        rgb[rows] = np.asarray(block.convert("RGB"))
    return rgb


def _in_8_bits(file: ImageFile, values: NDArray[np.uint16], largest: int, reading: Reading) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of (H, W) or (H, W, 3) values, the range to 0..255, rounded to the nearest."""
    low, high = reading.low, largest if reading.high is None else reading.high
    if not reading.clip and (most := int(values.max(initial=0))) > high:
        raise DataError(
            f"{file}: holds {most}, above the {high.bit_length()} bits that dataset.yaml tells; correct bits, or give "
            "range: [lowest, highest]"
        )
    # A table of all values is faster than dividing each, and needs no wider copy of the image.
    every = np.clip(np.arange(2**16, dtype=np.int64) - low, 0, high - low)
    table = ((every * 510 + (high - low)) // (2 * (high - low))).astype(np.uint8)
    grey = table[values]
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)


def deep_maximum(file: ImageFile, reading: Reading = PLAIN) -> tuple[int, int] | None:
    """The largest value of an image with more than 8 bits a channel and the largest that its bits can hold; else None.

    Raises:
        DataError: as `read_rgb`.
    """
    with open_image(file, reading, whole=False) as image:
        if isinstance(file, TileFile) and bands_of(file.file, image) is None:
            check_decodable(file.file, image, reading)
        if bits(image) <= 8:
            return None
    values, largest = image_values(file, reading)
    return int(values.max(initial=0)), largest


def read_mask(file: ImageFile, coding: MaskCoding, reading: Reading = PLAIN) -> NDArray[np.uint8]:
    """Decode a mask, upright.

    Returns:
        (H, W) uint8 training ids, `IGNORE` where a pixel does not count.

    Raises:
        DataError: the file is missing, does not decode, is lossy, has too many pixels, a wrong mode or values without a
            class.
    """
    return coding.training_ids(mask_values(file, coding, reading), str(file))


def mask_values(file: ImageFile, coding: MaskCoding, reading: Reading = PLAIN) -> NDArray[Any]:
    """(H, W) values that a mask holds (`MaskCoding.values`), upright.

    Raises:
        DataError: as `read_mask`, but for values without a class.
    """
    return _mask(file, coding, reading)[0]


def _mask(file: ImageFile, coding: MaskCoding, reading: Reading) -> Values:
    """The values of a mask, and how they lie in the file, as EXIF numbers it."""
    if isinstance(file, TileFile):
        return read_window(file, reading, f"mask {coding.key()!r}", lambda band: _mask(band, coding, reading))
    with open_image(file, reading) as image:
        way, told = orientation(image), told_orientation(image)
        refuse_lossy(file, image)
        values = coding.values(image, str(file))
        check_trailer(file, image, way)
        return (values if way == 1 else turned(values, way)), told


def count_mask(
    file: ImageFile, coding: MaskCoding, reading: Reading = PLAIN
) -> tuple[tuple[int, int], dict[int, int], int]:
    """Upright height and width of a mask, its pixels by value (`MaskCoding.count`), and how they lie in the file.

    Raises:
        DataError: as `read_mask`, but for values without a class, which are counted.
    """
    values, way = _mask(file, coding, reading)
    return (values.shape[0], values.shape[1]), coding.count(values), way
