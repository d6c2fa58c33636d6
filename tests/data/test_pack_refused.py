"""What pack refuses, and what is refused as a packed set."""

from __future__ import annotations

import json

import pytest

from raylab.config import DataConfig
from raylab.data import find_problems, open_dataset
from raylab.data.pack import pack_config, pack_dataset
from raylab.errors import DataError
from tests.data.sets import assert_equal, dataset_of, packed


def refusal(config: DataConfig) -> str:
    with pytest.raises(DataError) as caught:
        open_dataset(config)
    (line,) = caught.value.problems
    assert find_problems(config) == [line]
    return line


def test_another_data_set_or_list_is_refused_by_name(voc2012_root, tmp_path):
    other = packed(DataConfig(name="voc2012", root=str(voc2012_root)), tmp_path / "packed")
    pack_root = tmp_path / "packed"
    assert refusal(other.model_copy(update={"name": "cityscapes"})) == (
        f"{pack_root}: packed with data.name 'voc2012', not 'cityscapes'; set data.name to voc2012 or data.root to "
        "another folder"
    )
    assert refusal(other.model_copy(update={"train_list": "train_aug"})).startswith(
        f"{pack_root}: packed with data.train_list 'train', not 'train_aug'; set data.train_list to train"
    )


def test_unfinished_pack_is_no_data_set_and_is_done_anew(camvid_root, tmp_path, monkeypatch):
    raw, pack_root = DataConfig(name="camvid", root=str(camvid_root)), tmp_path / "packed"

    class KilledError(Exception):
        pass

    def killed(line: str) -> None:
        if "train-00001" in line:
            raise KilledError

    with pytest.raises(KilledError):
        pack_dataset(dataset_of(raw), str(pack_root), tell=killed, shard_bytes=1)
    assert sorted(file.name for file in (pack_root / "shards").iterdir()) == [
        "train-00000.parquet",
        "train-00001.parquet",
    ]
    other = raw.model_copy(update={"root": str(pack_root)})
    assert refusal(other) == f"{pack_root}: an unfinished pack (no raylab-pack.json); run raylab pack again"
    assert_equal(raw, packed(raw, pack_root))
    assert sorted(file.name for file in (pack_root / "shards").iterdir()) == [
        "train-00000.parquet",
        "val-00000.parquet",
    ]


def test_finished_pack_and_other_files_are_left_alone(camvid_root, tmp_path):
    raw, pack_root = DataConfig(name="camvid", root=str(camvid_root)), tmp_path / "packed"
    packed(raw, pack_root)
    before = {file: file.stat().st_mtime_ns for file in pack_root.rglob("*")}
    with pytest.raises(DataError, match=r"a packed set lies there already; use it as data\.root, or choose another"):
        packed(raw, pack_root)
    assert {file: file.stat().st_mtime_ns for file in pack_root.rglob("*")} == before
    with pytest.raises(DataError, match=r"holds other files \(train the first\); choose an empty folder as output"):
        packed(raw, camvid_root)


def test_problems_stop_it_before_anything_is_written(camvid_root, tmp_path, save, ids):
    raw, pack_root = DataConfig(name="camvid", root=str(camvid_root)), tmp_path / "packed"
    save(camvid_root / "trainannot" / "0002.png", ids(0, 3, 32, 64))
    with pytest.raises(DataError, match=r"trainannot/0002\.png: mask is 64x32, but its image .* is 64x64"):
        packed(raw, pack_root)
    (camvid_root / "trainannot" / "0001.png").unlink()
    with pytest.raises(DataError, match=r"0001\.png: no mask"):
        packed(raw, pack_root)
    (camvid_root / "train" / "0001.png").unlink()
    (camvid_root / "train" / "0000.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"0000\.png: does not decode"):
        packed(raw, pack_root)
    assert not pack_root.exists()


def test_damage_is_told_shard_by_shard(camvid_root, tmp_path, save, ids):
    mask = ids(0)
    mask[0, 0] = 99
    save(camvid_root / "valannot" / "0001.png", mask)
    pack_root = tmp_path / "packed"
    other = packed(DataConfig(name="camvid", root=str(camvid_root)), pack_root, shard_bytes=1)
    content = bytearray((pack_root / "shards" / "train-00000.parquet").read_bytes())
    content[3000] ^= 1
    (pack_root / "shards" / "train-00000.parquet").write_bytes(content)
    (pack_root / "shards" / "train-00002.parquet").unlink()
    dataset = dataset_of(other)
    with pytest.raises(DataError, match=r"train-00000\.parquet: the shard cannot be read \(.*\); restore it or pack"):
        dataset.read_image("train", 0)
    with pytest.raises(DataError, match=r"train-00002\.parquet: the shard cannot be read \(.*\); restore it or pack"):
        dataset.read_image("train", 2)
    damaged, missing, unknown = find_problems(other)
    assert damaged == (
        f"{pack_root}/shards/train-00000.parquet: the shard cannot be read (its bytes are not those that were packed); "
        "restore it or pack again"
    )
    assert missing.startswith(f"{pack_root}/shards/train-00002.parquet: the shard cannot be read (it is missing)")
    assert unknown.startswith(
        f"{pack_root}/shards/val-00001.parquet (valannot/0001.png): mask ids without a class: 99 (1 pixels"
    )


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        (
            "index.parquet",
            b"PAR1",
            "cannot be read (its bytes are not those that were packed); restore it or pack again",
        ),
        ("raylab-pack.json", b"{", "no manifest of a packed set ("),
        (
            "raylab-pack.json",
            b'{"version": 2}',
            "no manifest of a packed set (it carries no digest); restore it or pack again",
        ),
    ],
)
def test_damaged_manifest_or_index(camvid_root, tmp_path, file, content, line):
    other = packed(DataConfig(name="camvid", root=str(camvid_root)), tmp_path / "packed")
    (tmp_path / "packed" / file).write_bytes(content)
    assert refusal(other).startswith(f"{tmp_path}/packed/{file}: {line}")


def test_manifest_of_another_version(camvid_root, tmp_path):
    other = packed(DataConfig(name="camvid", root=str(camvid_root)), tmp_path / "packed")
    path = tmp_path / "packed" / "raylab-pack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 1}))
    assert refusal(other) == f"{path}: version 1 of the packed format, 2 is read here; pack again"


def test_output_that_cannot_be_written(camvid_root, tmp_path):
    raw = DataConfig(name="camvid", root=str(camvid_root))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"^output: .*file/packed cannot be read \(Not a directory\); .* another path$"):
        packed(raw, tmp_path / "file" / "packed")
    with pytest.raises(DataError, match=r"^output: nope://x cannot be opened \(.*\); correct it$"):
        packed(raw, "nope://x")


def test_generated_scenes_are_not_packed(tmp_path):
    with pytest.raises(DataError, match=r"^data\.name: synthetic is generated, there are no files to pack; choose"):
        pack_config(DataConfig(), str(tmp_path / "packed"), print)
