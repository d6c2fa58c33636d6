"""PASCAL VOC 2012: photographs of 20 kinds of objects and background, the border around objects ignored."""

from __future__ import annotations

import os
import re

from raylab.data.base import Split
from raylab.data.classes import IGNORE, ClassMap, voc_colour
from raylab.data.coding import IdCoding
from raylab.data.files import FileDataset
from raylab.data.layout import IMAGE_EXTENSIONS, Entry, Layout, composed
from raylab.data.source import Source, read_text
from raylab.errors import DataError
from raylab.files import Folder

_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
PASCAL_VOC = ClassMap(_NAMES, tuple(voc_colour(number) for number in range(len(_NAMES))))

ROOTS = ("", "VOC2012", "VOCdevkit/VOC2012")
LISTS = "ImageSets/Segmentation"
AUGMENTED = ("train_aug", "trainaug")
"""Names that SBD's list goes by."""

_PAIR = re.compile(r"(\S.*\.(?:jpg|jpeg|png))\s+/?\S.*\.png", re.IGNORECASE)
_LAYOUT = Layout(images="JPEGImages", masks="SegmentationClass", image_extensions=(".jpg",))
_AUGMENTED = Layout(images="JPEGImages", masks="SegmentationClassAug", image_extensions=(".jpg",))


def open_voc2012(source: Source, train_list: str, strict: bool) -> FileDataset:
    """Open JPEGImages, SegmentationClass and the lists of ImageSets/Segmentation; val.txt is the validation split.

    `train_aug` is the list of the Semantic Boundaries Dataset (SBD): its masks, as PNGs of class ids, lie in
    SegmentationClassAug, and train_aug.txt (or trainaug.txt) stands among the other lists.

    Args:
        source: VOC2012, VOCdevkit, or what holds VOCdevkit.
        train_list: list of the pool: `train`, `train_aug` or `trainval`.
        strict: refuse to open with problems of lists or files; without it, `problems()` tells them.

    Raises:
        DataError: `strict`, and there are problems; it names all of them.
    """
    if isinstance(source, Folder):
        source = source.below(next((path for path in ROOTS if source.is_folder(f"{path}/JPEGImages".lstrip("/"))), ""))
    file = _list_file(source, train_list)
    lists: dict[Split, str] = {"train": file, "val": f"{LISTS}/val.txt"}
    layouts: dict[Split, Layout] = {"train": _AUGMENTED if train_list in AUGMENTED else _LAYOUT, "val": _LAYOUT}
    entries, problems = _list_splits(source, lists, layouts)
    return FileDataset(
        name="voc2012",
        source=source,
        classes=PASCAL_VOC,
        coding=IdCoding(tuple(range(len(PASCAL_VOC))), (IGNORE,)),
        entries=entries,
        problems=problems,
        strict=strict,
        side_files=tuple(lists.values()),
    )


def _list_file(source: Source, train_list: str) -> str:
    """The file of the pool's list: SBD's under whichever of its names is there."""
    names = AUGMENTED if train_list in AUGMENTED else (train_list,)
    files = [f"{LISTS}/{name}.txt" for name in names]
    return next((file for file in files if source.is_file(file)), files[0])


def _list_splits(
    source: Source, lists: dict[Split, str], layouts: dict[Split, Layout]
) -> tuple[dict[Split, list[Entry]], list[str]]:
    entries: dict[Split, list[Entry]] = {}
    problems: list[str] = []
    for split, file in lists.items():
        try:
            names = _read_list(source, file)
        except DataError as error:
            problems += error.problems
            names = []
        entries[split], found = layouts[split].list_named(source, split, names, file)
        # Both splits are looked for in the same folders, so each would tell of a missing one.
        problems += [line for line in found if line not in problems]
    validated = {entry.name for entry in entries["val"]}
    if both := [entry.name for entry in entries["train"] if entry.name in validated]:
        problems.append(
            f"{source.uri_of(lists['train'])}: {len(both)} images of the pool are also validated on, by val.txt "
            f"({both[0]} the first); set data.train_list to train or train_aug"
        )
    return entries, problems


def _read_list(source: Source, path: str) -> list[tuple[str, ...]]:
    """The images of a list, one a line: for each what the line may mean, the likeliest first.

    A line is a name, with or without extension, that may hold spaces and dots; a name and a flag, as VOC's lists by
    class have it; or DeepLab's pair of paths (/JPEGImages/a.jpg /SegmentationClass/a.png).

    Raises:
        DataError: the list is missing, no text or empty.
    """
    text = read_text(source, path, "restore it, or set data.train_list to a list that is there")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{source.uri_of(path)}: the list is empty; restore it")
    return [_meanings(line) for line in lines]


def _meanings(line: str) -> tuple[str, ...]:
    pair = _PAIR.fullmatch(line)
    whole = (pair[1] if pair else line).rpartition("/")[2]
    first = line.split()[0].rpartition("/")[2]
    return tuple(dict.fromkeys(composed(one) for text in (whole, first) for one in (_bare(text), text)))


def _bare(name: str) -> str:
    """A name without the extension of an image; other dots belong to the name."""
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in IMAGE_EXTENSIONS else name
