from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest

from raylab.cli import main
from raylab.config import DataConfig
from raylab.regions import RegionGrid
from tests.configs import resolved, tiny_run
from tests.conftest import shared_folder
from tests.data.sets import assert_equal, dataset_of, packed


def test_packed_needs_nothing_of_the_raw_set_and_may_move(camvid_root, tmp_path):
    config = DataConfig(name="camvid", root=str(camvid_root))
    fingerprint = dataset_of(config).fingerprint()
    packed(config, tmp_path / "packed")
    camvid_root.rename(tmp_path / "away")
    (tmp_path / "packed").rename(tmp_path / "elsewhere")
    moved = DataConfig(name="camvid", root=str(tmp_path / "elsewhere"))
    assert dataset_of(moved).fingerprint() == fingerprint


def test_packed_set_can_be_packed_again(camvid_root, tmp_path):
    raw = DataConfig(name="camvid", root=str(camvid_root))
    assert_equal(raw, packed(packed(raw, tmp_path / "packed"), f"file://{tmp_path}/again", shard_bytes=1))


def test_split_by_dataset_yaml_is_kept(folder_root, tmp_path):
    root, config = folder_root, DataConfig(name="folder", root=str(folder_root))
    for part in ("images", "masks"):
        for split in ("train", "val"):
            for file in (root / part / split).iterdir():
                file.rename(root / part / file.name)
            (root / part / split).rmdir()
    text = (root / "dataset.yaml").read_text()
    (root / "dataset.yaml").write_text(f"{text}val: [e, a]  # by hand\n")
    assert_equal(config, packed(config, tmp_path / "packed"))


def test_shards_hold_the_bytes_of_the_files_and_are_bounded(camvid_root, tmp_path):
    packed(DataConfig(name="camvid", root=str(camvid_root)), tmp_path / "packed", shard_bytes=40_000, group_bytes=1)
    shards = sorted((tmp_path / "packed" / "shards").iterdir())
    assert [shard.name for shard in shards] == ["train-00000.parquet", "train-00001.parquet", "val-00000.parquet"]
    rows = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
    assert len(rows) == 5
    for row in rows:
        assert row["image"] == (camvid_root / row["image_path"]).read_bytes()
        assert row["mask"] == (camvid_root / row["mask_path"]).read_bytes()
        assert (row["height"], row["width"]) == (64, 64)
    for shard in shards:
        footer = pq.read_metadata(shard)
        assert footer.num_row_groups == footer.num_rows  # one image can be read alone
        assert shard.stat().st_size < 50_000


def test_reads_one_row_group_of_one_column(camvid_root, tmp_path, monkeypatch):
    other = packed(DataConfig(name="camvid", root=str(camvid_root)), tmp_path / "packed", group_bytes=1)
    dataset = dataset_of(other)
    asked = []
    read = pq.ParquetFile.read_row_group

    def noted(self: pq.ParquetFile, group: int, columns: list[str], **options: object) -> object:
        asked.append((group, columns))
        return read(self, group, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    dataset.image_sizes("train")
    dataset.read_mask("train", 1)
    assert asked == [(1, ["mask"])]


def test_pickles_small_and_is_read_in_a_forked_process(camvid_root, tmp_path):
    dataset = dataset_of(packed(DataConfig(name="camvid", root=str(camvid_root)), tmp_path / "packed"))
    image = dataset.read_image("val", 0)
    blob = pickle.dumps(dataset)
    assert len(blob) < 4000
    np.testing.assert_array_equal(pickle.loads(blob).read_image("val", 0), image)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        again = pool.apply_async(dataset.read_mask, ("val", 1)).get(60)
    np.testing.assert_array_equal(again, dataset.read_mask("val", 1))


def test_training_sees_the_same_crops(camvid_root, tmp_path):
    from raylab.training.crops import Crops
    from raylab.training.job import training_job

    def crops(data: DataConfig) -> list[tuple[np.ndarray, np.ndarray]]:
        config = tiny_run(data=data)
        regions = RegionGrid(dataset_of(data).image_sizes("train"), config.regions.size)
        drawn = Crops(training_job(config, regions, 11, np.arange(0, 40, 2)), np.zeros(3, np.uint8))
        return [(drawn[k][0].numpy(), drawn[k][1].numpy()) for k in range(8)]

    raw = DataConfig(name="camvid", root=str(camvid_root))
    packed_data = packed(raw, tmp_path / "packed")
    for one, two in zip(crops(raw), crops(packed_data), strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    assert resolved(tiny_run(data=raw)).identity == resolved(tiny_run(data=packed_data)).identity


# The command, and real data


def test_command(camvid_root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--name", "camvid", "--root", camvid_root.name]
    main(["pack", *options, "--output", "packed"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 of 5 images, shards/train-00000.parquet: 0.0 MiB")
    assert lines[-1].startswith("camvid: 3 training and 2 validation images, 0.1 MiB, lie in ")
    assert lines[-1].endswith(f"{tmp_path}/packed; use it as data.root")
    main(["check", "--name", "camvid", "--root", "packed"])
    assert capsys.readouterr().out.endswith("camvid: 3 training and 2 validation images, no problems\n")
    with pytest.raises(SystemExit):
        main(["pack", *options])
    expected = "error: --output is not given; --help says what it is\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("name", ["camvid", "idd_lite"])
def test_real_data(name, tmp_path):
    raw = DataConfig(name=name, root=str(shared_folder(f"data/{name}")))
    assert_equal(raw, packed(raw, tmp_path / "packed"), slice(None, None, 40))
