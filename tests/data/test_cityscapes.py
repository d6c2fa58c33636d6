from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from raylab.data import FileDataset
from raylab.errors import DataError
from tests.data.sets import opened

TRAIN_ID = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
            28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip
"""trainId by labelId, from the table that Cityscapes publishes."""


def histogram(dataset: FileDataset, split: str) -> np.ndarray:
    masks = [dataset.read_mask(split, index) for index in range(len(dataset.image_names(split)))]
    return sum(np.bincount(mask.ravel(), minlength=256) for mask in masks)


def counted(files: list[Path]) -> np.ndarray:
    """How many pixels the stored labelIds give each training id, 255 for those without."""
    labels = np.bincount(np.concatenate([np.asarray(Image.open(file)).ravel() for file in files]), minlength=256)
    expected = np.zeros(256, np.int64)
    for label, pixels in enumerate(labels.tolist()):
        expected[TRAIN_ID.get(label, 255)] += pixels
    return expected


def test_cityscapes_pixels_and_names(cityscapes_root, picture):
    dataset = opened("cityscapes", cityscapes_root)
    assert dataset.image_names("train") == ["aachen/aachen_2", "ulm/ulm_0", "ulm/ulm_1"]
    assert dataset.image_names("val") == ["lindau/lindau_7"]
    assert dataset.classes.names[0] == "road"
    assert dataset.classes.names[18] == "bicycle"
    for split in ("train", "val"):
        files = sorted((cityscapes_root / "gtFine" / split).rglob("*_labelIds.png"))
        np.testing.assert_array_equal(histogram(dataset, split), counted(files))
    assert (dataset.read_mask("train", 0)[0] == 255).all()  # license plates
    np.testing.assert_array_equal(dataset.read_image("train", 0), picture(1))
    assert dataset.problems() == []


@pytest.mark.parametrize("label", [34, 120, 254])
def test_cityscapes_label_without_a_meaning_is_refused_by_name(cityscapes_root, save, ids, label):
    mask = ids(0, 34)
    mask[5, 5] = label
    path = save(cityscapes_root / "gtFine" / "train" / "ulm" / "ulm_0_gtFine_labelIds.png", mask)
    dataset = opened("cityscapes", cityscapes_root)
    with pytest.raises(DataError, match=f"ulm_0_gtFine_labelIds.png: mask ids without a class: {label}"):
        dataset.read_mask("train", 1)
    (problem,) = dataset.problems()
    assert problem.startswith(f"{path}: mask ids without a class: {label} (1 pixels")


def test_cityscapes_other_files_are_no_masks(cityscapes_root):
    (cityscapes_root / "gtFine" / "train" / "ulm" / "ulm_1_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError) as caught:
        opened("cityscapes", cityscapes_root)
    (line,) = caught.value.problems
    assert "leftImg8bit/train/ulm/ulm_1_leftImg8bit.png: no mask; add " in line
    assert "gtFine/train/ulm/ulm_1_gtFine_labelIds.png or remove the image" in line


def test_gta5_splits_by_split_mat(gta5_root):
    savemat(gta5_root / "split.mat", {"trainIds": [[1], [3], [4]], "valIds": [[2], [8]], "testIds": [[5]]})
    dataset = opened("gta5", gta5_root)
    assert dataset.image_names("train") == ["00001", "00003", "00004"]
    assert dataset.image_names("val") == ["00002", "00008"]
    for split in ("train", "val"):
        files = [gta5_root / "labels" / f"{name}.png" for name in dataset.image_names(split)]
        np.testing.assert_array_equal(histogram(dataset, split), counted(files))
    assert dataset.problems() == []


def test_gta5_splits_by_hash_without_split_mat(gta5_root):
    dataset = opened("gta5", gta5_root)
    train, val = dataset.image_names("train"), dataset.image_names("val")
    assert sorted(train + val) == [f"{number:05d}" for number in range(1, 9)]
    assert 0 < len(val) < len(train)
    assert opened("gta5", gta5_root).image_names("val") == val


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"trainIds": [1, 30, 31], "valIds": [2]}, "images without files: 00030, 00031; restore them, or remove"),
        ({"trainIds": [1, 2], "valIds": [2]}, "images in train and val: 00002; restore the file"),
        ({"trainIds": [1, 2]}, "no trainIds and valIds can be read ('valIds'); restore it"),
        ({"trainIds": [1], "valIds": []}, "valIds is empty; restore the file"),
    ],
)
def test_gta5_split_mat_that_does_not_fit(gta5_root, table, line):
    savemat(gta5_root / "split.mat", table)
    with pytest.raises(DataError) as caught:
        opened("gta5", gta5_root)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{gta5_root}/split.mat: {line}")


def test_gta5_without_scipy(gta5_root, monkeypatch):
    savemat(gta5_root / "split.mat", {"trainIds": [1], "valIds": [2]})
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DataError, match=r"split\.mat: scipy is needed to read it; install scipy, or remove the file"):
        opened("gta5", gta5_root)
    (gta5_root / "split.mat").write_bytes(b"no mat")
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"split\.mat: no trainIds and valIds can be read"):
        opened("gta5", gta5_root)


def test_gta5_mask_with_an_unknown_id_is_named(gta5_root, save_palette, ids):
    mask = ids(1, 30)
    mask[0, 0] = 35
    path = save_palette(gta5_root / "labels" / "00004.png", mask)
    (problem,) = opened("gta5", gta5_root).problems()
    assert problem.startswith(f"{path}: mask ids without a class: 35 (1 pixels")
