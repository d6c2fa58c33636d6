"""Data sets of the tests: all that the registry holds, opened, packed, and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from raylab.config import DataConfig
from raylab.data import DATASETS, FileDataset, open_dataset
from raylab.data.pack import pack_dataset
from raylab.files import Folder

SPECIAL = {"painted": "camvid", "train_aug": "voc2012", "split.mat": "gta5"}
"""Data sets whose files may be read in a second way, by what is special about that."""
IN_FILES = (*(name for name, row in DATASETS.items() if row.generator is None), *SPECIAL)


def opened(name: str, root: Path | str, train_list: str = "train") -> FileDataset:
    return dataset_of(DataConfig(name=name, root=str(root), train_list=train_list))


def dataset_of(config: DataConfig) -> FileDataset:
    dataset = open_dataset(config)
    assert isinstance(dataset, FileDataset)
    return dataset


def packed(config: DataConfig, output: Path | str, **bounds: int) -> DataConfig:
    pack_dataset(dataset_of(config), str(output), config.train_list, lambda line: None, **bounds)
    return config.model_copy(update={"root": str(output)})


def copied(root: Path, folder: Folder) -> str:
    """Copy a data set's files below a folder or URI; returns where they are."""
    for file in root.rglob("*"):
        if file.is_file():
            folder.write_bytes(f"{root.name}/{file.relative_to(root).as_posix()}", file.read_bytes())
    return folder.uri_of(root.name)


def assert_equal(raw: DataConfig, other: DataConfig, pixels: slice = slice(None)) -> None:
    one, two = dataset_of(raw), dataset_of(other)
    assert one.classes == two.classes
    for split in ("train", "val"):
        assert one.image_names(split) == two.image_names(split)
        np.testing.assert_array_equal(one.image_sizes(split), two.image_sizes(split))
        for index in range(len(one.image_names(split)))[pixels]:
            np.testing.assert_array_equal(one.read_image(split, index), two.read_image(split, index))
            np.testing.assert_array_equal(one.read_mask(split, index), two.read_mask(split, index))
    assert one.fingerprint() == two.fingerprint()
