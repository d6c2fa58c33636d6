"""Data sets behind one protocol: the field's in their official layouts, folders of one's own, generated scenes.

Files may lie in a folder, at a URI, or in a set packed by `raylab pack`. Imports neither torch, Ray nor MLflow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from raylab.data.base import SegmentationDataset, Split
from raylab.data.camvid import CamVid
from raylab.data.cityscapes import Cityscapes
from raylab.data.classes import IGNORE, ClassMap
from raylab.data.files import FileDataset
from raylab.data.folder import FolderDataset
from raylab.data.gta5 import Gta5
from raylab.data.idd_lite import IddLite
from raylab.data.packed import open_packed
from raylab.data.source import Source, open_root
from raylab.data.synthetic.scenes import SyntheticScenes
from raylab.data.voc import Voc2012
from raylab.errors import DataError
from raylab.files import DataFolder, first_line

if TYPE_CHECKING:
    from raylab.config import DataConfig

__all__ = [
    "IGNORE",
    "CamVid",
    "Cityscapes",
    "ClassMap",
    "FileDataset",
    "FolderDataset",
    "Gta5",
    "IddLite",
    "SegmentationDataset",
    "Split",
    "SyntheticScenes",
    "Voc2012",
    "find_problems",
    "open_dataset",
]

FILE_DATASETS: dict[str, Callable[..., FileDataset]] = {
    "camvid": CamVid,
    "idd_lite": IddLite,
    "cityscapes": Cityscapes,
    "voc2012": Voc2012,
    "gta5": Gta5,
    "folder": FolderDataset,
}


def open_dataset(config: DataConfig) -> SegmentationDataset:
    """Open the data set that a configuration names, raw or packed, with the checks that need no decoding.

    Args:
        config: name and root of a data set, or the parameters of the generated one.

    Raises:
        DataError: the root is not set or missing, the files do not pair up (all problems at once), or a packed set is
            of another data set, unfinished or damaged.
        ConfigError: a parameter of the generated scenes is out of its range.
    """
    return _open(config, strict=True)


def find_problems(config: DataConfig) -> list[str]:
    """Everything wrong with a data set, one line each, found in one pass that decodes every file.

    Unlike `open_dataset(config).problems()` this goes on to the pixels when folders or pairing have problems.

    Args:
        config: as for `open_dataset`.

    Raises:
        ConfigError: a parameter of the generated scenes is out of its range.
    """
    try:
        return _open(config, strict=False).problems()
    except DataError as error:
        return error.problems


def _open(config: DataConfig, strict: bool) -> SegmentationDataset:
    if config.train_list != "train" and config.name != "voc2012":
        raise DataError(f"data.train_list: only voc2012 has lists; leave it at train for {config.name}")
    if config.name == "synthetic":
        scenes = config.synthetic
        return SyntheticScenes(scenes.train_images, scenes.val_images, scenes.height, scenes.width, scenes.seed)
    if config.name not in FILE_DATASETS:
        raise DataError(f"data.name: unknown data set {config.name!r}; choose synthetic, {', '.join(FILE_DATASETS)}")
    if config.root is None:
        raise DataError(f"data.root: the data set {config.name!r} lies in files; set data.root to its folder")
    try:
        return _open_files(config, config.root, strict)
    except OSError as error:  # of a file system over the network; a local folder's are told file by file
        raise DataError(f"data.root: {config.root} cannot be read ({first_line(error)}); try again") from None


def _open_files(config: DataConfig, root: str, strict: bool) -> FileDataset:
    source: Source = open_root(root, config.name)
    if isinstance(source, DataFolder):
        source = open_packed(source, config.name, config.train_list) or source
    if config.name == "voc2012":
        return Voc2012(source, train_list=config.train_list, strict=strict)
    return FILE_DATASETS[config.name](source, strict=strict)
