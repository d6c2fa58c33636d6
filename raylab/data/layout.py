"""Where the images and masks of a data set lie below its root, and which of them belong together."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

from raylab.data.bands import Window
from raylab.data.base import Split
from raylab.data.source import Source

SPLITS: tuple[Split, ...] = get_args(Split)
IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
JPEG = (".jpg", ".jpeg")

_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""That systems and network disks put among the files; hidden ones are passed over too."""


class Entry(NamedTuple):
    """An image and its mask, found by their common name.

    Attributes:
        name: path below the split's folder, without suffix and extension, with forward slashes, as `composed` gives it.
        image: path of the image below the root, None if there is no image of this name.
        mask: path of the mask below the root, None if there is no mask of this name.
        window: of a tile.
    """

    name: str
    image: str | None
    mask: str | None
    window: Window | None = None

    @property
    def paired(self) -> bool:
        """Whether there are image and mask."""
        return self.image is not None and self.mask is not None


@dataclass(frozen=True)
class Layout:
    """Where the files lie below the root; `{split}` in a folder stands for the split's folder.

    Attributes:
        images: folder of the images.
        masks: folder of the masks.
        image_suffix: what an image's stem ends with, beside the name it shares with its mask.
        mask_suffix: the same for masks.
        not_masks: suffix of other PNG files that lie among the masks.
        image_extensions: in lower case, with the dot.
        mask_extensions: the same for masks.
        train: name of the training split's folder.
        val: name of the validation split's folder.
    """

    images: str
    masks: str
    image_suffix: str = ""
    mask_suffix: str = ""
    not_masks: str | None = None
    image_extensions: tuple[str, ...] = IMAGE_EXTENSIONS
    mask_extensions: tuple[str, ...] = (".png",)
    train: str = "train"
    val: str = "val"

    def image_folder(self, split: Split) -> str:
        """Folder of a split's images below the root."""
        return self.images.replace("{split}", self.train if split == "train" else self.val)

    def mask_folder(self, split: Split) -> str:
        """Folder of a split's masks below the root."""
        return self.masks.replace("{split}", self.train if split == "train" else self.val)

    def wanted_image(self, split: Split, name: str) -> str:
        """Path below the root where an image would be looked for."""
        return f"{self.image_folder(split)}/{name}{self.image_suffix}{self.image_extensions[0]}"

    def wanted_mask(self, split: Split, name: str) -> str:
        """Path below the root where a mask would be looked for."""
        return f"{self.mask_folder(split)}/{name}{self.mask_suffix}{self.mask_extensions[0]}"

    def list_splits(self, source: Source) -> tuple[dict[Split, list[Entry]], list[str]]:
        """`list_split` of every split: the entries of each, and all problems."""
        listed = {split: self.list_split(source, split) for split in SPLITS}
        entries = {split: found for split, (found, _) in listed.items()}
        return entries, [line for _, lines in listed.values() for line in lines]

    def list_split(self, source: Source, split: Split) -> tuple[list[Entry], list[str]]:
        """List and pair the files of a split.

        Returns:
            The entries, sorted bytewise by name, and a line for each problem of the folders and the pairing.
        """
        images, masks, problems = self._scan_both(source, split)
        if images is None or masks is None:
            # With a folder missing every file of the other would be named; the folder says it all.
            return [Entry(name, path, None) for name, path in _sorted(images or {})], problems
        entries = [Entry(name, images.get(name), masks.get(name)) for name, _ in _sorted({**images, **masks})]
        lonely = []
        jpegs: dict[str, str] = {}
        if images.keys() - masks.keys():
            jpegs = _scan(source, self.mask_folder(split), self.mask_suffix, JPEG, None, []) or {}
        for name, image, mask, _ in entries:
            if image is not None and mask is None:
                want = source.uri_of(self.wanted_mask(split, name))
                other = f" but {source.uri_of(jpegs[name])}, and JPEG changes ids and colours" if name in jpegs else ""
                lonely.append(f"{source.uri_of(image)}: no mask{other}; add {want} or remove the image")
            elif image is None and mask is not None:
                want = source.uri_of(self.wanted_image(split, name))
                lonely.append(f"{source.uri_of(mask)}: no image; add {want} or remove the mask")
        if not images:
            kinds = ", ".join(f"*{self.image_suffix}{extension}" for extension in self.image_extensions)
            folder = source.uri_of(self.image_folder(split))
            problems.append(f"{folder}: no images in the {split} split; add files named {kinds}")
        return entries, [*problems, *lonely]

    def list_named(
        self, source: Source, split: Split, names: Sequence[Sequence[str]], listed_in: str
    ) -> tuple[list[Entry], list[str]]:
        """Find the files of the images that a list names; others are passed over.

        Args:
            source: the root.
            split: of the list.
            names: of its images: for each line what it may mean, the first of which there is an image.
            listed_in: path of the list.

        Returns:
            The entries, sorted bytewise by name, and a line for each folder or file that is missing and for each image
            that the list names more than once.
        """
        images, masks, problems = self._scan_both(source, split)
        chosen = Counter(next((name for name in line if name in (images or {})), line[0]) for line in names)
        problems += [f"{source.uri_of(listed_in)}: {name!r} is named {times} times; take all but one out"
                     for name, times in chosen.items() if times > 1]  # fmt: skip
        entries = []
        for name in sorted(chosen, key=os.fsencode):
            entry = Entry(name, (images or {}).get(name), (masks or {}).get(name))
            entries.append(entry)
            wanted = []
            if images is not None and entry.image is None:
                wanted.append(self.wanted_image(split, name))
            if masks is not None and entry.mask is None:
                wanted.append(self.wanted_mask(split, name))
            problems += [f"{source.uri_of(path)}: the file is missing, but {listed_in} names it; restore it or take "
                         f"{name} off the list" for path in wanted]  # fmt: skip
        return entries, problems

    def _scan_both(
        self, source: Source, split: Split
    ) -> tuple[dict[str, str] | None, dict[str, str] | None, list[str]]:
        problems: list[str] = []
        image_folder, mask_folder = self.image_folder(split), self.mask_folder(split)
        images = _scan(source, image_folder, self.image_suffix, self.image_extensions, None, problems)
        masks = _scan(source, mask_folder, self.mask_suffix, self.mask_extensions, self.not_masks, problems)
        return images, masks, problems


def tiles_of(entry: Entry, size: tuple[int, int] | None, tile: int) -> list[Entry]:
    """The tiles of an image of this height and width, row by row; of one no larger than a tile, or unknown, itself."""
    if size is None or max(size) <= tile:
        return [entry]
    height, width = size
    digits = len(str(max(size)))
    return [
        Entry(
            f"{entry.name}@{top:0{digits}},{left:0{digits}}",
            entry.image,
            entry.mask,
            Window(top, left, min(tile, height - top), min(tile, width - left), size),
        )
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]


def _sorted(found: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(found.items(), key=lambda item: os.fsencode(item[0]))


def composed(name: str) -> str:
    r"""A name in Unicode's composed form (NFC), in which names that look alike are equal.

    Bytes that are no UTF-8 are told as `\xdf`: ledgers, packs and reports hold text.
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", text)


def of_system(path: str) -> bool:
    """Whether a file is hidden or lies in a hidden folder or one that systems make."""
    return any(part.startswith(".") or part in _SYSTEM_FOLDERS for part in path.split("/"))


def _scan(
    source: Source, folder: str, suffix: str, extensions: Sequence[str], excluded: str | None, problems: list[str]
) -> dict[str, str] | None:
    """Names and paths below the root of the files below a folder; None if there is no such folder."""
    if not source.is_folder(folder):
        problems.append(f"{source.uri_of(folder)}: the folder is missing; create it or correct data.root")
        return None
    found: dict[str, str] = {}
    files, unreadable = source.walk(folder)
    problems += unreadable
    for path in files:
        below, slash, file = path.rpartition("/")
        stem, extension = os.path.splitext(file)
        if of_system(path) or extension.lower() not in extensions or not stem.endswith(suffix):
            continue
        if excluded is not None and stem.endswith(excluded):
            continue
        name = composed(f"{below}{slash}{stem.removesuffix(suffix)}")
        if name in found:
            uri, other = source.uri_of(f"{folder}/{path}"), found[name].rpartition("/")[2]
            problems.append(f"{uri}: {other} has the same name without extension; remove one of them")
        found.setdefault(name, f"{folder}/{path}")
    return found
