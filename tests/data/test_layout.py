"""Folders and names as people have them: read, or told with the line for dataset.yaml."""

from __future__ import annotations

import os
import unicodedata

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from raylab.config import DataConfig
from raylab.data import find_problems
from raylab.data.folder_spec import MASK_EXTENSIONS
from raylab.errors import DataError
from tests.data.sets import opened, packed

TWO = "classes: [{name: ground, id: 0}, {name: box, id: 1}]\n"
NAMES = {"train": ("a", "b", "c"), "val": ("d", "e")}


def put(path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = (np.arange(48).reshape(6, 8) % 5 == number % 5).astype(np.uint8)
    Image.fromarray(mask if "mask" in str(path).lower() or "ann" in str(path) else mask * (200 - number)).save(path)


@pytest.fixture
def lay(tmp_path):
    """Lays five pairs by the paths that two functions of split and name give."""

    def make(image, mask, text: str = TWO):
        for number, (split, name) in enumerate((split, name) for split, names in NAMES.items() for name in names):
            put(tmp_path / image(split, name), number)
            put(tmp_path / mask(split, name), number)
        (tmp_path / "dataset.yaml").write_text(text)
        return tmp_path

    return make


def problems_of(root) -> list[str]:
    return find_problems(DataConfig(name="folder", root=str(root)))


ADE = {"train": "training", "val": "validation"}
FOUND = {
    "mask_suffix": (
        lambda split, name: f"images/{split}/{name}.png",
        lambda split, name: f"masks/{split}/{name}_mask.png",
        "mask_suffix: _mask",
    ),
    "image_suffix": (
        lambda split, name: f"images/{split}/{name}_rgb.png",
        lambda split, name: f"masks/{split}/{name}.png",
        "image_suffix: _rgb",
    ),
    "a.jpg.png": (
        lambda split, name: f"images/{split}/{name}.jpg",
        lambda split, name: f"masks/{split}/{name}.jpg.png",
        'mask_suffix: ".jpg"',
    ),
    "mmsegmentation": (
        lambda split, name: f"img_dir/{split}/{name}.png",
        lambda split, name: f"ann_dir/{split}/{name}.png",
        "images: img_dir/{split}\nmasks: ann_dir/{split}",
    ),
    "kaggle": (
        lambda split, name: f"{split}/images/{name}.png",
        lambda split, name: f"{split}/masks/{name}.png",
        'images: "{split}/images"\nmasks: "{split}/masks"',
    ),
    "roboflow": (
        lambda split, name: f"{split if split == 'train' else 'valid'}/images/{name}.png",
        lambda split, name: f"{split if split == 'train' else 'valid'}/masks/{name}.png",
        'images: "{split}/images"\nmasks: "{split}/masks"\nsplits: {train: train, val: valid}',
    ),
    "ade20k": (
        lambda split, name: f"images/{ADE[split]}/{name}.jpg",
        lambda split, name: f"annotations/{ADE[split]}/{name}.png",
        "images: images/{split}\nmasks: annotations/{split}\nsplits: {train: training, val: validation}",
    ),
    "ade20k, named as ours": (
        lambda split, name: f"images/{ADE[split]}/{name}.jpg",
        lambda split, name: f"masks/{ADE[split]}/{name}.png",
        "images: images/{split}\nmasks: masks/{split}\nsplits: {train: training, val: validation}",
    ),
    "upper case": (
        lambda split, name: f"Images/{split}/{name}.png",
        lambda split, name: f"Masks/{split}/{name}.png",
        "images: Images/{split}\nmasks: Masks/{split}",
    ),
    "by city": (
        lambda split, name: f"imgs/{split}/ulm/{name}.png",
        lambda split, name: f"labels_mask/{split}/ulm/{name}.png",
        "images: imgs/{split}\nmasks: labels_mask/{split}",
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_one_line_tells_what_was_found_and_its_advice_works(lay, tmp_path_factory, name):
    image, mask, advice = FOUND[name]
    root = lay(image, mask)
    (line,) = problems_of(root)
    for one in advice.splitlines():
        assert f"`{one}`" in line
    assert line.endswith("in dataset.yaml")
    assert "val: 0.2" not in line
    assert yaml.safe_load(advice)
    (root / "dataset.yaml").write_text(f"{TWO}{advice}\n")
    assert problems_of(root) == []
    dataset = opened("folder", root)
    prefix = "ulm/" if name == "by city" else ""
    assert dataset.image_names("val") == [f"{prefix}d", f"{prefix}e"]
    assert (dataset.read_mask("val", 1) == (np.arange(48).reshape(6, 8) % 5 == 4)).all()
    other = packed(DataConfig(name="folder", root=str(root)), tmp_path_factory.mktemp("packed"))
    assert opened("folder", other.root).image_names("train") == dataset.image_names("train")


def test_no_validation_images(lay):
    root = lay(lambda _, name: f"images/train/{name}.png", lambda _, name: f"masks/train/{name}.png")
    (line,) = problems_of(root)
    assert line.endswith(
        "there are no images to validate on, only images/train (5 files, *.png); add a folder images/val with its "
        "masks, or say `images: images/train`, `masks: masks/train` and `val: 0.2` in dataset.yaml"
    )
    (root / "dataset.yaml").write_text(TWO + "images: images/train\nmasks: masks/train\nval: 0.2\n")
    assert problems_of(root) == []


def test_dataset_yml_is_seen(lay):
    root = lay(lambda split, name: f"images/{split}/{name}.png", lambda split, name: f"masks/{split}/{name}.png")
    (root / "dataset.yaml").rename(root / "dataset.yml")
    assert problems_of(root) == [
        f"{root}/dataset.yaml: the file is missing; dataset.yml is there: rename it to dataset.yaml"
    ]


@pytest.mark.parametrize("extension", MASK_EXTENSIONS)
def test_masks_of_every_lossless_format(lay, extension):
    def save(split, name):
        return f"masks/{split}/{name}{'.png' if extension == '.webp' else extension}"

    assert problems_of(lay(lambda split, name: f"images/{split}/{name}.png", save)) == []


def test_masks_of_other_extensions_are_named(lay):
    root = lay(lambda split, name: f"images/{split}/{name}.png", lambda split, name: f"masks/{split}/{name}.jpg")
    told = "*.jpg, but masks are read from .png, .tif, .tiff, .bmp, .webp; save them as PNG (JPEG has changed ids and"
    assert [line.split(" colours)")[0] for line in problems_of(root)] == [
        f"{root}/masks/train: holds 3 {told}",
        f"{root}/masks/val: holds 2 {told}",
    ]
    put(root / "masks/train/a.png", 0)
    assert (
        f"{root}/images/train/b.png: no mask but {root}/masks/train/b.jpg, and JPEG changes ids and colours; add "
        in (problems_of(root)[0])
    )


def test_what_systems_put_among_the_files_is_passed_over(lay):
    root = lay(lambda split, name: f"images/{split}/{name}.png", lambda split, name: f"masks/{split}/{name}.png")
    for file in (".DS_Store", "Thumbs.db", "._a.png", "__MACOSX/._a.png", ".ipynb_checkpoints/a-checkpoint.png",
                 "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", "#recycle/z.png"):  # fmt: skip
        for folder in ("images/train", "masks/val"):
            path = root / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no image")
    assert problems_of(root) == []
    assert opened("folder", root).image_names("train") == ["a", "b", "c"]


def test_composed_and_decomposed_names_pair(lay, tmp_path):
    root = lay(lambda split, name: f"images/{split}/{name}.png", lambda split, name: f"masks/{split}/{name}.png")
    put(root / "images/train" / f"{unicodedata.normalize('NFD', 'café')}.png", 6)
    put(root / "masks/train/café.png", 1)
    assert problems_of(root) == []
    dataset = opened("folder", root)
    assert dataset.image_names("train") == ["a", "b", "c", "café"]
    assert dataset.read_image("train", 3).shape == (6, 8, 3)
    put(root / "images/train/café.png", 6)
    (line,) = problems_of(root)
    assert "has the same name without extension" in line


def test_links_that_lead_back_are_followed_once(lay):
    root = lay(lambda split, name: f"images/{split}/{name}.png", lambda split, name: f"masks/{split}/{name}.png")
    os.symlink(".", root / "images/train/again")
    os.symlink(".", root / "masks/val/again")
    os.symlink("again", root / "masks/val/once")
    assert problems_of(root) == []
    assert opened("folder", root).image_names("train") == ["a", "b", "c"]


def test_names_that_are_no_utf8_are_read(lay):
    root = lay(lambda split, name: f"images/{split}/{name}.png", lambda split, name: f"masks/{split}/{name}.png")
    for kind in ("images", "masks"):
        put(root / f"{kind}.png", 6)
        os.rename(root / f"{kind}.png", os.fsencode(f"{root}/{kind}/train/") + b"\xdf.png")
    assert problems_of(root) == []
    dataset = opened("folder", root)
    assert dataset.image_names("train") == [r"\xdf", "a", "b", "c"]  # what a ledger can hold
    assert dataset.read_mask("train", 0).shape == (6, 8)
    with pytest.raises(DataError, match=r"the file's name is no UTF-8; rename it"):
        packed(DataConfig(name="folder", root=str(root)), root / "packed")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("images: ../other", "images: is no folder below the data set's root; give its path from there"),
        ("masks: /etc", "masks: is no folder below the data set's root"),
        ("masks: ids", "masks: is the folder of the masks; how they are coded is said by `coding: ids`"),
        ("images: 'i/{split}'\nmasks: m", "images, masks: one has {split} in it, the other has not; give both alike"),
        ("splits: {val: train}", "splits: both are the folder 'train'; give two"),
        ("splits: {test: x}", "splits.test"),
        ("mask_extensions: [png]", "mask_extensions[0]: 'png' is no extension; write '.png'"),
        ("bits: 8", "bits: must be greater than or equal to 9"),
        ("bits: 12\nrange: [0, 4095]", "bits, range: both say how images are scaled; take one out"),
        ("range: [9, 9]", "range: [9, 9] is not from a lower to a higher value; correct it"),
    ],
)
def test_keys_about_files_that_cannot_be(lay, line, words):
    root = lay(lambda split, name: f"images/{split}/{name}.png", lambda split, name: f"masks/{split}/{name}.png")
    (root / "dataset.yaml").write_text(TWO + line)
    assert words in problems_of(root)[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_dataset_yaml_in_what_editors_write(lay, encoding):
    root = lay(lambda split, name: f"images/{split}/{name}.png", lambda split, name: f"masks/{split}/{name}.png")
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (root / "dataset.yaml").write_bytes((mark + TWO.replace("\n", "\r\n")).encode(encoding))
    assert problems_of(root) == []


KEYS = ("classes", "ignore", "absent", "coding", "images", "masks", "splits", "mask_suffix", "mask_extensions", "bits",
        "range", "val")  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-1, 300) | st.floats()
VALUES = st.recursive(
    SCALARS | st.sampled_from(["ids", "{split}/x", "..", "~", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "id", "colour"]), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), st.booleans(), st.binary(max_size=30))
def test_any_dataset_yaml_gives_problems_of_one_line(tmp_path, values, valid, junk):
    text = (TWO if valid and "classes" not in values else "") + yaml.safe_dump(values)
    (tmp_path / "dataset.yaml").write_bytes(text.encode() if junk[:1] < b"\x80" else junk)
    lines = problems_of(tmp_path)
    assert lines
    assert all("\n" not in line for line in lines)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_split_list_gives_problems_of_one_line(tmp_path, content):
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        (tmp_path / f"ImageSets/Segmentation/{split}.txt").write_bytes(content)
    lines = find_problems(DataConfig(name="voc2012", root=str(tmp_path)))
    assert lines
    assert all("\n" not in line for line in lines)
