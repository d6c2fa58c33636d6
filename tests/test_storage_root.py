"""A storage root that vanishes, fills up or cannot be written to: one typed line, and nothing is left or made."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raylab.disk import LOCKS_BYTES
from raylab.errors import DamagedError, StoreError
from raylab.files import ROOT_MARKER, Folder


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
        lambda: worker.lock("task").__enter__(),
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


def test_a_lock_file_deleted_while_it_is_waited_for_locks_nobody_out(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    inside: list[str] = []
    most = []

    def hold(name: str) -> None:
        with store.lock("task"):
            inside.append(name)
            most.append(len(inside))
            gate.wait(0.2)
            inside.remove(name)

    gate = threading.Event()
    with store.lock("task"):
        waiting = threading.Thread(target=hold, args=("waiting",))
        waiting.start()
        while not os.path.exists(tmp_path / ".locks"):
            pass
        gate.wait(0.2)  # it waits for the file that is deleted now
        for file in (tmp_path / ".locks").iterdir():
            file.unlink()
        later = threading.Thread(target=hold, args=("later",))
    later.start()
    waiting.join()
    later.join()
    assert max(most) == 1


@pytest.mark.fault
@pytest.mark.skipif(not LOCKS_BYTES, reason="this system cannot lock bytes of a file")
def test_nothing_that_is_deleted_below_a_root_gives_a_lock_two_holders(
    tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    held, store = Folder(str(tmp_path)).claim(), Folder(str(tmp_path))
    entered: list[str] = []

    def hold() -> None:
        with store.lock("task"):
            entered.append("second")

    second = threading.Thread(target=hold, daemon=True)
    with held.lock("task"), held.lock("another"):
        second.start()
        for file in tmp_path.iterdir():
            if file.name != ROOT_MARKER:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        second.join(0.3)
        assert not entered
    second.join()
    with held.lock("task"):
        (tmp_path / ROOT_MARKER).unlink()
        Folder(str(tmp_path)).claim()
        with pytest.raises(StoreError, match=rf"{ROOT_MARKER} is another root's"):
            held.write_bytes("a", b"")
    seen = {"second holders": 0}
    record_fault("the files of a lock are deleted while it is held", "one holder at a time", {"deletions": 2}, seen)


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
    for use in (store.claim, lambda: store.write_bytes("a", b""), lambda: store.lock("task").__enter__()):
        with pytest.raises(StoreError, match=r"cannot be written \(Read-only file system\); correct its permissions"):
            use()
