"""Data sets that are images and masks in files: reading, checking, fingerprint.

A data set of this kind is a `Layout` (where the files lie), a class map and a `MaskCoding`; everything else is
shared here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from raylab.data import decode
from raylab.data.bands import TileFile, Window
from raylab.data.base import Split
from raylab.data.classes import ClassMap
from raylab.data.coding import MaskCoding
from raylab.data.fingerprint import FileDigests, Fingerprint, unreadable
from raylab.data.image_file import PLAIN, ImageFile, Reading, read_size, size_of_file
from raylab.data.layout import SPLITS, Entry, tiles_of
from raylab.data.packed import PackedFolder, tile_path
from raylab.data.questions import Answers, Survey
from raylab.data.source import Source
from raylab.data.survey import FileFacts, sizes_differ, survey_files, told_size
from raylab.errors import DataError
from raylab.progress import Progress

_REQUESTS = 32
_T = TypeVar("_T")


class FileDataset:
    """A data set of image and mask files. Holds names, not pixels, and pickles small.

    Args:
        name: of the data set.
        source: its root.
        classes: the training classes.
        coding: how masks are coded; None if the class map could not be read, which is then among `problems`.
        entries: what was found in each split.
        problems: what is wrong with the folders and the pairing.
        strict: refuse to open with such problems. Without it they stay for `problems()`, which then tells all.
        side_files: paths of other files that say which images and classes there are.
        reading: how the files are read.
        answers: what the set's owner says of what looks like a mistake; None where there is no file to say it in.

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
        entries: Mapping[Split, Sequence[Entry]],
        problems: Sequence[str],
        strict: bool,
        side_files: Sequence[str] = (),
        reading: Reading = PLAIN,
        answers: Answers | None = None,
    ) -> None:
        if problems and strict:
            raise DataError(problems)
        self.name = name
        self.source = source
        self.classes = classes
        self.coding = coding
        self.found_at_opening = tuple(problems)
        self.side_files = tuple(side_files)
        self.reading = reading
        self.answers = answers
        self._sizes: dict[tuple[Split, int], tuple[int, ...]] = {}
        self._pairs: dict[Split, tuple[Entry, ...]] = {}
        self._single: dict[Split, tuple[Entry, ...]] = {}
        self._tiles: dict[Split, tuple[Entry, ...]] = {}
        for split, found in entries.items():
            self._pairs[split] = tuple(entry for entry in found if entry.paired)
            self._single[split] = tuple(entry for entry in found if not entry.paired)

    def _images(self, split: Split) -> tuple[Entry, ...]:
        """The images of a split: its files, or tiles of those that are larger than a tile."""
        if self.reading.tile is None:
            return self._pairs[split]
        if split not in self._tiles:
            files = [self.image_file(entry) for entry in self._pairs[split]]
            found = _in_threads(self._whole_size, files, 1 if self.source.local else _REQUESTS)
            tiles = [tile for entry, size in zip(self._pairs[split], found, strict=True)
                     for tile in tiles_of(entry, size, self.reading.tile)]  # fmt: skip
            self._tiles[split] = tuple(sorted(tiles, key=lambda tile: os.fsencode(tile.name)))
        return self._tiles[split]

    def _whole_size(self, file: ImageFile) -> tuple[int, int] | None:
        """None of a file whose header cannot be read, which whoever reads it tells."""
        try:
            return file.shape or size_of_file(file, self.reading)
        except DataError:
            return None

    def image_names(self, split: Split) -> list[str]:
        """Names of the images of a split, sorted bytewise; its position is the image's index.

        With `data.tile` larger images are tiles, named by their first row and column: `aerial@00000,02048`.
        """
        return [entry.name for entry in self._images(split)]

    def image_sizes(self, split: Split) -> NDArray[np.int32]:
        """(images, 2) int32 upright heights and widths in pixels, read from the files' headers.

        Raises:
            DataError: headers that do not decode, all of them.
        """
        sizes = self._read_sizes([self.image_file(entry) for entry in self._images(split)])
        self._sizes |= {(split, index): tuple(size) for index, size in enumerate(sizes.tolist())}
        return sizes

    def mask_sizes(self, split: Split) -> NDArray[np.int32]:
        """The same of the masks."""
        return self._read_sizes([self.mask_file(entry) for entry in self._images(split)])

    def check_sizes(self) -> None:
        """Compare the sizes of images and masks, by their headers.

        Raises:
            DataError: headers that do not decode, else masks of another size than their images; all of them.
        """
        problems = []
        for split in SPLITS:
            images, masks, entries = self.image_sizes(split), self.mask_sizes(split), self._images(split)
            for at in np.flatnonzero((images != masks).any(axis=1)).tolist():
                image, mask = self.image_file(entries[at]), self.mask_file(entries[at])
                problems.append(sizes_differ(image, images[at], mask, masks[at]))
        if problems:
            raise DataError(problems)

    def read_image(self, split: Split, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, upright.

        Raises:
            DataError: the file is missing or does not decode, or has another size than its header or index says.
            IndexError: the split has no such image.
        """
        file = self.image_file(self._images(split)[index])
        image = decode.read_rgb(file, self.reading)
        if file.shape is not None and file.shape != image.shape[:2]:
            raise DataError(f"{file}: image is {told_size(image.shape)}, packed as {told_size(file.shape)}; pack again")
        self._sizes[split, index] = image.shape[:2]
        return image

    def read_mask(self, split: Split, index: int) -> NDArray[np.uint8]:
        """(H, W) uint8 training ids, `IGNORE` where a pixel does not count; upright, and of its image's size.

        Raises:
            DataError: the file is missing, does not decode, holds an id outside the class map or has another size than
                its image.
            IndexError: the split has no such image.
        """
        if self.coding is None:
            raise DataError(self.found_at_opening)
        entry = self._images(split)[index]
        file = self.mask_file(entry)
        mask = decode.read_mask(file, self.coding, self.reading)
        if (split, index) not in self._sizes:
            self._sizes[split, index] = read_size(self.image_file(entry), self.reading)
        if mask.shape != self._sizes[split, index]:
            raise DataError(sizes_differ(self.image_file(entry), self._sizes[split, index], file, mask.shape))
        return mask

    def problems(self) -> list[str]:
        """Every problem of the data set's files, one line each: what opening found, then what decoding all finds."""
        return self.survey(decode_images=True).problems

    def survey(
        self,
        facts: FileFacts | None = None,
        decode_images: bool = False,
        progress: Progress | None = None,
        digests: FileDigests | None = None,
    ) -> Survey:
        """Look at the set as a whole: sizes, pixels of every class by split, and what looks like a mistake.

        Args:
            facts: of files, where some are known already.
            decode_images: find images that do not decode too, and damage of packed sets; otherwise their headers do.
            progress: told of every image, as stage `survey`.
            digests: of files, where some are known already.
        """
        damage = self.source.find_damage() if decode_images and isinstance(self.source, PackedFolder) else []
        facts, digests, whole = facts or FileFacts(), digests or FileDigests(), not self.found_at_opening
        found = survey_files(self, facts, digests, decode_images, progress, whole)
        # Every image of a damaged shard tells of the shard.
        found.problems = list(dict.fromkeys([*self.found_at_opening, *damage, *found.problems]))
        return found

    def fingerprint(self, digests: FileDigests | None = None) -> str:
        """Hexadecimal SHA-256 over the class map and the names, sizes and bytes of all files; not over the root.

        A packed set brings its own, which is that of the files it was packed from.

        Args:
            digests: of the files, where some are known already.

        Raises:
            DataError: a file is missing or cannot be read.
        """
        coding = self.coding_key()
        if isinstance(self.source, PackedFolder) and (own := self.source.fingerprint(self.classes.names, coding)):
            return own
        if isinstance(self.source, PackedFolder) and self.source.tile:
            raise DataError(f"{self.source.uri}: its tiles were packed with other classes or masks; pack again")
        digests = digests or FileDigests()
        fingerprint = Fingerprint(self.name, self.classes.names, coding)
        done, paths = 0, {split: [path for pair in self.paths(split) for path in pair] for split in SPLITS}
        total = sum(map(len, paths.values()))
        with ThreadPoolExecutor(self.threads) as pool:
            for split in SPLITS:
                fingerprint.begin(split, len(paths[split]))
                files = map(self.source.file, paths[split])
                for path, (size, content) in zip(paths[split], pool.map(digests.of, paths[split], files), strict=True):
                    fingerprint.add(path, size, content)
                    done += 1
                    if digests.progress is not None:
                        digests.progress("fingerprint", done, total)
        return fingerprint.hexdigest()

    @property
    def threads(self) -> int:
        """That files are read in: as many as decode, or wait for answers of an object store."""
        return min(8, os.cpu_count() or 1) if self.source.local else _REQUESTS

    def size_in_bytes(self, path: str) -> int | None:
        """Of a file; None of one of a packed set, whose hash is in its index.

        Raises:
            DataError: it is missing or cannot be read.
        """
        try:
            state = self.source.file(path).state()
        except OSError as error:
            raise DataError(unreadable(self.source.uri_of(path), error)) from None
        return None if state is None else state[0]

    def digest(self, path: str, digests: FileDigests) -> bytes:
        """SHA-256 of a file, or one over those of its tiles in a packed set.

        Raises:
            DataError: it is missing or cannot be read.
        """
        if isinstance(self.source, PackedFolder):
            return self.source.digest(path)
        return digests.of(path, self.source.file(path))[1]

    def paths(self, split: Split) -> list[tuple[str, str]]:
        """Paths of each image's file and its mask's below the root, in the order of their names, tiles or not."""
        return [(entry.image or "", entry.mask or "") for entry in self._pairs[split]]

    def entries(self, split: Split) -> tuple[Entry, ...]:
        """All entries of a split, those without image or mask included."""
        return self._images(split) + self._single[split]

    def image_file(self, entry: Entry) -> ImageFile:
        """An entry's image, which it must have."""
        assert entry.image is not None
        return self._file(entry.image, entry.window)

    def mask_file(self, entry: Entry) -> ImageFile:
        """An entry's mask, which it must have."""
        assert entry.mask is not None
        return self._file(entry.mask, entry.window)

    def _file(self, path: str, window: Window | None) -> ImageFile:
        if window is None:
            return self.source.file(path)
        if isinstance(self.source, PackedFolder) and self.source.tile:
            return self.source.file(tile_path(path, window.top, window.left))
        return TileFile(self.source.file(path), window)

    def coding_key(self) -> bytes:
        """What tells how the files are read, for the fingerprint."""
        cut = any(entry.window for split in SPLITS for entry in self._images(split))
        tile = f" tile {self.reading.tile}".encode() if cut else b""
        return (self.coding.key() if self.coding is not None else b"") + self.reading.key() + tile

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sizes": {}}

    def _read_sizes(self, files: Sequence[ImageFile]) -> NDArray[np.int32]:
        sizes, problems = [], []

        def read(file: ImageFile) -> tuple[int, int] | list[str]:
            try:
                return read_size(file, self.reading)
            except DataError as error:
                return error.problems

        for found in _in_threads(read, files, 1 if self.source.local else _REQUESTS):
            if isinstance(found, tuple):
                sizes.append(found)
            else:
                problems += found
        if problems:
            raise DataError(problems)
        return np.asarray(sizes, np.int32).reshape(-1, 2)


def _in_threads(read: Callable[[ImageFile], _T], files: Sequence[ImageFile], threads: int) -> list[_T]:
    # Headers of local files are read faster than threads take them up.
    if threads == 1:
        return [read(file) for file in files]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(read, files))
