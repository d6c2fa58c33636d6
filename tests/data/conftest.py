"""Data sets of a few 64-pixel files, and the real ones where they are to be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import shared_folder

SIDE = 64


def save(path: Path, array: NDArray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def picture(seed: int, height: int = SIDE, width: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def ids(seed: int, classes: int = 3, height: int = SIDE, width: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, classes, (height, width), np.uint8)


@pytest.fixture(name="save")
def save_fixture() -> Callable[..., Path]:
    return save


@pytest.fixture(name="picture")
def picture_fixture() -> Callable[..., NDArray[np.uint8]]:
    return picture


@pytest.fixture(name="ids")
def ids_fixture() -> Callable[..., NDArray[np.uint8]]:
    return ids


@pytest.fixture
def camvid_root(tmp_path: Path) -> Path:
    root = tmp_path / "camvid"
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            save(root / split / f"{number:04d}.png", picture(number))
            save(root / f"{split}annot" / f"{number:04d}.png", ids(number, 12))
    return root


@pytest.fixture
def idd_root(tmp_path: Path) -> Path:
    root = tmp_path / "idd"
    for split, names in (("train", ("10/b", "9/a", "10/a")), ("val", ("3/004642",))):
        for seed, name in enumerate(names):
            save(root / "leftImg8bit" / split / f"{name}_image.jpg", picture(seed))
            mask = ids(seed, 7)
            mask[0] = 255
            save(root / "gtFine" / split / f"{name}_label.png", mask)
            save(root / "gtFine" / split / f"{name}_inst_label.png", mask)
    return root


YAML = """
classes:
  - {name: road, id: 7, colour: [128, 64, 128]}
  - {name: car, id: 2}
ignore: 0
"""


@pytest.fixture
def folder_root(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    values = np.asarray([7, 2, 0], np.uint8)
    for split, names in (("train", ("a.jpg", "b.webp", "c.tif")), ("val", ("d.bmp", "e.JPEG"))):
        for seed, name in enumerate(names):
            save(root / "images" / split / name, picture(seed))
            save(root / "masks" / split / f"{Path(name).stem}.png", values[ids(seed)])
    (root / "dataset.yaml").write_text(YAML)
    return root


@pytest.fixture(scope="session")
def real_data() -> Path:
    return shared_folder("data")
