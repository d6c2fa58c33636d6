"""CamVid: frames of a drive, 11 classes (those of SegNet), void ignored."""

from __future__ import annotations

import os

from raylab.data.classes import ClassMap
from raylab.data.decode import ColourCoding, IdCoding
from raylab.data.files import FileDataset
from raylab.data.layout import Layout
from raylab.data.source import Source, open_root

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

PAINTED = {
    "sky": {"Sky": (128, 128, 128)},
    "building": {
        "Building": (128, 0, 0), "Archway": (192, 0, 128), "Bridge": (0, 128, 64), "Tunnel": (64, 0, 64),
        "Wall": (64, 192, 0),
    },
    "pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "road": {"Road": (128, 64, 128), "LaneMkgsDriv": (128, 0, 192), "LaneMkgsNonDriv": (192, 0, 64)},
    "pavement": {"Sidewalk": (0, 0, 192), "ParkingBlock": (64, 192, 128), "RoadShoulder": (128, 128, 192)},
    "tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "sign symbol": {"SignSymbol": (192, 128, 128), "Misc_Text": (128, 128, 64), "TrafficLight": (0, 64, 64)},
    "fence": {"Fence": (64, 64, 128)},
    "car": {
        "Car": (64, 0, 128), "SUVPickupTruck": (64, 128, 192), "Truck_Bus": (192, 128, 192), "Train": (192, 64, 128),
        "OtherMoving": (128, 64, 64),
    },
    "pedestrian": {
        "Pedestrian": (64, 64, 0), "Child": (192, 128, 64), "CartLuggagePram": (64, 0, 192), "Animal": (64, 128, 64),
    },
    "bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
}  # fmt: skip
"""The 31 classes that CamVid was annotated in, with their colours, by the class of SegNet's that they belong to."""
PAINTED_VOID = (0, 0, 0)

_SEGNET = Layout(images="{split}", masks="{split}annot")
_PAINTED = Layout(images="{split}", masks="{split}_labels", mask_suffix="_L")


class CamVid(FileDataset):
    """CamVid in one of the two layouts it is passed around in; which one is told by the folders that are there.

    SegNet's (480 x 360): train, trainannot, val and valannot; an image and its mask of ids 0..11 share a file name.
    The original frames (960 x 720): train, train_labels, val and val_labels; the mask of `a.png` is `a_L.png`, painted
    in the colours of 32 classes. Their split differs from SegNet's, so the two are not the same data.

    Args:
        root: folder or URI that holds the four.
        strict: refuse to open with problems of folders or pairing; without it, `problems()` tells them.

    Raises:
        DataError: the root is missing, or `strict` and there are problems; it names all of them.
    """

    def __init__(self, root: str | os.PathLike[str] | Source, *, strict: bool = True) -> None:
        source = open_root(root, "camvid")
        painted = source.is_folder("train_labels") and not source.is_folder("trainannot")
        layout = _PAINTED if painted else _SEGNET
        entries, problems = layout.list_splits(source)
        super().__init__(
            name="camvid",
            source=source,
            classes=CLASSES,
            coding=_painted_coding() if painted else IdCoding(tuple(range(len(CLASSES))), (VOID,)),
            layout=layout,
            entries=entries,
            problems=problems,
            strict=strict,
        )


def _painted_coding() -> ColourCoding:
    pairs = [(CLASSES.names.index(name), colour) for name, group in PAINTED.items() for colour in group.values()]
    return ColourCoding(
        colours=tuple(colour for _, colour in pairs),
        ignored=(PAINTED_VOID,),
        ids=tuple(number for number, _ in pairs),
        ids_way_out="put masks of class ids into trainannot and valannot",
    )
