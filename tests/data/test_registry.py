"""The contract of a data set, tried on every row of the registry.

A new row needs no test, only a fixture `<name>_root` with at least two training images and one validation image.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raylab.config import DataConfig, SyntheticConfig
from raylab.data import (
    DATASETS,
    IGNORE,
    ClassMap,
    DatasetRow,
    Files,
    IdCoding,
    Layout,
    Nominal,
    SegmentationDataset,
    SyntheticScenes,
    dataset_row,
    find_problems,
    open_dataset,
    register_dataset,
)
from raylab.errors import ConfigError, DataError
from tests.conftest import shared_folder
from tests.data.conftest import ids, picture, save
from tests.data.sets import IN_FILES, assert_equal, dataset_of, opened, packed

SPLITS = ("train", "val")
SCENES = DataConfig(synthetic=SyntheticConfig(train_images=3, val_images=2, height=64, width=96, seed=4))
everywhere = pytest.mark.parametrize("data", ["synthetic", *IN_FILES], indirect=True)
in_files = pytest.mark.parametrize("data", IN_FILES, indirect=True)


# The contract


@everywhere
def test_names_are_sorted_and_each_is_an_image_and_a_mask_of_one_size(data):
    dataset = open_dataset(data)
    assert isinstance(dataset, SegmentationDataset)
    assert dataset.name == data.name
    for split in SPLITS:
        names, sizes = dataset.image_names(split), dataset.image_sizes(split)
        assert names == sorted(set(names), key=str.encode)
        assert names
        assert sizes.dtype == np.int32
        for index, size in enumerate(sizes.tolist()):
            image, mask = dataset.read_image(split, index), dataset.read_mask(split, index)
            assert image.dtype == mask.dtype == np.uint8
            assert image.shape == (*size, 3)
            assert mask.shape == tuple(size)
    assert dataset.problems() == find_problems(data) == []


@everywhere
def test_masks_hold_training_ids_of_several_classes(data):
    dataset = open_dataset(data)
    assert len(dataset.classes.names) == len(dataset.classes.colours) == len(set(dataset.classes.names))
    row = DATASETS[data.name]
    assert row.classes is None or row.classes == dataset.classes
    for split in SPLITS:
        found = {int(v) for k in range(len(dataset.image_names(split))) for v in np.unique(dataset.read_mask(split, k))}
        assert found - {IGNORE} <= set(range(len(dataset.classes)))
        assert len(found - {IGNORE}) > 1


@everywhere
def test_pickles_small_and_reads_the_same_again(data):
    dataset = open_dataset(data)
    dataset.read_image("train", 0)
    blob = pickle.dumps(dataset)
    assert len(blob) < 8000
    again = pickle.loads(blob)
    np.testing.assert_array_equal(again.read_image("val", 0), dataset.read_image("val", 0))
    np.testing.assert_array_equal(again.read_mask("train", 1), dataset.read_mask("train", 1))
    assert again.fingerprint() == dataset.fingerprint()


@in_files
def test_packed_it_is_the_same_data(data, tmp_path):
    other = packed(data, tmp_path / "packed", shard_bytes=100_000, group_bytes=20_000)
    assert_equal(data, other)
    assert find_problems(other) == []
    assert dataset_of(other).source.manifest["fingerprint"] == dataset_of(data).fingerprint()


@in_files
def test_at_a_uri_it_is_the_same_data_raw_and_packed(data, memory, upload, tmp_path):
    remote = data.model_copy(update={"root": upload(Path(data.root))})
    assert_equal(data, remote)
    assert_equal(data, packed(remote, memory.uri_of("packed")))
    assert find_problems(remote) == []


@in_files
@pytest.mark.parametrize("split", SPLITS)
def test_fingerprint_follows_a_pixel_of_a_mask(data, split):
    dataset = dataset_of(data)
    before = dataset.fingerprint()
    file = Path(str(dataset.mask_file(dataset.entries(split)[0])))
    mask = Image.open(file)
    pixels = np.array(mask)
    other = np.argwhere((pixels != pixels[0, 0]).reshape(*pixels.shape[:2], -1).any(axis=2))[0]
    pixels[0, 0] = pixels[tuple(other)]
    changed = Image.fromarray(pixels, mask.mode)
    if mask.mode == "P":
        changed.putpalette(mask.getpalette())
    changed.save(file)
    assert find_problems(data) == []
    assert dataset_of(data).fingerprint() != before


@in_files
def test_a_mask_that_is_missing_is_named(data):
    dataset = dataset_of(data)
    entry = dataset.entries("train")[0]
    file = Path(str(dataset.mask_file(entry)))
    file.unlink()
    with pytest.raises(DataError) as caught:
        open_dataset(data)
    assert any(file.stem in line and entry.name in line for line in caught.value.problems)


@pytest.mark.parametrize("name", [name for name, row in DATASETS.items() if row.nominal])
def test_nominal_sizes_are_those_of_the_real_set(name):
    dataset = opened(name, shared_folder(f"data/{name}"))
    nominal = DATASETS[name].nominal
    assert len(dataset.image_names("train")) == nominal.train_images["train"]
    assert len(dataset.image_names("val")) == nominal.val_images
    assert np.median(dataset.image_sizes("train"), axis=0).tolist() == [nominal.height, nominal.width]


# What a configuration names


@pytest.mark.parametrize("name", [name for name, row in DATASETS.items() if row.generator is None])
def test_root_not_set(name):
    with pytest.raises(DataError, match=rf"^data\.root: the data set '{name}' lies in files; set data\.root"):
        open_dataset(DataConfig(name=name))
    assert len(find_problems(DataConfig(name=name))) == 1


@pytest.mark.parametrize("ask", [dataset_row, open_dataset, find_problems])
def test_unknown_name(ask):
    with pytest.raises(ConfigError, match=r"^data\.name: no data set 'cityscape'; did you mean 'cityscapes'\?$"):
        ask(DataConfig(name="cityscape"))
    with pytest.raises(ConfigError, match=r"^data\.name: no data set 'qqq'; there are synthetic, camvid, "):
        ask(DataConfig(name="qqq"))


@pytest.mark.parametrize("name", ["synthetic", "camvid", "folder"])
def test_list_that_a_data_set_has_not(name, camvid_root):
    with pytest.raises(ConfigError) as caught:
        open_dataset(DataConfig(name=name, root=str(camvid_root), train_list="train_aug"))
    assert str(caught.value) == f"data.train_list: {name} has no list 'train_aug'; choose train"
    with pytest.raises(ConfigError, match=r"voc2012 has no list 'trainaug'; choose train, train_aug, trainval$"):
        dataset_row(DataConfig(name="voc2012", train_list="trainaug"))


def test_generated_scenes_have_the_parameters_of_the_configuration_and_no_root():
    assert open_dataset(SCENES).fingerprint() == SyntheticScenes(3, 2, 64, 96, 4).fingerprint()
    with pytest.raises(ConfigError, match=r"^data\.root: synthetic is generated and lies nowhere; leave the root out$"):
        open_dataset(SCENES.model_copy(update={"root": "data/camvid"}))


# A data set from outside the package

PLUGIN = """
from raylab.data import ClassMap, DatasetRow, Files, IdCoding, Layout, Nominal, register_dataset

classes = ClassMap(("soil", "crop", "weed"), ((90, 60, 30), (0, 160, 0), (200, 0, 0)))
files = Files(Layout("rgb/{split}", "gt/{split}"), IdCoding(ids=(0, 1, 2), ignored=(255,)))
register_dataset("weeds", DatasetRow("weeds: rgb and gt", classes, (files,), nominal=Nominal({"train": 9}, 4, 64, 64)))
"""


@pytest.fixture
def weeds(tmp_path, monkeypatch) -> DataConfig:
    (tmp_path / "weeds_of_a_test.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    __import__("weeds_of_a_test")
    for split in SPLITS:
        for number in range(2):
            save(tmp_path / "weeds" / "rgb" / split / f"{split}{number}.png", picture(number))
            save(tmp_path / "weeds" / "gt" / split / f"{split}{number}.png", ids(number))
    yield DataConfig(name="weeds", root=str(tmp_path / "weeds"))
    DATASETS.remove("weeds")
    del sys.modules["weeds_of_a_test"]


def test_registered_by_a_module_it_is_a_data_set_like_any_other(weeds, tmp_path):
    test_names_are_sorted_and_each_is_an_image_and_a_mask_of_one_size(weeds)
    test_masks_hold_training_ids_of_several_classes(weeds)
    test_pickles_small_and_reads_the_same_again(weeds)
    test_packed_it_is_the_same_data(weeds, tmp_path)
    with pytest.raises(ConfigError, match=r"no data set 'weds'; did you mean 'weeds'"):
        open_dataset(DataConfig(name="weds"))


def test_a_name_is_registered_once(weeds):
    row = DATASETS["weeds"]
    register_dataset("weeds", row)
    other = DatasetRow("another", generator=lambda config: SyntheticScenes())
    for name in ("weeds", "camvid"):
        with pytest.raises(ConfigError, match=f"data set: '{name}' is registered already, as something else"):
            register_dataset(name, other)
    assert DATASETS["weeds"] is row
    for name in ("", " weeds"):
        with pytest.raises(ConfigError, match="cannot be a name"):
            register_dataset(name, other)


def test_a_row_that_cannot_work_is_refused():
    files = (Files(Layout("a/{split}", "b/{split}"), IdCoding((0,), ())),)
    with pytest.raises(ConfigError, match="'x': give one of files, opener and generator"):
        DatasetRow("x", ClassMap(("a",), ((1, 2, 3),)))
    with pytest.raises(ConfigError, match="'x': give one of files, opener and generator"):
        DatasetRow("x", ClassMap(("a",), ((1, 2, 3),)), files, generator=lambda config: SyntheticScenes())
    for row in ({"files": files}, {"generator": lambda config: None, "nominal": Nominal({"train": 1}, 1, 1, 1)}):
        with pytest.raises(ConfigError, match="'x': give classes"):
            DatasetRow("x", **row)
