"""Cityscapes: streets of 50 cities at 2048 x 1024, 19 classes, the other labels ignored. Test masks are not public."""

from __future__ import annotations

import os

from raylab.data.classes import CITYSCAPES
from raylab.data.decode import IdCoding
from raylab.data.files import FileDataset
from raylab.data.layout import Layout
from raylab.data.source import Source, open_root

EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""labelId of each training id, in the order of `scenery.CITYSCAPES`."""
NOT_EVALUATED = tuple(value for value in range(34) if value not in EVALUATED)
LICENSE_PLATE = 255
"""Its labelId is -1, which 8 bits hold as 255."""

_LAYOUT = Layout(
    images="leftImg8bit/{split}",
    masks="gtFine/{split}",
    image_suffix="_leftImg8bit",
    mask_suffix="_gtFine_labelIds",
    image_extensions=(".png",),
)


class Cityscapes(FileDataset):
    """leftImg8bit/<split>/<city>/<id>_leftImg8bit.png with gtFine/<split>/<city>/<id>_gtFine_labelIds.png.

    An image's name is "<city>/<id>". The pool is the train split.

    Args:
        root: folder or URI that holds leftImg8bit and gtFine.
        strict: refuse to open with problems of folders or pairing; without it, `problems()` tells them.

    Raises:
        DataError: the root is missing, or `strict` and there are problems; it names all of them.
    """

    def __init__(self, root: str | os.PathLike[str] | Source, *, strict: bool = True) -> None:
        source = open_root(root, "cityscapes")
        entries, problems = _LAYOUT.list_splits(source)
        super().__init__(
            name="cityscapes",
            source=source,
            classes=CITYSCAPES,
            coding=IdCoding(EVALUATED, (*NOT_EVALUATED, LICENSE_PLATE)),
            layout=_LAYOUT,
            entries=entries,
            problems=problems,
            strict=strict,
        )
