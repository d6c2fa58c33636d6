from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from raylab.config import DataConfig
from raylab.data import SegmentationDataset, find_problems
from raylab.data.camvid import CAMVID
from raylab.errors import DataError
from tests.data.sets import opened


def test_reads_what_the_files_hold(camvid_root, picture, ids):
    dataset = opened("camvid", camvid_root)
    assert isinstance(dataset, SegmentationDataset)
    assert dataset.image_names("train") == ["0000", "0001", "0002"]
    assert dataset.image_sizes("val").tolist() == [[64, 64], [64, 64]]
    assert dataset.image_sizes("val").dtype == np.int32
    np.testing.assert_array_equal(dataset.read_image("train", 2), picture(2))
    raw = ids(2, 12)
    np.testing.assert_array_equal(dataset.read_mask("train", 2), np.where(raw == 11, 255, raw))
    assert dataset.problems() == []


def test_sizes_come_as_height_and_width(camvid_root, save, picture, ids):
    save(camvid_root / "train" / "wide.png", picture(0, 40, 64))
    save(camvid_root / "trainannot" / "wide.png", ids(0, 3, 40, 64))
    dataset = opened("camvid", camvid_root)
    index = dataset.image_names("train").index("wide")
    assert dataset.image_sizes("train")[index].tolist() == [40, 64]
    assert dataset.read_image("train", index).shape == (40, 64, 3)


def test_names_are_sorted_bytewise(camvid_root, save, picture, ids):
    for name in ("Z", "a", "é", "B"):
        save(camvid_root / "val" / f"{name}.png", picture(0))
        save(camvid_root / "valannot" / f"{name}.png", ids(0))
    names = opened("camvid", camvid_root).image_names("val")
    assert names == sorted(names, key=lambda name: name.encode())
    assert names[-1] == "é"


def test_fingerprint_follows_bytes_and_names_but_not_the_place(camvid_root, save, ids):
    before = opened("camvid", camvid_root).fingerprint()
    moved = camvid_root.rename(camvid_root.with_name("elsewhere"))
    assert opened("camvid", moved).fingerprint() == before
    save(moved / "trainannot" / "0001.png", ids(77))
    changed = opened("camvid", moved).fingerprint()
    assert changed != before
    for folder in ("train", "trainannot"):
        (moved / folder / "0002.png").rename(moved / folder / "0003.png")
    assert opened("camvid", moved).fingerprint() not in (before, changed)


def test_relative_root_survives_a_change_of_directory(camvid_root, monkeypatch, tmp_path):
    monkeypatch.chdir(camvid_root.parent)
    dataset = opened("camvid", camvid_root.name)
    monkeypatch.chdir(tmp_path.parent)
    assert dataset.read_image("train", 0).shape == (64, 64, 3)


def test_opening_tells_all_pairing_problems_at_once(camvid_root):
    (camvid_root / "trainannot" / "0001.png").unlink()
    (camvid_root / "train" / "0002.png").unlink()
    for file in (camvid_root / "valannot").iterdir():
        file.unlink()
    (camvid_root / "valannot").rmdir()
    with pytest.raises(DataError) as caught:
        opened("camvid", camvid_root)
    missing_mask, missing_image, missing_folder = caught.value.problems
    assert missing_mask.startswith(f"{camvid_root}/train/0001.png: no mask; add ")
    assert missing_image.startswith(f"{camvid_root}/trainannot/0002.png: no image; add ")
    assert missing_folder.startswith(f"{camvid_root}/valannot: the folder is missing; ")


def test_empty_split(camvid_root):
    for folder in ("val", "valannot"):
        for file in (camvid_root / folder).iterdir():
            file.unlink()
    with pytest.raises(DataError, match=r"/val: no images in the val split; add files") as caught:
        opened("camvid", camvid_root)
    assert len(caught.value.problems) == 1


def test_missing_root(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder; set data\.root"):
        opened("camvid", tmp_path / "nowhere")


def test_one_pass_tells_structure_and_pixels(camvid_root, save, picture, ids):
    (camvid_root / "trainannot" / "0001.png").unlink()
    truncated = camvid_root / "train" / "0001.png"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    mask = ids(0)
    mask[:2, :5] = 44
    save(camvid_root / "trainannot" / "0002.png", mask)
    save(camvid_root / "valannot" / "0000.png", ids(0, 3, 32, 64))
    problems = find_problems(DataConfig(name="camvid", root=str(camvid_root)))
    assert all("\n" not in line for line in problems)
    no_mask, broken, unknown, sizes = problems
    assert "no mask" in no_mask
    assert broken.startswith(f"{truncated}: does not decode (")
    assert "trainannot/0002.png: mask ids without a class: 44 (10 pixels; known: 0, 1, 2" in unknown
    assert "ignored: 11); correct the mask" in unknown
    assert "valannot/0000.png: mask is 64x32, but its image" in sizes
    assert "is 64x64 (width x height, upright); save both at one size" in sizes


def test_file_that_vanishes_or_breaks_after_opening(camvid_root):
    dataset = opened("camvid", camvid_root)
    (camvid_root / "train" / "0000.png").unlink()
    (camvid_root / "train" / "0001.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"0000\.png: the file is missing"):
        dataset.read_image("train", 0)
    with pytest.raises(DataError, match=r"0001\.png: does not decode"):
        dataset.read_image("train", 1)
    with pytest.raises(DataError) as caught:
        dataset.image_sizes("train")
    assert len(caught.value.problems) == 2
    with pytest.raises(DataError, match=r"0000\.png: cannot be read"):
        dataset.fingerprint()


def test_real_camvid(real_data):
    if not (real_data / "camvid").is_dir():
        pytest.skip("no camvid in RAYLAB_SHARED")
    dataset = opened("camvid", real_data / "camvid")
    assert [len(dataset.image_names(split)) for split in ("train", "val")] == [367, 101]
    assert (dataset.image_sizes("train") == [360, 480]).all()
    assert dataset.problems() == []
    counts = sum(np.bincount(dataset.read_mask("train", index).ravel(), minlength=256) for index in range(367))
    shares = 100 * counts[[*range(11), 255]] / counts.sum()
    expected = [16.85, 23.26, 0.98, 31.66, 4.49, 9.72, 1.17, 1.13, 5.87, 0.64, 0.29, 3.95]
    np.testing.assert_allclose(shares, expected, atol=0.006)


def test_painted_masks_are_read_as_segnets_classes(painted_root):
    dataset = opened("camvid", painted_root)
    assert dataset.image_names("train") == ["0000", "0001", "0002"]
    assert dataset.classes == CAMVID
    class_of = {
        (128, 128, 128): 0, (128, 0, 0): 1, (192, 0, 128): 1, (0, 128, 64): 1, (64, 0, 64): 1, (64, 192, 0): 1,
        (192, 192, 128): 2, (0, 0, 64): 2, (128, 64, 128): 3, (128, 0, 192): 3, (192, 0, 64): 3, (0, 0, 192): 4,
        (64, 192, 128): 4, (128, 128, 192): 4, (128, 128, 0): 5, (192, 192, 0): 5, (192, 128, 128): 6,
        (128, 128, 64): 6, (0, 64, 64): 6, (64, 64, 128): 7, (64, 0, 128): 8, (64, 128, 192): 8, (192, 128, 192): 8,
        (192, 64, 128): 8, (128, 64, 64): 8, (64, 64, 0): 9, (192, 128, 64): 9, (64, 0, 192): 9, (64, 128, 64): 9,
        (0, 128, 192): 10, (192, 0, 192): 10, (0, 0, 0): 255,
    }  # fmt: skip
    assert len(class_of) == 32
    for index, name in enumerate(dataset.image_names("train")):
        raw = np.asarray(Image.open(painted_root / "train_labels" / f"{name}_L.png"))
        expected = [[class_of[tuple(pixel)] for pixel in row] for row in raw.tolist()]
        np.testing.assert_array_equal(dataset.read_mask("train", index), expected)
    assert dataset.problems() == []


def test_painted_mask_with_an_unknown_colour_is_named(painted_root, save):
    path = painted_root / "val_labels" / "0001_L.png"
    raw = np.array(Image.open(path))
    raw[0, :3] = (1, 2, 3)
    save(path, raw)
    (problem,) = opened("camvid", painted_root).problems()
    assert problem.startswith(f"{path}: mask colours without a class: [1, 2, 3] (3 pixels)")
    save(path, raw[..., 0])
    (problem,) = opened("camvid", painted_root).problems()
    assert "mask has mode L, colours (mode RGB) are expected; put masks of class ids into trainannot" in problem
