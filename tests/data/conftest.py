"""Data sets of a few 64-pixel files, a fixture `<name>_root` for each, and the real ones where they are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from raylab.config import DataConfig, SyntheticConfig
from raylab.data.camvid import PAINTED
from raylab.files import Folder
from tests.conftest import shared_folder
from tests.data.sets import SPECIAL, copied

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


@pytest.fixture(name="save_palette")
def save_palette_fixture() -> Callable[..., Path]:
    return save_palette


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
    for first, (split, count) in enumerate((("train", 3), ("val", 2))):
        for number in range(count):
            save(root / split / f"{number:04d}.png", picture(10 * first + number))
            save(root / f"{split}annot" / f"{number:04d}.png", ids(number, 12))
    return root


@pytest.fixture
def idd_lite_root(tmp_path: Path) -> Path:
    root = tmp_path / "idd_lite"
    for split, names in (("train", ("10/b", "9/a", "10/a")), ("val", ("3/004642",))):
        for seed, name in enumerate(names):
            save(root / "leftImg8bit" / split / f"{name}_image.jpg", picture(seed))
            mask = ids(seed, 7)
            mask[0] = 255
            save(root / "gtFine" / split / f"{name}_label.png", mask)
            save(root / "gtFine" / split / f"{name}_inst_label.png", mask)
    return root


@pytest.fixture
def painted_root(tmp_path: Path) -> Path:
    """CamVid as it is handed around with masks in colours: a 64 x 64 mask holds every colour."""
    root = tmp_path / "painted"
    table = np.asarray([colour for group in PAINTED.values() for colour in group.values()] + [(0, 0, 0)], np.uint8)
    for first, (split, count) in enumerate((("train", 3), ("val", 2), ("test", 1))):
        for number in range(count):
            save(root / split / f"{number:04d}.png", picture(10 * first + number))
            save(root / f"{split}_labels" / f"{number:04d}_L.png", table[ids(number, 32)])
    (root / "class_dict.csv").write_text("name,r,g,b\nAnimal,64,128,64\n")
    return root


@pytest.fixture
def cityscapes_root(tmp_path: Path) -> Path:
    root = tmp_path / "cityscapes"
    for split, names in (("train", ("ulm/ulm_1", "aachen/aachen_2", "ulm/ulm_0")), ("val", ("lindau/lindau_7",))):
        for seed, name in enumerate(names):
            save(root / "leftImg8bit" / split / f"{name}_leftImg8bit.png", picture(seed))
            mask = ids(seed, 34)
            mask[0] = 255
            for kind in ("labelIds", "instanceIds", "labelTrainIds", "color"):
                value = mask if kind == "labelIds" else np.full_like(mask, 77)
                save(root / "gtFine" / split / f"{name}_gtFine_{kind}.png", value)
            (root / "gtFine" / split / f"{name}_gtFine_polygons.json").write_text("{}")
    return root


@pytest.fixture
def bdd100k_root(tmp_path: Path) -> Path:
    root = tmp_path / "bdd100k"
    for split, names in (("train", ("0a0a0b1a-7c39d841", "00d79c0a-23bea078")), ("val", ("7d15b18b-1e0d6e3f",))):
        for seed, name in enumerate(names):
            save(root / "images" / "10k" / split / f"{name}.jpg", picture(seed))
            mask = ids(seed, 19)
            mask[0] = 255
            save(root / "labels" / "sem_seg" / "masks" / split / f"{name}.png", mask)
    return root


@pytest.fixture
def gta5_root(tmp_path: Path) -> Path:
    root = tmp_path / "gta5"
    for number in range(1, 9):
        save(root / "images" / f"{number:05d}.png", picture(number))
        save_palette(root / "labels" / f"{number:05d}.png", ids(number, 35))
    return root


def save_palette(path: Path, array: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    image.putpalette([(7 * value) % 256 for value in range(768)])
    image.save(path)
    return path


@pytest.fixture
def voc2012_root(tmp_path: Path) -> Path:
    """VOC2012 in a folder VOCdevkit: images of several sizes, those of SBD among them."""
    root = tmp_path / "voc2012"
    inner = root / "VOCdevkit" / "VOC2012"
    lists = {
        "train": ("2007_000032", "2007_000039"),
        "val": ("2007_000033", "2007_000042"),
        "trainval": ("2007_000032", "2007_000039", "2007_000033", "2007_000042"),
        "train_aug": ("2007_000032", "2007_000039", "2008_000001"),
    }
    for seed, name in enumerate(sorted({name for names in lists.values() for name in names})):
        height, width = 40 + 8 * seed, 64
        save(inner / "JPEGImages" / f"{name}.jpg", picture(seed, height, width))
        mask = ids(seed, 21, height, width)
        mask[::7] = 255
        if name in lists["trainval"]:
            save_palette(inner / "SegmentationClass" / f"{name}.png", mask)
        if name in lists["train_aug"]:
            save(inner / "SegmentationClassAug" / f"{name}.png", np.roll(mask, 1, axis=1))
    save(inner / "JPEGImages" / "2009_000001.jpg", picture(9))  # of another task: in no list
    folder = inner / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    for name, names in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{one}\n" for one in names))
    return root


@pytest.fixture
def data(request: pytest.FixtureRequest) -> DataConfig:
    """A data set by its name in the registry, or by what is special about its files."""
    if request.param == "synthetic":
        return DataConfig(synthetic=SyntheticConfig(train_images=3, val_images=2, height=64, width=96))
    name = SPECIAL.get(request.param, request.param)
    root = request.getfixturevalue("painted_root" if request.param == "painted" else f"{name}_root")
    if request.param == "split.mat":
        savemat(root / "split.mat", {"trainIds": [1, 2, 5, 7], "valIds": [4, 8]})
    return DataConfig(name=name, root=str(root), train_list="train_aug" if request.param == "train_aug" else "train")


@pytest.fixture
def memory() -> Folder:
    """An object store that only this process sees, empty."""
    return Folder(f"memory://{uuid4().hex}/data")


@pytest.fixture
def upload(memory: Folder) -> Callable[[Path], str]:
    """Copies a folder into it; returns the URI."""
    return lambda root: copied(root, memory)


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
