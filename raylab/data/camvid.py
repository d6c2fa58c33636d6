"""CamVid in the SegNet split: 480 x 360 frames, 11 classes, void ignored."""

from __future__ import annotations

import os

from raylab.data.base import ClassMap
from raylab.data.decode import IdCoding
from raylab.data.files import SPLITS, FileDataset, Layout, open_root

CLASSES = ClassMap(
    names=(
        "sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist",
    ),
    colours=(
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
        (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip
VOID = 11

_LAYOUT = Layout(images="{split}", masks="{split}annot")


class CamVid(FileDataset):
    """The folders train, trainannot, val and valannot; an image and its mask share a file name.

    Args:
        root: folder that holds the four.
        strict: refuse to open with problems of folders or pairing; without it, `problems()` tells them.

    Raises:
        DataError: the root is missing, or `strict` and there are problems; it names all of them.
    """

    def __init__(self, root: str | os.PathLike[str], *, strict: bool = True) -> None:
        path = open_root(root, "camvid")
        listed = {split: _LAYOUT.list_split(path, split) for split in SPLITS}
        super().__init__(
            name="camvid",
            root=path,
            classes=CLASSES,
            coding=IdCoding(tuple(range(len(CLASSES))), (VOID,)),
            layout=_LAYOUT,
            entries={split: entries for split, (entries, _) in listed.items()},
            problems=[line for _, lines in listed.values() for line in lines],
            strict=strict,
        )
