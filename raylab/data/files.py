"""Data sets that are images and masks in files: reading, checking, fingerprint.

A data set of this kind is a `Layout` (where the files lie), a class map and a `MaskCoding`; everything else is
shared here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from raylab.data import decode
from raylab.data.base import Split
from raylab.data.classes import ClassMap
from raylab.data.decode import ImageFile, MaskCoding
from raylab.data.fingerprint import FileDigests, Fingerprint
from raylab.data.layout import SPLITS, Entry, Layout
from raylab.data.packed import PackedFolder
from raylab.data.source import Source
from raylab.errors import DataError

_REQUESTS = 32


class FileDataset:
    """A data set of image and mask files. Holds names, not pixels, and pickles small.

    Args:
        name: of the data set.
        source: its root.
        classes: the training classes.
        coding: how masks are coded; None if the class map could not be read, which is then among `problems`.
        layout: where the files lie, of each split if the splits differ.
        entries: what was found in each split.
        problems: what is wrong with the folders and the pairing.
        strict: refuse to open with such problems. Without it they stay for `problems()`, which then tells all.
        side_files: paths of other files that say which images and classes there are.

    Raises:
        DataError: `strict`, and there are problems; it names all of them.
    """

    def __init__(
        self,
        *,
        name: str,
        source: Source,
        classes: ClassMap,
        coding: MaskCoding | None,
        layout: Layout | Mapping[Split, Layout],
        entries: Mapping[Split, Sequence[Entry]],
        problems: Sequence[str],
        strict: bool,
        side_files: Sequence[str] = (),
    ) -> None:
        if problems and strict:
            raise DataError(problems)
        self.name = name
        self.source = source
        self.classes = classes
        self.coding = coding
        self.layouts = dict.fromkeys(SPLITS, layout) if isinstance(layout, Layout) else dict(layout)
        self.found_at_opening = tuple(problems)
        self.side_files = tuple(side_files)
        self._complete: dict[Split, tuple[Entry, ...]] = {}
        self._single: dict[Split, tuple[Entry, ...]] = {}
        for split, found in entries.items():
            self._complete[split] = tuple(entry for entry in found if None not in entry)
            self._single[split] = tuple(entry for entry in found if None in entry)

    def image_names(self, split: Split) -> list[str]:
        """Names of the images of a split, sorted bytewise; its position is the image's index."""
        return [entry.name for entry in self._complete[split]]

    def image_sizes(self, split: Split) -> NDArray[np.int32]:
        """(images, 2) int32 heights and widths in pixels, read from the files' headers.

        Raises:
            DataError: headers that do not decode, all of them.
        """
        return _read_sizes(self.source, [self.image_file(split, entry) for entry in self._complete[split]])

    def mask_sizes(self, split: Split) -> NDArray[np.int32]:
        """The same of the masks."""
        return _read_sizes(self.source, [self.mask_file(split, entry) for entry in self._complete[split]])

    def read_image(self, split: Split, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, as stored.

        Raises:
            DataError: the file is missing or does not decode.
            IndexError: the split has no such image.
        """
        return decode.read_rgb(self.image_file(split, self._complete[split][index]))

    def read_mask(self, split: Split, index: int) -> NDArray[np.uint8]:
        """(H, W) uint8 training ids, `IGNORE` where a pixel does not count.

        Raises:
            DataError: the file is missing, does not decode or holds an id outside the class map.
            IndexError: the split has no such image.
        """
        if self.coding is None:
            raise DataError(self.found_at_opening)
        return decode.read_mask(self.mask_file(split, self._complete[split][index]), self.coding)

    def problems(self) -> list[str]:
        """Every problem of the data set's files, one line each: what opening found, then what decoding all finds."""
        damage = self.source.find_damage() if isinstance(self.source, PackedFolder) else []
        # Every image of a damaged shard tells of the shard.
        return list(dict.fromkeys([*self.found_at_opening, *damage, *decode_all(self)]))

    def fingerprint(self, digests: FileDigests | None = None) -> str:
        """Hexadecimal SHA-256 over the class map and the names, sizes and bytes of all files; not over the root.

        A packed set brings its own, which is that of the files it was packed from.

        Args:
            digests: of the files, where some are known already.

        Raises:
            DataError: a file is missing or cannot be read.
        """
        coding = b"" if self.coding is None else self.coding.key()
        if isinstance(self.source, PackedFolder) and (own := self.source.fingerprint(self.classes.names, coding)):
            return own
        digests = digests or FileDigests()
        fingerprint = Fingerprint(self.name, self.classes.names, coding)
        done, paths = 0, {split: [path for pair in self.paths(split) for path in pair] for split in SPLITS}
        total = sum(map(len, paths.values()))
        with ThreadPoolExecutor(max_workers=_threads() if self.source.local else _REQUESTS) as pool:
            for split in SPLITS:
                fingerprint.begin(split, len(paths[split]))
                files = map(self.source.file, paths[split])
                for path, (size, content) in zip(paths[split], pool.map(digests.of, paths[split], files), strict=True):
                    fingerprint.add(path, size, content)
                    done += 1
                    if digests.progress is not None:
                        digests.progress("fingerprint", done, total)
        return fingerprint.hexdigest()

    def paths(self, split: Split) -> list[tuple[str, str]]:
        """Paths of each image and its mask below the root, in the order of the names."""
        return [(self._image_path(split, entry), self._mask_path(split, entry)) for entry in self._complete[split]]

    def entries(self, split: Split) -> tuple[Entry, ...]:
        """All entries of a split, those without image or mask included."""
        return self._complete[split] + self._single[split]

    def image_file(self, split: Split, entry: Entry) -> ImageFile:
        """An entry's image, which it must have."""
        return self.source.file(self._image_path(split, entry))

    def mask_file(self, split: Split, entry: Entry) -> ImageFile:
        """An entry's mask, which it must have."""
        return self.source.file(self._mask_path(split, entry))

    def _image_path(self, split: Split, entry: Entry) -> str:
        assert entry.image is not None
        return self.layouts[split].image_path(split, entry.name, entry.image)

    def _mask_path(self, split: Split, entry: Entry) -> str:
        assert entry.mask is not None
        return self.layouts[split].mask_path(split, entry.name, entry.mask)


def _read_sizes(source: Source, files: Sequence[ImageFile]) -> NDArray[np.int32]:
    sizes, problems = [], []

    def read(file: ImageFile) -> tuple[int, int] | list[str]:
        try:
            return decode.read_size(file)
        except DataError as error:
            return error.problems

    for found in _in_threads(read, files, 1 if source.local else _REQUESTS):
        if isinstance(found, tuple):
            sizes.append(found)
        else:
            problems += found
    if problems:
        raise DataError(problems)
    return np.asarray(sizes, np.int32).reshape(-1, 2)


def _in_threads(
    read: Callable[[ImageFile], tuple[int, int] | list[str]], files: Sequence[ImageFile], threads: int
) -> list[tuple[int, int] | list[str]]:
    # Headers of local files are read faster than threads take them up.
    if threads == 1:
        return [read(file) for file in files]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(read, files))


def _threads() -> int:
    return min(8, os.cpu_count() or 1)


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
