"""The shards of packed sets in object stores, on this machine's disk: fetched once a machine, by one request each.

All processes of a machine share them. A shard is named by its SHA-256, which is compared when it is fetched; what is
read of it later is compared by whoever reads it. They lie in the user's cache folder, or in RAYLAB_CACHE, up to
RAYLAB_CACHE_GB gigabytes (20; 0 keeps none): then those go that were not read for longest. Without room, or where the
folder cannot be written to, shards are read from the object store, each image by a request.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

from raylab.errors import ConfigError, DamagedError
from raylab.files import Folder

DEFAULT_GB = 20.0
_FETCHED = "fetched"


def kept(folder: Folder, path: str, sha256: str, size: int) -> tuple[Folder, str]:
    """Where to read a file from: its copy on this machine, fetched if there is none, or itself.

    Args:
        folder: that it lies in; one on a disk needs no copy.
        path: of the file in it.
        sha256: of its bytes.
        size: in bytes.

    Returns:
        A folder, and a path in it. Other processes may remove the copy for want of room.

    Raises:
        MissingError: it is not there.
        DamagedError: it has another SHA-256.
        StoreError: it cannot be read.
        ConfigError: RAYLAB_CACHE_GB is no number of gigabytes.
    """
    place, limit = cache_place()
    if folder.local or size > limit:
        return folder, path
    copy = place / sha256
    try:
        if not _is_whole(copy, size):
            with _only_one(place, sha256):
                if not _is_whole(copy, size):  # nobody else fetched it meanwhile
                    _fetch(folder, path, copy, size, limit)
        with suppress(FileNotFoundError):  # another process has removed it already
            os.utime(copy)
    except OSError as error:
        _warn_once(place, error.strerror or str(error))
        return folder, path
    return Folder(place, create=False), sha256


def forget(sha256: str) -> None:
    """Remove a copy that turned out to be damaged."""
    with suppress(OSError):
        (cache_place()[0] / sha256).unlink()


def cache_place() -> tuple[Path, int]:
    """The folder of the copies, and how many bytes they may take.

    Raises:
        ConfigError: RAYLAB_CACHE_GB is no number of gigabytes.
    """
    text = os.environ.get("RAYLAB_CACHE_GB") or str(DEFAULT_GB)
    try:
        limit = int(float(text) * 1e9)
    except (ValueError, OverflowError):
        raise ConfigError(f"RAYLAB_CACHE_GB: {text!r} is no number of gigabytes; set it to one, such as 20") from None
    named = os.environ.get("RAYLAB_CACHE")
    return (Path(named) if named else user_cache_path("raylab")) / "shards", limit


def _is_whole(copy: Path, size: int) -> bool:
    try:
        return copy.stat().st_size == size
    except FileNotFoundError:
        return False


def _fetch(folder: Folder, path: str, copy: Path, size: int, limit: int) -> None:
    _make_room(copy.parent, limit - size)
    if shutil.disk_usage(copy.parent).free < size:  # else each image that is read would fill the disk in vain
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    partial = copy.with_name(f".{_FETCHED}-{copy.name}")
    try:
        digest = hashlib.sha256()
        with partial.open("wb") as file:
            for part in folder.parts(path):
                file.write(part)
                digest.update(part)
        if digest.hexdigest() != copy.name:
            reason = "its bytes are not those that were packed"
            raise DamagedError(f"{folder.uri_of(path)} is damaged ({reason}); restore it", reason)
        partial.replace(copy)
    finally:
        partial.unlink(missing_ok=True)


def _make_room(place: Path, limit: int) -> None:
    """Remove what was not read for longest, until the rest is within a limit."""
    found = []
    for one in place.iterdir():
        with suppress(FileNotFoundError):  # another process makes room too
            state = one.stat()
            if not one.name.startswith("."):
                found.append((state.st_mtime_ns, state.st_size, one))
    total = sum(size for _, size, _ in found)
    for _, size, one in sorted(found):
        if total <= limit:
            break
        one.unlink(missing_ok=True)  # a process that reads it just now reads on
        total -= size


@contextmanager
def _only_one(place: Path, sha256: str) -> Iterator[None]:
    """Only one process of the machine at a time; given back by the system when it ends."""
    place.mkdir(parents=True, exist_ok=True)
    # Few files for all shards, since a lock whose file is removed is none. Two shards that share one wait in turn.
    with (place / f".lock-{sha256[:2]}").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in place.glob(f".{_FETCHED}-{sha256[:2]}*"):  # by a process that was killed: its lock is held here
            left.unlink(missing_ok=True)
        yield


@cache
def _warn_once(place: Path, reason: str) -> None:
    warnings.warn(
        f"{place} cannot keep shards of packed data ({reason}), so each image is a request to the object store; set "
        "RAYLAB_CACHE to a folder with room, or RAYLAB_CACHE_GB to what there is",
        stacklevel=2,
    )
