"""The contents of data and weights: read once, and read again where they have changed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from raylab.config import DataConfig, ModelConfig, PretrainingConfig, RunConfig, SyntheticConfig
from raylab.data import open_dataset
from raylab.data.fingerprint import FileDigests
from raylab.errors import DataError, WeightsError
from raylab.files import Folder
from raylab.runs import Inputs
from raylab.runs.inputs import fingerprint_of, known_inputs, read_inputs, weights_sha256
from raylab.sealed import read_sealed, write_sealed
from tests.data.sets import packed

LONG_AGO = time.time_ns() - 3600 * 10**9


def age(file: Path, nanoseconds: int = LONG_AGO) -> None:
    os.utime(file, ns=(nanoseconds, nanoseconds))


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    """A folder of three images that was written long ago."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for split, names in (("train", "ab"), ("val", "c")):
        for kind, shape in (("images", (8, 8, 3)), ("masks", (8, 8))):
            (root / kind / split).mkdir(parents=True)
            for name in names:
                pixels = rng.integers(0, 2, shape).astype(np.uint8)
                Image.fromarray(pixels).save(root / kind / split / f"{name}.png")
    (root / "dataset.yaml").write_text("classes: [{name: a, id: 0}, {name: b, id: 1}]\n")
    for file in root.rglob("*.png"):
        age(file)
    return DataConfig(name="folder", root=str(root))


class Reads:
    """Counts the files that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[str] = []
        digest = FileDigests.of

        def of(digests: FileDigests, path: str, file: Any) -> tuple[int, bytes]:
            before = len(digests.read)
            result = digest(digests, path, file)
            self.files += digests.read[before:]
            return result

        monkeypatch.setattr(FileDigests, "of", of)

    def take(self) -> set[str]:
        files, self.files = set(self.files), []
        return files


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # one after another, so that none is counted twice
    return Reads(monkeypatch)


def test_files_are_read_once_and_again_where_they_have_changed(tmp_path: Path, data: DataConfig, reads: Reads) -> None:
    store, root = Folder(str(tmp_path / "results")), Path(str(data.root))
    first = fingerprint_of(data, store)
    assert len(reads.take()) == 6
    assert first == open_dataset(data).fingerprint()
    reads.take()
    assert fingerprint_of(data, store) == first
    assert reads.take() == set()

    mask = root / "masks/train/a.png"
    age(mask, LONG_AGO + 5)  # touched, the same bytes
    assert fingerprint_of(data, store) == first
    assert reads.take() == {"masks/train/a.png"}
    pixels = np.asarray(Image.open(mask)).copy()
    pixels[3, 3] ^= 1
    Image.fromarray(pixels).save(mask)
    changed = fingerprint_of(data, store)
    assert changed != first
    assert reads.take() == {"masks/train/a.png"}


def test_a_file_written_a_moment_ago_is_read_again(tmp_path: Path, data: DataConfig, reads: Reads) -> None:
    store, image = Folder(str(tmp_path / "results")), Path(str(data.root)) / "images/val/c.png"
    now = time.time_ns()
    age(image, now)
    first = fingerprint_of(data, store)
    reads.take()
    # Another file of the same size within one tick of the clock: nothing but its bytes tells.
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(bytes(content))
    age(image, now)
    assert fingerprint_of(data, store) != first
    assert reads.take() == {"images/val/c.png"}


def test_hashes_that_were_kept_and_are_damaged_are_worth_nothing(
    tmp_path: Path, data: DataConfig, reads: Reads
) -> None:
    store = Folder(str(tmp_path / "results"))
    first = fingerprint_of(data, store)
    (name,) = store.list("fingerprints")
    path = f"fingerprints/{name}"
    kept = store.read_json(path)
    damaged: list[Any] = [
        {**kept, "root": "/elsewhere"},
        {**kept, "files": {key: [*value[:2], "ab"] for key, value in kept["files"].items()}},
        {**kept, "files": {key: value[:2] for key, value in kept["files"].items()}},
        {"root": kept["root"]},
        [],
    ]
    reads.take()
    for value in damaged:
        store.write_json(path, value)
        assert fingerprint_of(data, store) == first
        assert len(reads.take()) == 6
    store.write_bytes(path, b'{"root": ')
    assert fingerprint_of(data, store) == first
    assert store.read_json(path) == kept


def test_a_packed_set_brings_its_own(tmp_path: Path, data: DataConfig, reads: Reads) -> None:
    raw = fingerprint_of(data)
    pack = packed(data, tmp_path / "packed")
    reads.take()
    assert fingerprint_of(pack) == raw
    assert reads.take() == set()
    # Packed with other classes than are read today: the files tell.
    folder = Folder(str(tmp_path / "packed"))
    manifest = read_sealed(folder, "raylab-pack.json")
    manifest["classes"] = {"x": 0}
    write_sealed(folder, "raylab-pack.json", manifest)
    assert fingerprint_of(pack) == raw
    assert len(reads.take()) == 6


def test_inputs_are_known_without_reading_only_as_long_as_no_file_changes(
    tmp_path: Path, data: DataConfig, reads: Reads
) -> None:
    store, config = Folder(str(tmp_path / "results")), RunConfig(data=data, model=ModelConfig(weights="random"))
    assert known_inputs(config, store) is None
    expected = read_inputs(config, store)
    reads.take()
    assert known_inputs(config, store) == expected
    age(Path(str(data.root)) / "images/train/a.png", LONG_AGO + 1)
    assert known_inputs(config, store) is None
    assert reads.take() == set()


def test_progress_is_told_file_by_file(data: DataConfig) -> None:
    notes: list[tuple[Any, ...]] = []

    class Notes:
        round_index = 0

        def __call__(self, *note: Any) -> None:
            notes.append(note)

    fingerprint_of(data, progress=Notes())
    assert notes == [("fingerprint", done, 6) for done in range(1, 7)]


def test_a_file_that_is_gone_is_named(tmp_path: Path, data: DataConfig) -> None:
    dataset = open_dataset(data)
    gone = Path(str(data.root)) / "masks/train/b.png"
    gone.unlink()
    with pytest.raises(DataError, match=r"masks/train/b\.png: cannot be read \(No such file"):
        dataset.fingerprint()


def test_what_a_run_reads(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"weights")
    scenes = DataConfig(synthetic=SyntheticConfig(seed=4))
    config = RunConfig(model=ModelConfig(weights=str(path)))
    digest = hashlib.sha256(b"weights").hexdigest()
    own, other = open_dataset(DataConfig()).fingerprint(), open_dataset(scenes).fingerprint()
    assert read_inputs(config) == Inputs(own, digest, None)
    pretrained = config.model_copy(update={"pretraining": PretrainingConfig(iterations=3, data=scenes)})
    assert read_inputs(pretrained) == Inputs(own, digest, other)
    for name in ("imagenet", "random", "hub:resnet50.tv_in1k"):
        assert read_inputs(RunConfig(model=ModelConfig(weights=name))).weights is None


def test_weights_are_known_by_their_bytes_wherever_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"weights")
    age(path)
    digest = hashlib.sha256(b"weights").hexdigest()
    remote = f"memory://{uuid4().hex}"
    Folder(remote).write_bytes("w.safetensors", b"weights")
    for uri in (str(path), f"file://{path}", f"{remote}/w.safetensors"):
        assert weights_sha256(uri) == weights_sha256(uri) == digest
    path.write_bytes(b"others!")  # as many bytes
    assert weights_sha256(str(path)) == hashlib.sha256(b"others!").hexdigest()
    for missing in (str(tmp_path / "none.safetensors"), f"{remote}/none.safetensors"):
        with pytest.raises(WeightsError, match=r"model\.weights: no file .*none\.safetensors; use 'imagenet'"):
            weights_sha256(missing)
