"""A storage root that vanishes, fills up or cannot be written to: one typed line, and nothing is left or made."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from raylab.errors import DamagedError, StoreError
from raylab.files import ROOT_MARKER, Folder
from raylab.lease import leased


def test_a_root_that_vanishes_is_not_made_again(tmp_path: Path) -> None:
    root, away = tmp_path / "root", tmp_path / "away"
    store = Folder(str(root)).claim()
    worker = pickle.loads(pickle.dumps(store))
    below = worker.below("runs")
    store.write_bytes("a", b"1")
    root.rename(away)
    root.mkdir()  # what an unmounted share leaves
    for write in (
        lambda: worker.write_bytes("runs/x/b", b"2"),
        lambda: worker.create("runs/x/b", b"2"),
        lambda: below.write_bytes("x/b", b"2"),
        lambda: worker.delete("a"),
        lambda: leased(worker, "task").__enter__(),
        lambda: worker.for_ray("runs"),
    ):
        with pytest.raises(StoreError, match=rf"{ROOT_MARKER} cannot be read: .*: mount or restore it"):
            write()
    assert not list(root.iterdir())
    root.rmdir()
    away.rename(root)
    below.write_bytes("x/b", b"2")
    assert store.read_bytes("runs/x/b") == b"2"


def test_another_root_in_its_stead_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    store = Folder(str(root)).claim()
    root.rename(tmp_path / "away")
    Folder(str(root)).claim()
    with pytest.raises(StoreError, match=rf"{ROOT_MARKER} is another root's; the storage root is not the one"):
        store.write_bytes("a", b"1")


def test_a_root_is_claimed_again_and_by_several_at_once(tmp_path: Path) -> None:
    content = []

    def claim() -> None:
        content.append(Folder(str(tmp_path)).claim().read_bytes(ROOT_MARKER))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(content) == 8
    assert len(set(content)) == 1


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"id": 1}'])
def test_a_damaged_marker_is_told(tmp_path: Path, text: bytes) -> None:
    (tmp_path / ROOT_MARKER).write_bytes(text)
    with pytest.raises(DamagedError, match=ROOT_MARKER):
        Folder(str(tmp_path)).claim()


def test_a_limit_on_file_sizes_leaves_nothing(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StoreError, match=r"big cannot be written \(File too large\); raise the limit"):
            store.write_bytes("big", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not os.listdir(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_full_keeps_what_was_there(small_disk: Path) -> None:
    store = Folder(str(small_disk)).claim()
    store.write_bytes("model", b"old")
    for write in (store.write_bytes, store.create):
        with pytest.raises(StoreError, match=r"cannot be written \(No space left on device\); free some space"):
            write("model" if write == store.write_bytes else "other", b"x" * 100_000)
    assert sorted(os.listdir(small_disk)) == ["model", ROOT_MARKER]
    assert store.read_bytes("model") == b"old"


def test_a_root_that_is_read_only_is_one_line(small_disk: Path) -> None:
    store = Folder(str(small_disk))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for use in (store.claim, lambda: store.write_bytes("a", b""), lambda: leased(store, "task").__enter__()):
        with pytest.raises(StoreError, match=r"cannot be written \(Read-only file system\); correct its permissions"):
            use()
