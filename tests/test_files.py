from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest

from raylab.errors import StoreError
from raylab.files import Folder

TABLE = pa.table({"region_id": pa.array([2, 0, 1]), "phi": pa.array([0.5, 0.25, 0.0])})


@pytest.fixture(params=["folder", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    uris = {"folder": str(tmp_path / "s"), "file": f"file://{tmp_path}/s", "memory": f"memory://{uuid4().hex}"}
    return Folder(uris[request.param])


def test_files_come_back_as_they_were_written(store):
    store.write_bytes("a/b/c.bin", b"\x00\xff")
    store.write_json("a/d.json", {"z": [1, None], "a": "é"})
    store.write_table("a/t.parquet", TABLE)
    assert store.read_bytes("a/b/c.bin") == b"\x00\xff"
    assert store.read_json("a/d.json") == {"z": [1, None], "a": "é"}
    assert list(store.read_json("a/d.json")) == ["z", "a"]
    assert store.read_table("a/t.parquet").equals(TABLE)
    assert store.list("a") == ["b", "d.json", "t.parquet"]
    assert store.size("a/b/c.bin") == 2
    assert store.exists("a/b")
    assert not store.exists("a/x")
    assert store.list("nothing") == []


def test_a_second_write_takes_the_place_of_the_first(store):
    store.write_json("x.json", {"long": "x" * 1000})
    store.write_json("x.json", 1)
    assert store.read_json("x.json") == 1
    assert store.list("") == ["x.json"]


def test_delete_takes_files_and_folders_and_what_is_not_there(store):
    store.write_json("a/x.json", 1)
    store.write_json("a/b/y.json", 1)
    store.delete("a/x.json")
    assert store.list("a") == ["b"]
    store.delete("a")
    assert not store.exists("a")
    store.delete("a")


def test_pickles_to_the_same_root(store):
    store.write_json("x.json", 7)
    other = pickle.loads(pickle.dumps(store))
    assert other.uri == store.uri
    assert other.read_json("x.json") == 7


def test_what_is_missing_or_damaged_names_the_file(store):
    store.write_bytes("bad.json", b'{"a": ')
    store.write_bytes("latin.json", b'"\xe9"')
    store.write_bytes("bad.parquet", b"PAR1 and no more")
    for read, path, reason in (
        (store.read_bytes, "gone", "is missing"),
        (store.read_table, "gone.parquet", "is missing"),
        (store.read_json, "bad.json", "is no JSON"),
        (store.read_json, "latin.json", "is no JSON"),
        (store.read_table, "bad.parquet", "is no readable Parquet file"),
    ):
        with pytest.raises(StoreError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{store.uri_of(path)} {reason}")
        assert "\n" not in str(caught.value)


def test_a_write_that_is_cut_off_leaves_the_old_file_and_is_not_seen(tmp_path, monkeypatch):
    store = Folder(str(tmp_path))
    store.write_json("a/x.json", "old")

    def killed(path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("raylab.files.flush", killed)
    for name in ("x.json", "new.json"):
        with pytest.raises(KeyboardInterrupt):
            store.write_json(f"a/{name}", "new")
    assert len(list((tmp_path / "a").glob(".writing-*"))) == 2
    assert store.list("a") == ["x.json"]
    assert store.read_json("a/x.json") == "old"
    assert not store.exists("a/new.json")


def test_bytes_reach_the_disk_before_the_name_does(tmp_path, monkeypatch):
    store = Folder(str(tmp_path))
    seen = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append((os.fstat(handle).st_size, store.exists("x"))))
    store.write_bytes("x", b"12345")
    assert seen == [(5, False)]


def test_reading_makes_no_folder(tmp_path):
    store = Folder(str(tmp_path / "typo"), create=False)
    assert not store.exists("studies")
    assert store.list("studies") == []
    assert not (tmp_path / "typo").exists()
    store.write_json("x.json", 1)
    assert Folder(str(tmp_path / "typo")).list("") == ["x.json"]
    assert Folder(str(tmp_path / "new")).local.is_dir()


def test_a_local_root_is_absolute_whatever_folder_workers_are_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Folder("results")
    store.write_json("x.json", 1)
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(store)).read_json("x.json") == 1
    assert store.local == tmp_path / "results"
    assert Folder(f"memory://{uuid4().hex}").local is None


@pytest.mark.parametrize("uri", ["nosuchscheme://bucket/x", "s3:/x://y"])
def test_an_address_nobody_knows(uri):
    with pytest.raises(StoreError, match=r"^storage: .* cannot be opened \(.+\)$"):
        Folder(uri)


def test_a_root_that_is_a_file(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(StoreError, match=r"storage: .*/x is a file; give a folder"):
        Folder(str(tmp_path / "x"))


def test_a_place_that_cannot_be_written_or_read(tmp_path):
    store = Folder(str(tmp_path))
    store.write_json("x.json", 1)
    with pytest.raises(StoreError, match=r"x\.json/y cannot be written"):
        store.write_bytes("x.json/y", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"folder cannot be read"):
        store.read_bytes("folder")


_HOLDER = """
import sys, time
from pathlib import Path
from raylab.files import Folder
root = Path(sys.argv[1])
with Folder(str(root)).lock("a task"):
    (root / "held").touch()
    while not (root / "go").exists():
        time.sleep(0.01)
    (root / "first").touch()
"""


def test_a_lock_is_held_by_one_process_and_given_back_with_its_death(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], cwd=Path(__file__).parents[2])
    while not (tmp_path / "held").exists():
        assert holder.poll() is None
        time.sleep(0.01)
    store = Folder(str(tmp_path))
    with store.lock("another task"):
        pass  # which nobody holds
    (tmp_path / "go").touch()
    with store.lock("a task"):
        assert (tmp_path / "first").exists()
    assert holder.wait(timeout=60) == 0


def test_an_object_store_has_no_lock_to_wait_for() -> None:
    with Folder("memory://locks").lock("a task"), Folder("memory://locks").lock("a task"):
        pass


def test_a_place_below_a_uri_with_options_is_an_address() -> None:
    store = Folder.__new__(Folder)
    store.uri = "s3://bucket/raylab?endpoint_override=host:9000&scheme=http"
    assert store.uri_of("a/b.json") == "s3://bucket/raylab/a/b.json?endpoint_override=host:9000&scheme=http"
