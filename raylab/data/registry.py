"""The data sets by name, one row each, and how one is opened; `register_dataset` adds a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from raylab.data.base import SegmentationDataset
from raylab.data.camvid import CAMVID, painted_coding
from raylab.data.classes import CITYSCAPES, IGNORE, ClassMap
from raylab.data.coding import IdCoding, MaskCoding
from raylab.data.files import FileDataset
from raylab.data.folder import open_folder_dataset
from raylab.data.gta5 import open_gta5
from raylab.data.label_ids import EVALUATED, LICENSE_PLATE, NOT_EVALUATED
from raylab.data.layout import Layout
from raylab.data.packed import PackedFolder, open_packed
from raylab.data.questions import Survey
from raylab.data.source import Source, open_root
from raylab.data.survey import FileFacts
from raylab.data.synthetic.scenes import SyntheticScenes
from raylab.data.voc import PASCAL_VOC, open_voc2012
from raylab.errors import ConfigError, DataError, StoreError
from raylab.files import Folder
from raylab.plugins import Registry
from raylab.progress import Progress

if TYPE_CHECKING:
    from raylab.config import DataConfig

FileOpener = Callable[[Source, str, bool], FileDataset]
"""Takes the root, the list that is the pool (`data.train_list`) and `strict` (see `FileDataset`)."""
Generator = Callable[["DataConfig"], SegmentationDataset]


@dataclass(frozen=True)
class Nominal:
    """Sizes of the official set, from which a study is planned where the data is not there.

    Attributes:
        train_images: of each list that may be the pool.
        val_images: images that are evaluated.
        height: pixels, of most images.
        width: pixels, of most images.
    """

    train_images: Mapping[str, int]
    val_images: int
    height: int
    width: int


@dataclass(frozen=True)
class Files:
    """One of the forms a data set is passed around in: where its files lie, and how its masks are coded."""

    layout: Layout
    coding: MaskCoding


@dataclass(frozen=True)
class DatasetRow:
    """One data set: a table (`files`), a function that opens its files, or a generator that needs none.

    Attributes:
        about: a line for people: what it shows and where it lies below the root.
        classes: the training classes; None where the data itself says them.
        files: its forms; the first whose folder of training masks is there is read.
        opener: opens files whose splits no table can tell, such as lists.
        generator: makes the images from the configuration; there is no root.
        train_lists: values of `data.train_list`; more than `train` where the set brings several lists.
        nominal: sizes of the official set.

    Raises:
        ConfigError: there is not exactly one of `files`, `opener` and `generator`, or classes are missing that a table
            or nominal sizes need.
    """

    about: str = field(compare=False)
    classes: ClassMap | None = None
    files: tuple[Files, ...] = ()
    opener: FileOpener | None = None
    generator: Generator | None = None
    train_lists: tuple[str, ...] = ("train",)
    nominal: Nominal | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if sum(map(bool, (self.files, self.opener, self.generator))) != 1:
            raise ConfigError(f"data set {self.about!r}: give one of files, opener and generator")
        if self.classes is None and (self.files or self.nominal):
            raise ConfigError(f"data set {self.about!r}: give classes, which files and nominal need")


_ROWS: dict[str, DatasetRow] = {
    "synthetic": DatasetRow(
        about="street scenes drawn by a seeded generator; no files",
        classes=CITYSCAPES,
        generator=lambda config: SyntheticScenes(**config.synthetic.model_dump()),
    ),
    "camvid": DatasetRow(
        about="frames of a drive: SegNet's {split} and {split}annot or the painted {split} and {split}_labels",
        classes=CAMVID,
        files=(
            Files(Layout("{split}", "{split}annot"), IdCoding(tuple(range(11)), (11,))),
            # The split of the painted frames differs from SegNet's, so the two are not the same data.
            Files(Layout("{split}", "{split}_labels", mask_suffix="_L"), painted_coding()),
        ),
        nominal=Nominal({"train": 367}, 101, 360, 480),
    ),
    "cityscapes": DatasetRow(
        about="streets of 50 cities: leftImg8bit/{split}/<city> and gtFine/{split}/<city> (labelIds)",
        classes=CITYSCAPES,
        files=(
            Files(
                Layout("leftImg8bit/{split}", "gtFine/{split}", "_leftImg8bit", "_gtFine_labelIds",
                       image_extensions=(".png",)),
                IdCoding(EVALUATED, (*NOT_EVALUATED, LICENSE_PLATE)),
            ),
        ),
        nominal=Nominal({"train": 2975}, 500, 1024, 2048),
    ),
    "idd_lite": DatasetRow(
        about="Indian roads: leftImg8bit/{split}/<sequence> and gtFine/{split}/<sequence>",
        classes=ClassMap(
            ("drivable", "non-drivable", "living things", "vehicles", "roadside objects", "far objects", "sky"),
            ((128, 64, 128), (244, 35, 232), (220, 20, 60), (0, 0, 230), (220, 190, 40), (70, 70, 70), (70, 130, 180)),
        ),
        files=(
            Files(
                Layout("leftImg8bit/{split}", "gtFine/{split}", "_image", "_label", not_masks="_inst_label",
                       image_extensions=(".jpg", ".jpeg")),
                IdCoding(tuple(range(7)), (IGNORE,)),
            ),
        ),
        nominal=Nominal({"train": 1403}, 204, 227, 320),
    ),
    "voc2012": DatasetRow(
        about="PASCAL VOC 2012: JPEGImages, SegmentationClass(Aug) and ImageSets/Segmentation, or a folder above",
        classes=PASCAL_VOC,
        opener=open_voc2012,
        train_lists=("train", "train_aug", "trainval"),
        nominal=Nominal({"train": 1464, "train_aug": 10582, "trainval": 2913}, 1449, 375, 500),
    ),
    "gta5": DatasetRow(
        about="frames of a game in Cityscapes' classes, to pre-train on: images, labels and, if there, split.mat",
        classes=CITYSCAPES,
        opener=open_gta5,
        nominal=Nominal({"train": 12403}, 6382, 1052, 1914),
    ),
    "bdd100k": DatasetRow(
        about="streets of the USA: images/10k/{split} and labels/sem_seg/masks/{split}",
        classes=CITYSCAPES,
        files=(
            Files(
                Layout("images/10k/{split}", "labels/sem_seg/masks/{split}", image_extensions=(".jpg",)),
                IdCoding(tuple(range(19)), (IGNORE,)),
            ),
        ),
        nominal=Nominal({"train": 7000}, 1000, 720, 1280),
    ),
    "folder": DatasetRow(
        about="images of your own: images, masks and dataset.yaml",
        opener=open_folder_dataset,
    ),
}  # fmt: skip
DATASETS = Registry("data set", _ROWS)
"""The rows by the name that `data.name` gives; tests try every one of them."""


def register_dataset(name: str, row: DatasetRow) -> None:
    """Add a data set, so that `data.name` may name it.

    Call it in a module that every process imports (`plugins` of the configuration): workers open the data set too.

    Args:
        name: for `data.name`; part of the data's fingerprint where the data lies in files.
        row: what it is.

    Raises:
        ConfigError: another data set has the name, or it cannot be one.

    Example:
        >>> from raylab.data import DATASETS, ClassMap, DatasetRow, Files, IdCoding, Layout, register_dataset
        >>> classes = ClassMap(("soil", "crop", "weed"), ((90, 60, 30), (0, 160, 0), (200, 0, 0)))
        >>> files = Files(Layout("rgb/{split}", "gt/{split}"), IdCoding(ids=(0, 1, 2), ignored=(255,)))
        >>> register_dataset("weeds", DatasetRow("weeds: rgb/{split} and gt/{split}", classes, (files,)))
        >>> DATASETS.remove("weeds")
    """
    if not name or name != name.strip():
        raise ConfigError(f"register_dataset: {name!r} cannot be a name; give one without spaces around it")
    DATASETS.register(name, row)


def dataset_row(config: DataConfig) -> DatasetRow:
    """The row that a configuration names.

    Raises:
        ConfigError: there is none (the nearest name is told), or it has not what the configuration asks for.
    """
    row = DATASETS.find(config.name, "data.name")
    if config.train_list not in row.train_lists:
        lists = ", ".join(row.train_lists)
        raise ConfigError(f"data.train_list: {config.name} has no list {config.train_list!r}; choose {lists}")
    if row.generator is not None and config.root is not None:
        raise ConfigError(f"data.root: {config.name} is generated and lies nowhere; leave the root out")
    return row


def open_dataset(config: DataConfig) -> SegmentationDataset:
    """Open the data set that a configuration names, raw or packed, with the checks that need no decoding.

    Args:
        config: name and root of a data set, or the parameters of the generated one.

    Raises:
        ConfigError: there is no such data set or list, or a parameter of the generated scenes is out of its range.
        DataError: the root is not set or missing, the files do not pair up (all problems at once), or a packed set is
            of another data set, unfinished or damaged.
    """
    return _open(config, strict=True)


def find_problems(config: DataConfig) -> list[str]:
    """Everything wrong with a data set, one line each, found in one pass that decodes every file.

    Unlike `open_dataset(config).problems()` this goes on to the pixels when folders or pairing have problems.

    Args:
        config: as for `open_dataset`.

    Raises:
        ConfigError: as `open_dataset`.
    """
    try:
        return _open(config, strict=False).problems()
    except DataError as error:
        return error.problems


def survey_dataset(
    config: DataConfig, facts: FileFacts | None = None, decode_images: bool = False, progress: Progress | None = None
) -> Survey | None:
    """Look at a data set as a whole (`FileDataset.survey`), whatever its problems.

    Args:
        config: as for `open_dataset`.
        facts: of files, where some are known already.
        decode_images: images are decoded, not their headers alone.
        progress: told of every image, as stage `survey`.

    Returns:
        What was found, with all problems; None of a data set that is not stored.

    Raises:
        ConfigError: as `open_dataset`.
        DataError: the root is missing, or a packed set cannot be opened.
    """
    dataset = _open(config, strict=False)
    return dataset.survey(facts, decode_images, progress) if isinstance(dataset, FileDataset) else None


def _open(config: DataConfig, strict: bool) -> SegmentationDataset:
    row = dataset_row(config)
    if row.generator is not None:
        return row.generator(config)
    if config.root is None:
        raise DataError(f"data.root: the data set {config.name!r} lies in files; set data.root to its folder")
    try:
        source = open_root(config.root, config.name)
        if isinstance(source, Folder):
            source = open_packed(source, config.name, config.train_list) or source
        if row.opener is not None:
            dataset = row.opener(source, config.train_list, strict)
        else:
            dataset = _open_table(config.name, row, source, strict)
    except StoreError as error:  # where listing fails; files that cannot be read are told one by one
        raise DataError(f"data.root: {error}") from None
    tile = config.tile
    if isinstance(source, PackedFolder) and source.tile:
        if tile not in (None, source.tile):
            raise DataError(
                f"{source.uri}: packed with data.tile {source.tile}, not {tile}; set data.tile to {source.tile}, or "
                "pack the files again"
            )
        tile = source.tile
    dataset.reading = replace(
        dataset.reading, tile=tile, max_pixels=config.max_pixels, max_decoded_bytes=config.max_decoded_bytes
    )
    return dataset


def _open_table(name: str, row: DatasetRow, source: Source, strict: bool) -> FileDataset:
    assert row.classes is not None
    there = (one for one in row.files if source.is_folder(one.layout.masks.format(split="train")))
    files = next(there, row.files[0])
    entries, problems = files.layout.list_splits(source)
    return FileDataset(
        name=name,
        source=source,
        classes=row.classes,
        coding=files.coding,
        entries=entries,
        problems=problems,
        strict=strict,
    )
