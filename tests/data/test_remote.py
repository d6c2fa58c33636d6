"""Data sets in object stores."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
from obstore.store import MemoryStore

from raylab.bucket_address import split_uri
from raylab.config import DataConfig
from raylab.data import decode, find_problems, open_dataset
from raylab.data.image_file import read_size
from raylab.errors import DataError
from raylab.files import Folder
from raylab.object_store import Bucket, open_bucket
from tests.data.sets import assert_equal, copied, opened, packed
from tests.s3 import S3Server


@pytest.fixture
def remote(camvid_root: Path, upload: Callable[[Path], str]) -> DataConfig:
    return DataConfig(name="camvid", root=upload(camvid_root))


def test_a_bucket_holds_the_same_data_raw_and_packed(voc2012_root: Path, s3: S3Server) -> None:
    s3.make_bucket(name := f"bucket-{uuid4().hex}")
    bucket = Folder(s3.uri(f"{name}/data"))
    data = DataConfig(name="voc2012", root=str(voc2012_root))
    remote = data.model_copy(update={"root": copied(voc2012_root, bucket)})
    assert_equal(data, remote)
    assert_equal(data, other := packed(remote, bucket.uri_of("packed")))
    assert find_problems(other) == []
    assert pickle.loads(pickle.dumps(open_dataset(other))).fingerprint() == open_dataset(data).fingerprint()


def test_problems_are_told_with_the_uri(remote: DataConfig, memory: Folder) -> None:
    memory.delete("camvid/trainannot/0001.png")
    memory.write_bytes("camvid/train/0002.png", b"no image")
    no_mask, broken = find_problems(remote)
    root = remote.root
    assert no_mask.startswith(f"{root}/train/0001.png: no mask; add {root}/trainannot/0001")
    assert broken.startswith(f"{root}/train/0002.png: does not decode (no image format is recognised)")


def test_file_that_vanishes_after_opening(remote: DataConfig, memory: Folder) -> None:
    dataset = open_dataset(remote)
    memory.delete("camvid/train/0000.png")
    told = re.escape(f"{remote.root}/train/0000.png: the file is missing; restore it")
    with pytest.raises(DataError, match=f"^{told}$"):
        dataset.read_image("train", 0)
    with pytest.raises(DataError, match=f"^{told}$"):
        dataset.image_sizes("train")


def test_uri_that_leads_nowhere(memory: Folder) -> None:
    with pytest.raises(DataError, match=rf"^{memory.uri}/none: no such folder; set data\.root to where"):
        opened("camvid", memory.uri_of("none"))
    with pytest.raises(DataError, match=r"^data\.root: nope://data cannot be opened \(.*\); correct it$"):
        opened("camvid", "nope://data")


def test_bucket_that_is_not_there(s3: S3Server) -> None:
    root = s3.uri("no-such-bucket/data")
    with pytest.raises(DataError) as caught:
        opened("camvid", root)
    (line,) = caught.value.problems
    assert line.startswith(f"data.root: {root} cannot be read (NoSuchBucket: ")
    assert line.endswith("; create the bucket, or correct its name")


def test_network_that_fails(remote: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Bucket, path: str) -> None:
        raise OSError("connection reset\nby peer")

    monkeypatch.setattr(Bucket, "info", fail)
    with pytest.raises(DataError) as caught:
        open_dataset(remote)
    assert str(caught.value) == (
        f"data.root: {remote.root}/raylab-pack.json cannot be read (connection reset); "
        "check the address and the network, then try again"
    )


def test_size_is_read_from_the_header_alone(
    memory: Folder,
    save: Callable[..., Path],
    picture: Callable[..., NDArray[np.uint8]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = save(tmp_path / "image.png", picture(0, 500, 600)).read_bytes()
    requests: list[tuple[int, int] | None] = []

    class Counted(MemoryStore):
        def get(self, path: str, *, options: Any = None) -> Any:
            requests.append(options and options["range"])
            return super().get(path, options=options)

    counted = Counted()
    counted.put(f"{memory.root}/image.png", content)
    monkeypatch.setattr(open_bucket(split_uri(memory.uri)[0]), "store", counted)
    file = memory.file("image.png")
    assert read_size(file) == (500, 600)
    assert requests == [(0, 64 * 1024)]
    assert len(content) > 64 * 1024
    np.testing.assert_array_equal(decode.read_rgb(file), picture(0, 500, 600))
    assert requests[1:] == [None]
