"""Data sets behind one protocol: generated scenes, CamVid, IDD-Lite, and folders of one's own.

Imports neither torch, Ray nor MLflow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from raylab.data.base import IGNORE, ClassMap, SegmentationDataset, Split
from raylab.data.camvid import CamVid
from raylab.data.files import FileDataset
from raylab.data.folder import FolderDataset
from raylab.data.idd_lite import IddLite
from raylab.data.synthetic import SyntheticScenes
from raylab.errors import DataError

if TYPE_CHECKING:
    from raylab.config import DataConfig

__all__ = [
    "IGNORE",
    "CamVid",
    "ClassMap",
    "FileDataset",
    "FolderDataset",
    "IddLite",
    "SegmentationDataset",
    "Split",
    "SyntheticScenes",
    "find_problems",
    "open_dataset",
]

FILE_DATASETS: dict[str, Callable[..., FileDataset]] = {"camvid": CamVid, "idd_lite": IddLite, "folder": FolderDataset}


def open_dataset(config: DataConfig) -> SegmentationDataset:
    """Open the data set that a configuration names, with the checks that need no decoding.

    Args:
        config: name and root of a data set, or the parameters of the generated one.

    Raises:
        DataError: the root is not set or missing, or the files do not pair up; all problems at once.
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
    if config.name == "synthetic":
        scenes = config.synthetic
        return SyntheticScenes(scenes.train_images, scenes.val_images, scenes.height, scenes.width, scenes.seed)
    if config.name not in FILE_DATASETS:
        raise DataError(f"data.name: unknown data set {config.name!r}; choose synthetic, {', '.join(FILE_DATASETS)}")
    if config.root is None:
        raise DataError(f"data.root: the data set {config.name!r} lies in files; set data.root to its folder")
    return FILE_DATASETS[config.name](config.root, strict=strict)
