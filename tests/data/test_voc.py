from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raylab.config import DataConfig
from raylab.data import SegmentationDataset, find_problems
from raylab.errors import DataError
from tests.conftest import shared_folder
from tests.data.sets import opened

INNER = Path("VOCdevkit") / "VOC2012"


def histogram(dataset: SegmentationDataset, split: str) -> np.ndarray:
    masks = [dataset.read_mask(split, index) for index in range(len(dataset.image_names(split)))]
    return sum(np.bincount(mask.ravel(), minlength=256) for mask in masks)


def counted(folder: Path, names: list[str]) -> np.ndarray:
    """Palette indices of the PNGs as they are stored, which in VOC are the training ids and the border's 255."""
    files = [np.asarray(Image.open(folder / f"{name}.png")).ravel() for name in names]
    return np.bincount(np.concatenate(files), minlength=256)


def problems_of(root: Path, **options: str) -> list[str]:
    with pytest.raises(DataError) as caught:
        opened("voc2012", root, **options)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_root_is_found_from_above(voc2012_root, below):
    dataset = opened("voc2012", voc2012_root / below)
    assert isinstance(dataset, SegmentationDataset)
    assert dataset.image_names("train") == ["2007_000032", "2007_000039"]
    assert dataset.image_names("val") == ["2007_000033", "2007_000042"]
    assert dataset.fingerprint() == opened("voc2012", voc2012_root).fingerprint()


def test_pixels_are_those_of_the_palette_and_the_border_never_enters(voc2012_root):
    dataset = opened("voc2012", voc2012_root)
    for split in ("train", "val"):
        found = histogram(dataset, split)
        names = dataset.image_names(split)
        np.testing.assert_array_equal(found, counted(voc2012_root / INNER / "SegmentationClass", names))
        assert found[21:255].sum() == 0
        assert found[255] > 0
    raw = np.asarray(Image.open(voc2012_root / INNER / "SegmentationClass" / "2007_000032.png"))
    assert (dataset.read_mask("train", 0)[raw == 255] == 255).all()
    assert dataset.problems() == []


def test_classes_and_colours_are_vocs():
    from raylab.data.voc import PASCAL_VOC

    assert len(PASCAL_VOC) == 21
    colours = dict(zip(PASCAL_VOC.names, PASCAL_VOC.colours, strict=True))
    assert colours["background"] == (0, 0, 0)
    assert colours["aeroplane"] == (128, 0, 0)
    assert colours["person"] == (192, 128, 128)
    assert colours["tvmonitor"] == (0, 64, 128)


@pytest.mark.parametrize("spelling", ["train_aug", "trainaug"])
def test_augmented_pool_has_masks_of_its_own_and_the_same_validation(voc2012_root, spelling):
    lists = voc2012_root / INNER / "ImageSets" / "Segmentation"
    (lists / "train_aug.txt").rename(lists / f"{spelling}.txt")
    dataset = opened("voc2012", voc2012_root, train_list="train_aug")
    names = dataset.image_names("train")
    assert names == ["2007_000032", "2007_000039", "2008_000001"]
    np.testing.assert_array_equal(
        histogram(dataset, "train"), counted(voc2012_root / INNER / "SegmentationClassAug", names)
    )
    raw = np.asarray(Image.open(voc2012_root / INNER / "SegmentationClassAug" / "2007_000032.png"))
    np.testing.assert_array_equal(dataset.read_mask("train", 0), raw)
    plain = opened("voc2012", voc2012_root)
    assert dataset.image_names("val") == plain.image_names("val")
    np.testing.assert_array_equal(dataset.read_mask("val", 1), plain.read_mask("val", 1))
    assert dataset.fingerprint() != plain.fingerprint()


def test_list_of_pairs_of_paths(voc2012_root):
    file = voc2012_root / INNER / "ImageSets" / "Segmentation" / "train_aug.txt"
    names = file.read_text().split()
    file.write_text("".join(f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png\n" for name in names))
    assert opened("voc2012", voc2012_root, train_list="train_aug").image_names("train") == names


def test_pool_that_is_also_validated_on(voc2012_root):
    (line,) = problems_of(voc2012_root, train_list="trainval")
    assert "trainval.txt: 2 images of the pool are also validated on, by val.txt (2007_000033 the first)" in line
    assert line.endswith("; set data.train_list to train or train_aug")


def test_an_image_that_a_list_names_twice(voc2012_root):
    with (voc2012_root / INNER / "ImageSets" / "Segmentation" / "val.txt").open("a") as file:
        file.write("2007_000042.jpg\n")
    (line,) = problems_of(voc2012_root)
    assert line.endswith("val.txt: '2007_000042' is named 2 times; take all but one out")


def test_all_missing_files_are_named_at_once(voc2012_root):
    inner = voc2012_root / INNER
    (inner / "JPEGImages" / "2007_000032.jpg").unlink()
    (inner / "SegmentationClass" / "2007_000042.png").unlink()
    (inner / "SegmentationClass" / "2007_000039.png").unlink()
    lines = problems_of(voc2012_root)
    assert [line.split(": ")[0].removeprefix(f"{inner}/") for line in lines] == [
        "JPEGImages/2007_000032.jpg", "SegmentationClass/2007_000039.png", "SegmentationClass/2007_000042.png",
    ]  # fmt: skip
    assert all("the file is missing, but ImageSets/Segmentation/" in line for line in lines)


def test_missing_and_empty_lists(voc2012_root, tmp_path):
    lists = voc2012_root / INNER / "ImageSets" / "Segmentation"
    (lists / "train_aug.txt").unlink()
    (lists / "val.txt").write_text("\n")
    missing, empty = problems_of(voc2012_root, train_list="train_aug")
    assert missing.endswith("train_aug.txt: the file is missing; restore it, or set data.train_list to a list that is "
                            "there")  # fmt: skip
    assert empty.endswith("val.txt: the list is empty; restore it")
    (tmp_path / "other").mkdir()
    lines = problems_of(tmp_path / "other")
    assert len(lines) == len(set(lines)) == 4  # two lists, two folders
    assert sum("the folder is missing; create it or correct data.root" in line for line in lines) == 2


def test_mask_with_an_unknown_id_is_named(voc2012_root, save_palette):
    path = voc2012_root / INNER / "SegmentationClass" / "2007_000033.png"
    mask = np.array(Image.open(path))
    mask[3, :4] = 21
    save_palette(path, mask)
    with pytest.raises(DataError, match=rf"{path.name}: mask ids without a class: 21 \(4 pixels"):
        opened("voc2012", voc2012_root).read_mask("val", 0)
    (problem,) = find_problems(DataConfig(name="voc2012", root=str(voc2012_root)))
    assert problem.startswith(f"{path}: mask ids without a class: 21")


def test_mask_in_colours_is_refused(voc2012_root, save, picture):
    save(voc2012_root / INNER / "SegmentationClass" / "2007_000033.png", picture(0, 48, 64))
    (problem,) = opened("voc2012", voc2012_root).problems()
    assert "mask is in colours (mode RGB)" in problem


def test_real_voc():
    root = shared_folder("data/voc2012")
    dataset = opened("voc2012", root)
    assert [len(dataset.image_names(split)) for split in ("train", "val")] == [1464, 1449]
    found = dataset.source.uri  # type: ignore[attr-defined]
    names = dataset.image_names("train")
    np.testing.assert_array_equal(histogram(dataset, "train"), counted(Path(found) / "SegmentationClass", names))


@pytest.mark.parametrize(
    ("names", "line", "encoding"),
    [
        (["2007_000001", "2007_000002", "2007_000003", "2007_000004"], "{}\r\n", "utf-8"),
        (["2007_000001", "2007_000002", "2007_000003", "2007_000004"], "{}\n", "utf-8-sig"),
        (["2007_000001", "2007_000002", "2007_000003", "2007_000004"], "{}\r\n", "utf-16"),
        (["2007_000001", "2007_000002", "2007_000003", "2007_000004"], "{} -1\n", "utf-8"),
        (["2007_000001", "2007_000002", "2007_000003", "2007_000004"], "{}.jpg\n", "utf-8"),
        (["photo 1", "photo 2", "photo 10", "photo"], "  {}  \n", "utf-8"),
        (["photo 1", "photo 2", "photo 10", "photo"], "/JPEGImages/{0}.jpg /SegmentationClass/{0}.png\n", "utf-8"),
        (["site.1", "site.2", "site", "site.x.y"], "{}\n", "utf-8"),
        (["café", "straße", "сцена", "図1"], "{}\n", "utf-16"),
    ],
)
def test_lists_as_editors_and_people_write_them(tmp_path, save, picture, ids, names, line, encoding):
    for number, name in enumerate(names):
        save(tmp_path / "JPEGImages" / f"{name}.jpg", picture(number))
        save(tmp_path / "SegmentationClass" / f"{name}.png", ids(number))
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for split, part in (("train", names[:3]), ("val", names[3:])):
        (lists / f"{split}.txt").write_bytes("".join(map(line.format, part)).encode(encoding))
    dataset = opened("voc2012", tmp_path)
    assert dataset.image_names("train") == sorted(names[:3], key=str.encode)
    assert dataset.image_names("val") == names[3:]
