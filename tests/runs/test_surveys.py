from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raylab.config import DataConfig, SyntheticConfig
from raylab.data.fingerprint import FileDigests
from raylab.data.pack import pack_config
from raylab.errors import DataError
from raylab.files import Folder
from raylab.runs.inputs import fingerprint_of
from raylab.runs.surveys import survey_of


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    root = tmp_path / "mine"
    for number, name in enumerate("abc"):
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 10, 3), 90 + number, np.uint8)).save(root / f"images/{name}.png")
        Image.fromarray((np.arange(80).reshape(8, 10) % 2).astype(np.uint8)).save(root / f"masks/{name}.png")
    (root / "dataset.yaml").write_text("classes: [{name: a, id: 0}, {name: b, id: 1}]\nval: [c]\n")
    return DataConfig(name="folder", root=str(root))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files whose pixels were counted."""
    from raylab.data import decode

    found: list[str] = []
    count = decode.count_mask
    monkeypatch.setattr(decode, "count_mask", lambda file, *rest: found.append(str(file)) or count(file, *rest))
    monkeypatch.setattr("raylab.settled.SETTLED", 0)
    return found


@pytest.mark.parametrize("packed", [False, True])
def test_what_was_found_is_kept_under_the_storage_root(data, tmp_path, looks, packed):
    if packed:
        pack_config(data, str(tmp_path / "packed"), lambda line: None)
        data = data.model_copy(update={"root": str(tmp_path / "packed")})
    store = Folder(str(tmp_path / "results"))
    first = survey_of(data, store)
    assert first is not None
    assert {split: found.labelled for split, found in first.splits.items()} == {"train": 160, "val": 80}
    assert len(looks) == 3
    assert survey_of(data, store) == first
    assert len(looks) == 3


@pytest.mark.parametrize("harm", [b"{", b"[]", b'{"of": 1, "files": {}}', None])
def test_what_was_kept_and_is_damaged_is_found_again(data, tmp_path, looks, harm):
    store = Folder(str(tmp_path / "results"))
    first = survey_of(data, store)
    (name,) = store.list("surveys")
    kept = store.read_json(f"surveys/{name}")
    for fact in kept["files"].values():
        fact[2][0] = "8"
    store.write_bytes(f"surveys/{name}", json.dumps(kept).encode() if harm is None else harm)
    assert survey_of(data, store) == first
    assert len(looks) == 6


def test_a_set_with_questions_is_refused(data, tmp_path):
    Path(str(data.root), "dataset.yaml").write_text(
        "classes: [{name: a, id: 0}, {name: b, id: 1}, {name: c, id: 2}]\nval: [c]\n"
    )
    with pytest.raises(DataError, match=r"the class 'c' occurs in no mask.*`absent: \[c\]`"):
        survey_of(data, Folder(str(tmp_path / "results")))


def test_hashes_that_tell_copies_apart_are_kept_for_the_fingerprint(data, tmp_path, monkeypatch):
    monkeypatch.setattr("raylab.settled.SETTLED", 0)
    store, read, find = Folder(str(tmp_path / "results")), [], FileDigests.find
    monkeypatch.setattr(FileDigests, "find", lambda self, path, file: read.append(path) or find(self, path, file))
    survey_of(data, store)
    assert sorted(read) == ["images/a.png", "images/b.png", "images/c.png"]  # all of one size
    fingerprint = fingerprint_of(data, store)
    assert sorted(read[3:]) == ["masks/a.png", "masks/b.png", "masks/c.png"]
    assert fingerprint == fingerprint_of(data)
    Path(str(data.root), "images/c.png").write_bytes(Path(str(data.root), "images/a.png").read_bytes())
    with pytest.raises(DataError, match=r"val are in train too, byte for byte: 1 \(images/c\.png is images/a\.png"):
        survey_of(data, store)


def test_generated_scenes_are_not_looked_at():
    assert survey_of(DataConfig(synthetic=SyntheticConfig(train_images=1, val_images=1))) is None


def test_a_set_that_is_packed_again_is_looked_at_again(data, tmp_path):
    """Sizes, paths and the root are the same, masks are not: a fault goes, and one that comes is seen."""
    store, mask = Folder(str(tmp_path / "results")), Path(str(data.root), "masks/a.png")
    packed, right = data.model_copy(update={"root": str(tmp_path / "packed")}), mask.read_bytes()

    def pack(value: int) -> None:
        mask.write_bytes(right)
        if value:
            Image.fromarray(np.full((8, 10), value, np.uint8)).save(mask)
        shutil.rmtree(tmp_path / "packed", ignore_errors=True)
        pack_config(data, str(tmp_path / "packed"), lambda line: None)

    for _ in range(2):
        pack(7)
        with pytest.raises(DataError, match="mask ids without a class: 7"):
            survey_of(packed, store)
        pack(0)
        assert survey_of(packed, store) is not None
