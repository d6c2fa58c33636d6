"""Data sets at a URI: fsspec's memory file system, which only this process sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFile

from raylab.config import DataConfig
from raylab.data import decode, find_problems, open_dataset
from raylab.errors import DataError
from raylab.files import DataFolder
from tests.data.sets import opened


@pytest.fixture
def remote(camvid_root: Path, upload: Callable[[Path], str]) -> DataConfig:
    return DataConfig(name="camvid", root=upload(camvid_root))


def test_problems_are_told_with_the_uri(remote, memory):
    memory.rm("/data/camvid/trainannot/0001.png")
    memory.pipe("/data/camvid/train/0002.png", b"no image")
    no_mask, broken = find_problems(remote)
    assert no_mask.startswith("memory://data/camvid/train/0001.png: no mask; add memory://data/camvid/trainannot/0001")
    assert broken.startswith("memory://data/camvid/train/0002.png: does not decode (no image format is recognised)")


def test_file_that_vanishes_after_opening(remote, memory):
    dataset = open_dataset(remote)
    memory.rm("/data/camvid/train/0000.png")
    with pytest.raises(DataError, match=r"^memory://data/camvid/train/0000\.png: the file is missing; restore it$"):
        dataset.read_image("train", 0)
    with pytest.raises(DataError, match=r"^memory://data/camvid/train/0000\.png: the file is missing; restore it$"):
        dataset.image_sizes("train")


def test_uri_that_leads_nowhere(memory):
    with pytest.raises(DataError, match=r"^memory://data/none: no such folder; set data\.root to the folder of the"):
        opened("camvid", "memory://data/none")
    with pytest.raises(DataError, match=r"^data\.root: nope://data cannot be opened \(.*\); correct it$"):
        opened("camvid", "nope://data")


def test_network_that_fails(remote, memory, monkeypatch):

    def fail(self: DataFolder, path: str = "") -> bool:
        raise OSError("connection reset\nby peer")

    monkeypatch.setattr(DataFolder, "is_file", fail)
    with pytest.raises(DataError) as caught:
        open_dataset(remote)
    assert str(caught.value) == "data.root: memory://data/camvid cannot be read (connection reset); try again"


def test_size_is_read_from_the_header_alone(memory, save, picture, tmp_path, monkeypatch):
    content = save(tmp_path / "image.png", picture(0, 500, 600)).read_bytes()
    memory.pipe("/data/big/image.png", content)
    fetched = []
    read = MemoryFile.read
    monkeypatch.setattr(MemoryFile, "read", lambda self, size=-1: fetched.append(read(self, size)) or fetched[-1])
    file = DataFolder("memory://data/big").file("image.png")
    assert decode.read_size(file) == (500, 600)
    assert 0 < sum(map(len, fetched)) <= 2 * 64 * 1024 < len(content)
    fetched.clear()
    np.testing.assert_array_equal(decode.read_rgb(file), picture(0, 500, 600))
    assert len(fetched) == 1  # one request


@pytest.mark.parametrize("place", ["memory://data/x", "local"])
def test_folder_writes_lists_and_deletes(place, memory, tmp_path):
    folder = DataFolder(str(tmp_path / place) if place == "local" else place)
    assert folder.names() == []
    folder.write_bytes("a/b/c.bin", b"one")
    folder.write_bytes("a/b/c.bin", b"two")
    folder.write_bytes("d.bin", b"three")
    assert folder.names() == ["a", "d.bin"]
    assert folder.walk() == (["d.bin", "a/b/c.bin"] if folder.local else ["a/b/c.bin", "d.bin"], [])
    assert folder.walk("a") == (["b/c.bin"], [])
    assert folder.below("a").read_bytes("b/c.bin") == b"two"
    assert folder.is_folder("a/b")
    assert not folder.is_folder("d.bin")
    assert folder.is_file("d.bin")
    assert not folder.is_file("a")
    folder.delete("d.bin")
    assert not folder.is_file("d.bin")
    with pytest.raises(FileNotFoundError):
        folder.read_bytes("d.bin")


def test_options_of_a_uri_stay_at_its_end(tmp_path):
    folder = DataFolder(f"file://{tmp_path}")
    folder.uri = "s3://bucket/data?region=eu-west-1"
    assert folder.uri_of("a.png") == "s3://bucket/data/a.png"
