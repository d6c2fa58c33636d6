"""Data sets that are folders of images and masks: listing, pairing, reading, fingerprint.

A data set of this kind is a `Layout` (where the files lie), a class map and a `MaskCoding`; everything else is
shared here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from raylab.data import decode
from raylab.data.base import ClassMap, Split
from raylab.data.checks import decode_all
from raylab.data.decode import MaskCoding
from raylab.errors import DataError

SPLITS: tuple[Split, ...] = get_args(Split)
IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
MASK_EXTENSIONS = (".png",)


class Entry(NamedTuple):
    """An image and its mask, found by their common name.

    Attributes:
        name: path below the split's folder, without suffix and extension, with forward slashes.
        image: the image's extension, None if there is no image of this name.
        mask: the mask's extension, None if there is no mask of this name.
    """

    name: str
    image: str | None
    mask: str | None


@dataclass(frozen=True)
class Layout:
    """Where the files lie below the root; `{split}` in a folder stands for the split's name.

    Attributes:
        images: folder of the images.
        masks: folder of the masks.
        image_suffix: what an image's stem ends with, beside the name it shares with its mask.
        mask_suffix: the same for masks.
        not_masks: suffix of other PNG files that lie among the masks.
        image_extensions: in lower case, with the dot.
    """

    images: str
    masks: str
    image_suffix: str = ""
    mask_suffix: str = ""
    not_masks: str | None = None
    image_extensions: tuple[str, ...] = IMAGE_EXTENSIONS

    def image_path(self, root: Path, split: Split, name: str, extension: str) -> Path:
        """Path of an image."""
        return root / self.images.format(split=split) / f"{name}{self.image_suffix}{extension}"

    def mask_path(self, root: Path, split: Split, name: str, extension: str) -> Path:
        """Path of a mask."""
        return root / self.masks.format(split=split) / f"{name}{self.mask_suffix}{extension}"

    def list_split(self, root: Path, split: Split) -> tuple[list[Entry], list[str]]:
        """List and pair the files of a split.

        Returns:
            The entries, sorted bytewise by name, and a line for each problem of the folders and the pairing.
        """
        problems: list[str] = []
        folders = [root / part.format(split=split) for part in (self.images, self.masks)]
        images = _scan(folders[0], self.image_suffix, self.image_extensions, None, problems)
        masks = _scan(folders[1], self.mask_suffix, MASK_EXTENSIONS, self.not_masks, problems)
        if images is None or masks is None:
            # With a folder missing every file of the other would be named; the folder says it all.
            return [Entry(name, ext, None) for name, ext in _sorted(images or {})], problems
        entries = [Entry(name, images.get(name), masks.get(name)) for name, _ in _sorted({**images, **masks})]
        for name, image, mask in entries:
            if image is not None and mask is None:
                want = self.mask_path(root, split, name, MASK_EXTENSIONS[0])
                problems.append(f"{self.image_path(root, split, name, image)}: no mask; add {want} or remove the image")
            elif image is None and mask is not None:
                want = self.image_path(root, split, name, self.image_extensions[0])
                problems.append(f"{self.mask_path(root, split, name, mask)}: no image; add {want} or remove the mask")
        if not images:
            kinds = ", ".join(f"*{self.image_suffix}{extension}" for extension in self.image_extensions)
            problems.append(f"{folders[0]}: no images in the {split} split; add files named {kinds}")
        return entries, problems


def _sorted(found: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(found.items(), key=lambda item: os.fsencode(item[0]))


def _scan(
    folder: Path, suffix: str, extensions: Sequence[str], excluded: str | None, problems: list[str]
) -> dict[str, str] | None:
    """Names and extensions of the files below a folder; None if there is no such folder."""
    if not folder.is_dir():
        problems.append(f"{folder}: the folder is missing; create it or correct data.root")
        return None
    found: dict[str, str] = {}

    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename}: the folder cannot be read ({error.strerror}); correct its permissions")

    for where, _, files in os.walk(folder, onerror=unreadable, followlinks=True):
        below = Path(where).relative_to(folder)
        for file in sorted(files, key=os.fsencode):
            stem, extension = os.path.splitext(file)
            if file.startswith(".") or extension.lower() not in extensions or not stem.endswith(suffix):
                continue
            if excluded is not None and stem.endswith(excluded):
                continue
            name = (below / stem.removesuffix(suffix)).as_posix()
            if name in found:
                problems.append(
                    f"{Path(where) / file}: {stem}{found[name]} has the same name without extension; remove one of them"
                )
            found.setdefault(name, extension)
    return found


def open_root(root: str | os.PathLike[str], name: str) -> Path:
    """Absolute path of a data set's root (workers change their directory).

    Raises:
        DataError: there is no such folder.
    """
    path = Path(os.path.abspath(os.path.expanduser(root)))
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; set data.root to the folder of the {name} data set")
    return path


class FileDataset:
    """A data set of image and mask files. Holds names, not pixels, and pickles small.

    Args:
        name: of the data set.
        root: absolute folder.
        classes: the training classes.
        coding: how masks are coded; None if the class map could not be read, which is then among `problems`.
        layout: where the files lie.
        entries: what was found in each split.
        problems: what is wrong with the folders and the pairing.
        strict: refuse to open with such problems. Without it they stay for `problems()`, which then tells all.

    Raises:
        DataError: `strict`, and there are problems; it names all of them.
    """

    def __init__(
        self,
        *,
        name: str,
        root: Path,
        classes: ClassMap,
        coding: MaskCoding | None,
        layout: Layout,
        entries: Mapping[Split, Sequence[Entry]],
        problems: Sequence[str],
        strict: bool,
    ) -> None:
        if problems and strict:
            raise DataError(problems)
        self.name = name
        self.root = root
        self.classes = classes
        self.coding = coding
        self.layout = layout
        self.found_at_opening = tuple(problems)
        self._complete: dict[Split, tuple[Entry, ...]] = {}
        self._single: dict[Split, tuple[Entry, ...]] = {}
        for split, found in entries.items():
            self._complete[split] = tuple(entry for entry in found if None not in entry)
            self._single[split] = tuple(entry for entry in found if None in entry)

    def image_names(self, split: Split) -> list[str]:
        """Names of the images of a split, sorted bytewise; an image's index is its place in this list."""
        return [entry.name for entry in self._complete[split]]

    def image_sizes(self, split: Split) -> NDArray[np.int32]:
        """(images, 2) int32 heights and widths in pixels, read from the files' headers.

        Raises:
            DataError: headers that do not decode, all of them.
        """
        sizes, problems = [], []
        for entry in self._complete[split]:
            try:
                sizes.append(decode.read_size(self.path_of_image(split, entry)))
            except DataError as error:
                problems += error.problems
        if problems:
            raise DataError(problems)
        return np.asarray(sizes, np.int32).reshape(-1, 2)

    def read_image(self, split: Split, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, as stored.

        Raises:
            DataError: the file is missing or does not decode.
            IndexError: the split has no such image.
        """
        return decode.read_rgb(self.path_of_image(split, self._complete[split][index]))

    def read_mask(self, split: Split, index: int) -> NDArray[np.uint8]:
        """(H, W) uint8 training ids, `IGNORE` where a pixel does not count.

        Raises:
            DataError: the file is missing, does not decode or holds an id outside the class map.
            IndexError: the split has no such image.
        """
        if self.coding is None:
            raise DataError(self.found_at_opening)
        return decode.read_mask(self.path_of_mask(split, self._complete[split][index]), self.coding)

    def problems(self) -> list[str]:
        """Every problem of the data set's files, one line each: what opening found, then what decoding all finds."""
        return [*self.found_at_opening, *decode_all(self)]

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over the class map and the names, sizes and bytes of all files; not over the root.

        Raises:
            DataError: a file is missing or cannot be read.
        """
        digest = hashlib.sha256(repr((self.name, self.classes.names)).encode())
        digest.update(self.coding.key() if self.coding is not None else b"")
        with ThreadPoolExecutor(max_workers=_threads()) as pool:
            for split in SPLITS:
                paths = [path for entry in self._complete[split] for path in
                         (self.path_of_image(split, entry), self.path_of_mask(split, entry))]  # fmt: skip
                digest.update(f"{split} {len(paths)}".encode())
                for path, (size, content) in zip(paths, pool.map(_digest, paths), strict=True):
                    name = os.fsencode(path.relative_to(self.root).as_posix())
                    digest.update(b"%d %s %d " % (len(name), name, size) + content)
        return digest.hexdigest()

    def entries(self, split: Split) -> tuple[Entry, ...]:
        """All entries of a split, those without image or mask included."""
        return self._complete[split] + self._single[split]

    def path_of_image(self, split: Split, entry: Entry) -> Path:
        """Path of an entry's image, which it must have."""
        assert entry.image is not None
        return self.layout.image_path(self.root, split, entry.name, entry.image)

    def path_of_mask(self, split: Split, entry: Entry) -> Path:
        """Path of an entry's mask, which it must have."""
        assert entry.mask is not None
        return self.layout.mask_path(self.root, split, entry.name, entry.mask)


def _threads() -> int:
    return min(8, os.cpu_count() or 1)


def _digest(path: Path) -> tuple[int, bytes]:
    """Bytes and SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
            return file.tell(), content
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore the file") from error
