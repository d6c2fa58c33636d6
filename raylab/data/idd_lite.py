"""IDD-Lite: Indian roads at 320 x 227, 7 classes, 255 ignored. Its test split has no masks and is not read."""

from __future__ import annotations

import os

from raylab.data.classes import IGNORE, ClassMap
from raylab.data.decode import IdCoding
from raylab.data.files import FileDataset
from raylab.data.layout import Layout
from raylab.data.source import Source, open_root

CLASSES = ClassMap(
    names=("drivable", "non-drivable", "living things", "vehicles", "roadside objects", "far objects", "sky"),
    colours=((128, 64, 128), (244, 35, 232), (220, 20, 60), (0, 0, 230), (220, 190, 40), (70, 70, 70), (70, 130, 180)),
)

_LAYOUT = Layout(
    images="leftImg8bit/{split}",
    masks="gtFine/{split}",
    image_suffix="_image",
    mask_suffix="_label",
    not_masks="_inst_label",
    image_extensions=(".jpg", ".jpeg"),
)


class IddLite(FileDataset):
    """leftImg8bit/<split>/<sequence>/<id>_image.jpg with gtFine/<split>/<sequence>/<id>_label.png.

    An image's name is "<sequence>/<id>".

    Args:
        root: folder or URI that holds leftImg8bit and gtFine.
        strict: refuse to open with problems of folders or pairing; without it, `problems()` tells them.

    Raises:
        DataError: the root is missing, or `strict` and there are problems; it names all of them.
    """

    def __init__(self, root: str | os.PathLike[str] | Source, *, strict: bool = True) -> None:
        source = open_root(root, "idd_lite")
        entries, problems = _LAYOUT.list_splits(source)
        super().__init__(
            name="idd_lite",
            source=source,
            classes=CLASSES,
            coding=IdCoding(tuple(range(len(CLASSES))), (IGNORE,)),
            layout=_LAYOUT,
            entries=entries,
            problems=problems,
            strict=strict,
        )
