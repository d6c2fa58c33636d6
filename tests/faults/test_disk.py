"""A disk that is full at any write, becomes read-only, or vanishes and comes back: one line, and on to the same end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raylab.disk import PARTIAL
from tests.faults.short_run import STEPS, go_on, go_on_in_child, result, said

pytestmark = [pytest.mark.fault, pytest.mark.slow]
PROMISE = "one line and status 2; nothing torn or half written; goes on to the same end"


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, check=False)
    if os.geteuid() or done.returncode:
        pytest.skip(f"only root may mount: {done.stderr.decode().strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(file: Path) -> None:
    """Take all that is free, to the last byte that a file can get."""
    with open(file, "wb", buffering=0) as filler:
        try:
            while filler.write(b"\0" * 2**16):
                pass
        except OSError:
            pass


def check_told(begun: Path, status: int, reason: str) -> None:
    assert status == 2, said(begun)
    assert said(begun).count("\n") == 1
    assert said(begun).startswith("error: ")
    assert reason in said(begun)


def test_no_space_at_every_write(
    undisturbed: list[Any], disk: Path, tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    begun, root, filler, write = tmp_path / "begun", disk / "root", disk / "filler", 1
    while status := go_on_in_child(root, begun, write, lambda: fill(filler), writes=True):
        check_told(begun, status, "(No space left on device); free some space")
        assert not list(root.rglob(f"{PARTIAL}*"))
        filler.unlink()
        go_on(root, begun)
        assert result(root) == undisturbed
        shutil.rmtree(root)
        write += 1
    tries = write - 1
    assert tries > 15
    again = len(begun.read_text().splitlines()) - STEPS * write
    seen = {"told": tries, "files half written": 0, "ends that differ": 0}
    record_fault("no space left on the disk, at each write of a run", PROMISE, {"writes": tries}, seen, again)


@pytest.mark.parametrize("write", [1, 4, 8])
def test_a_root_that_becomes_read_only(
    undisturbed: list[Any], disk: Path, tmp_path: Path, write: int, record_fault: Callable[..., None]
) -> None:
    begun, root = tmp_path / "begun", disk / "root"
    status = go_on_in_child(root, begun, write, lambda: mount("-o", "remount,ro", str(disk)), writes=True)
    mount("-o", "remount,rw", str(disk))
    check_told(begun, status, "(Read-only file system); correct its permissions")
    go_on(root, begun)
    assert result(root) == undisturbed
    again = len(begun.read_text().splitlines()) - STEPS
    record_fault("the root becomes read-only and writable again", PROMISE, {"times": 1}, {"told": 1}, again)


@pytest.mark.parametrize("operation", [9, 25, 40])
def test_a_root_that_is_unmounted_and_comes_back(
    undisturbed: list[Any], tmp_path: Path, operation: int, record_fault: Callable[..., None]
) -> None:
    begun, root, content = tmp_path / "begun", tmp_path / "root", tmp_path / "content"
    root.mkdir()
    content.mkdir()
    mount("--bind", str(content), str(root))
    try:
        unmount = ["umount", "-l", str(root)]
        status = go_on_in_child(root, begun, operation, lambda: subprocess.run(unmount, check=True))
        assert not list(root.iterdir()), "written into the mount point"
        mount("--bind", str(content), str(root))
        check_told(begun, status, "the storage root is not the one that this began in: mount or restore it")
        go_on(root, begun)
        assert result(root) == undisturbed
        assert not list(root.rglob(f"{PARTIAL}*"))
    finally:
        subprocess.run(["umount", "-l", str(root)], check=False)
    again = len(begun.read_text().splitlines()) - STEPS
    seen = {"told": 1, "files in the mount point": 0}
    record_fault("the root is unmounted and mounted again", PROMISE, {"times": 1}, seen, again)
