"""The thorough check of a data set's files: everything is decoded, everything wrong is told in one pass."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from raylab.data import decode
from raylab.data.base import Split
from raylab.errors import DataError

if TYPE_CHECKING:
    from raylab.data.files import Entry, FileDataset


def decode_all(dataset: FileDataset) -> list[str]:
    """Decode every image and mask of a data set, unpaired ones too, in threads (decoding frees the interpreter).

    Returns:
        One line a problem, in the order of splits and names.
    """
    work: list[tuple[Split, Entry]] = []
    for split in ("train", "val"):
        work += [(split, entry) for entry in sorted(dataset.entries(split), key=lambda one: os.fsencode(one.name))]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda item: _check_entry(dataset, *item), work)
        return [line for lines in found for line in lines]


def _check_entry(dataset: FileDataset, split: Split, entry: Entry) -> list[str]:
    """Problems of one image, of its mask, and of the two together."""
    problems: list[str] = []
    image_size = mask_size = None
    if entry.image is not None:
        try:
            image_size = decode.read_rgb(dataset.image_file(split, entry)).shape[:2]
        except DataError as error:
            problems += error.problems
    if entry.mask is not None:
        file = dataset.mask_file(split, entry)
        try:
            with decode.open_image(file) as mask:
                mask.load()
                mask_size = (mask.height, mask.width)
                if dataset.coding is not None:
                    dataset.coding.decode(mask, str(file))
        except DataError as error:
            problems += error.problems
    if image_size is not None and mask_size is not None and image_size != mask_size:
        problems.append(_sizes_differ(dataset, split, entry, image_size, mask_size))
    return problems


def _sizes_differ(
    dataset: FileDataset, split: Split, entry: Entry, image: tuple[int, ...], mask: tuple[int, ...]
) -> str:
    file = dataset.image_file(split, entry)
    way_out = "save both at one size"
    if decode.is_turned(file):
        way_out = "the image is stored turned (EXIF orientation): save it upright"
    return (
        f"{dataset.mask_file(split, entry)}: mask is {mask[1]}x{mask[0]}, but its image {file} is "
        f"{image[1]}x{image[0]} (width x height); {way_out}"
    )
