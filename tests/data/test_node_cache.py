"""Shards of a packed set on S3, kept on this machine's disk."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from raylab.config import DataConfig
from raylab.data import open_dataset
from raylab.data.node_cache import kept
from raylab.data.packed import PackedFolder
from raylab.errors import ConfigError, DamagedError, DataError
from raylab.files import Folder
from tests.configs import tiny_run
from tests.data.sets import dataset_of, packed
from tests.progress import Silent
from tests.s3 import S3Server

IMAGES = 12


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the copies will lie."""
    monkeypatch.setenv("RAYLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAYLAB_CACHE_GB", "1")
    return tmp_path / "cache/shards"


@pytest.fixture
def bucket(s3: S3Server) -> Folder:
    s3.make_bucket(name := f"bucket-{uuid4().hex}")
    return Folder(s3.uri(name))


@pytest.fixture
def raw(tmp_path: Path) -> DataConfig:
    """Twelve images of 64 x 64 and two more for validation."""
    rng = np.random.default_rng(0)
    root = tmp_path / "raw"
    for index in range(IMAGES + 2):
        split = "train" if index < IMAGES else "val"
        for kind, shape, top in (("images", (64, 64, 3), 256), ("masks", (64, 64), 3)):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, top, shape).astype(np.uint8)).save(root / f"{kind}/{split}/{index}.png")
    (root / "dataset.yaml").write_text("classes: [{name: a, id: 0}, {name: b, id: 1}, {name: c, id: 2}]\n")
    return DataConfig(name="folder", root=str(root))


@pytest.fixture
def remote(raw: DataConfig, bucket: Folder) -> DataConfig:
    """The same, packed into an object store; five row groups of two images and more a shard."""
    return packed(raw, bucket.uri_of("packed"), group_bytes=30_000)


def test_a_thousand_crops_are_a_few_requests(
    remote: DataConfig, raw: DataConfig, bucket: Folder, cache: Path, s3: S3Server
) -> None:
    # Not above, so that the processes of other tests, which import this module, start quickly.
    import torch

    from raylab.training.crops import Crops
    from raylab.training.session import fit_in_process
    from tests.training.jobs import job_of

    job = job_of(tiny_run(data=remote), None)
    before = len(s3.requests())
    # The crops of a thousand; a network's steps between them ask for nothing.
    crops = Crops(job, np.zeros(3, np.uint8))
    assert len([crops[k] for k in range(1000)]) == 1000
    fit_in_process(job, bucket, "round/training", "round/model", torch.device("cpu"), Silent())
    requests = s3.requests()[before:]
    assert sum("/shards/" in one for one in requests) == 2 == len(list(cache.glob("[!.]*")))
    assert len(requests) < 100
    # Another process of this machine reads what is kept.
    before = len(s3.requests())
    for index in range(IMAGES):
        image = open_dataset(remote).read_image("train", index)
        np.testing.assert_array_equal(image, open_dataset(raw).read_image("train", index))
    assert not any("/shards/" in one for one in s3.requests()[before:])


def read_all(root: str) -> None:
    dataset = dataset_of(DataConfig(name="folder", root=root))
    for index in range(IMAGES):
        dataset.read_image("train", index)


def test_processes_that_begin_at_once_fetch_once(remote: DataConfig, cache: Path, s3: S3Server) -> None:
    before = len(s3.requests())
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=read_all, args=(str(remote.root),)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sum("/shards/train" in one for one in s3.requests()[before:]) == 1


def shard_of(config: DataConfig) -> tuple[Folder, str, str, int]:
    source = dataset_of(config).source
    assert isinstance(source, PackedFolder)
    entry = source.manifest["shards"][0]
    return source.folder, entry["path"], entry["sha256"], entry["bytes"]


def test_a_copy_that_changed_is_noticed_and_read_from_the_store(remote: DataConfig, cache: Path) -> None:
    expected = open_dataset(remote).read_image("train", 5)
    copy = cache / shard_of(remote)[2]
    good = copy.read_bytes()
    for content in (bytes(len(good)), good[: len(good) // 2] + bytes(len(good) - len(good) // 2), good[:10]):
        copy.write_bytes(content)
        np.testing.assert_array_equal(open_dataset(remote).read_image("train", 5), expected)
        open_dataset(remote).read_image("train", 6)
        assert copy.read_bytes() == good
    copy.unlink()
    np.testing.assert_array_equal(open_dataset(remote).read_image("train", 5), expected)


def test_a_shard_that_changed_in_the_store_is_not_kept(remote: DataConfig, cache: Path) -> None:
    folder, path, _, _ = shard_of(remote)
    content = bytearray(folder.read_bytes(path))
    content[len(content) // 2] ^= 1
    folder.write_bytes(path, bytes(content))
    with pytest.raises(
        DataError, match=r"train-00000\.parquet\?.*: the shard cannot be read \(its bytes are not those"
    ):
        open_dataset(remote).read_image("train", 0)
    assert [one for one in os.listdir(cache) if not one.startswith(".lock")] == []


def put(bucket: Folder, name: str) -> tuple[str, str, int]:
    content = name.encode() * 1000
    bucket.write_bytes(name, content)
    return name, hashlib.sha256(content).hexdigest(), len(content)


def test_what_was_not_read_for_longest_goes(bucket: Folder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYLAB_CACHE_GB", "0.0000025")  # two and a half of them
    a, b, c = (put(bucket, name) for name in "abc")
    for age, one in ((3, a), (2, b)):
        kept(bucket, *one)
        os.utime(cache / one[1], (1e9 - age, 1e9 - age))
    assert kept(bucket, *a)[0].root == str(cache)
    (cache / f".fetched-{c[1]}").write_bytes(b"left by a process that was killed")
    with bucket_open(kept(bucket, *b)) as reading:  # a file that goes is read to its end
        os.utime(cache / b[1], (1e9, 1e9))
        kept(bucket, *c)
        assert reading.read() == b"b" * 1000
    assert {one for one in os.listdir(cache) if not one.startswith(".lock")} == {a[1], c[1]}
    assert kept(bucket, "a", a[1], 10_000)[0] is bucket  # more than all may take


def bucket_open(place: tuple[Folder, str]):
    return place[0].open(place[1])


def test_without_room_the_store_is_read(bucket: Folder, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file in the way")
    one = put(bucket, "a")
    with pytest.warns(UserWarning, match=r"shards cannot keep shards of packed data \(.*\), .* set RAYLAB_CACHE to"):
        assert kept(bucket, *one) == (bucket, "a")


def test_what_the_disk_has_no_room_for_is_not_fetched(
    bucket: Folder, cache: Path, monkeypatch: pytest.MonkeyPatch, s3: S3Server
) -> None:
    monkeypatch.setenv("RAYLAB_CACHE_GB", "1e9")
    name, sha256, _ = put(bucket, "a")
    before = len(s3.requests())
    with pytest.warns(UserWarning, match=r"cannot keep shards of packed data \(No space left on device\)"):
        assert kept(bucket, name, sha256, 10**17) == (bucket, "a")
    assert len(s3.requests()) == before


def test_a_wrong_digest_or_setting_is_told(bucket: Folder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, size = put(bucket, "a")
    with pytest.raises(DamagedError, match=r"/a\?.* is damaged \(its bytes are not those"):
        kept(bucket, name, "0" * 64, size)
    monkeypatch.setenv("RAYLAB_CACHE_GB", "much")
    with pytest.raises(ConfigError, match=r"^RAYLAB_CACHE_GB: 'much' is no number of gigabytes; set it to one"):
        kept(bucket, name, "0" * 64, size)


def test_a_set_on_a_disk_needs_no_copy(raw: DataConfig, tmp_path: Path, cache: Path) -> None:
    read_all(str(packed(raw, tmp_path / "packed").root))
    assert not cache.exists()
