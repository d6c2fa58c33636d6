"""Folders on the local disk: their files are opened by the operating system itself."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, Any, Literal, NamedTuple, TypeAlias
from uuid import uuid4

import pyarrow as pa

PARTIAL = ".writing-"
"""What the name of a file begins with that is not written to its end yet."""
_STALE_SECONDS = 24 * 60 * 60
"""On a file system without locks, what was last changed as long ago as this is being written no more."""
_PART = 1 << 20
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

Kind = Literal["file", "folder"]
Buffer: TypeAlias = "bytes | memoryview | pa.Buffer"


class Info(NamedTuple):
    """What is known of a file without reading it.

    Attributes:
        size: in bytes.
        modified: when it was written last.
    """

    size: int
    modified: datetime


class Disk:
    """Files by their absolute paths. All methods raise OSError; what they do is told at `raylab.files.Folder`."""

    def __init__(self) -> None:
        self._swept: set[str] = set()

    def kind(self, path: str) -> Kind | None:
        """What is there."""
        try:
            return "folder" if stat.S_ISDIR(os.stat(path).st_mode) else "file"
        except (FileNotFoundError, NotADirectoryError):
            return None

    def is_folder(self, path: str) -> bool:
        """Whether a folder is there."""
        return self.kind(path) == "folder"

    def info(self, path: str) -> Info | None:
        """Size and time of a file; None where there is none."""
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return None if stat.S_ISDIR(found.st_mode) else Info(found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def names(self, path: str) -> list[str]:
        """What lies directly in a folder."""
        try:
            return os.listdir(path)
        except FileNotFoundError:
            return []

    def walk(self, path: str) -> tuple[list[str], list[OSError]]:
        """Files at any depth, relative to the folder, and the errors of folders that cannot be read."""
        errors: list[OSError] = []
        return list(_walk(path, errors)), errors

    def open(self, path: str, whole: bool = True) -> IO[bytes]:
        """Open a file for reading."""
        return open(path, "rb")

    def read(self, path: str) -> bytes:
        """A whole file."""
        with open(path, "rb", buffering=0) as file:
            return file.read()

    def parts(self, path: str) -> Iterator[Buffer]:
        """A file in parts, of which each is gone when the next is asked for."""
        part = memoryview(bytearray(_PART))
        with open(path, "rb", buffering=0) as file:
            while size := file.readinto(part):
                yield part[:size]

    def for_arrow(self, path: str) -> Any:
        """A file as pyarrow reads it fastest."""
        return pa.OSFile(path)

    def write(self, path: str, data: Buffer) -> None:
        """Write a file whole or not at all, in place of what was there."""
        with self._written(path, data) as partial:
            os.replace(partial, path)

    def create(self, path: str, data: Buffer) -> None:
        """Write a file whole, where there is none; the name is given by a hard link, which never replaces."""
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        try:
            with self._written(path, data) as partial:
                os.link(partial, path)
                os.unlink(partial)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Some file systems of USB disks and network shares know no hard links: there the name comes first.
            _write_exclusively(path, data)

    def move(self, path: str, to: str) -> None:
        """Give a file another path."""
        make_folder(os.path.dirname(to))
        os.replace(path, to)

    def delete(self, path: str) -> None:
        """Remove a file or folder, if it is there."""
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(path)

    def way_out(self, error: OSError) -> str:
        """What a person can do about an error."""
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return "correct its permissions"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "free some space"
        if error.errno == errno.EFBIG:
            return "raise the limit on the size of files (ulimit -f)"
        if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST):
            return "move away what lies there, or choose another path"
        return "check the disk, then try again"

    @contextmanager
    def _written(self, path: str, data: Buffer) -> Iterator[str]:
        """The data under another name of the same folder, on the disk, gone if the block fails."""
        folder, name = os.path.split(path)
        make_folder(folder)
        self.sweep(folder)
        with _new_partial(folder, name) as file:
            try:
                _write_through(file, data)
                yield file.name
            except BaseException:
                with suppress(OSError):
                    os.unlink(file.name)
                raise

    def sweep(self, folder: str) -> None:
        """Remove what killed processes left half written in a folder, the first time that it is asked for."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(PARTIAL):
                    with suppress(OSError):  # another process may sweep too
                        _remove_abandoned(entry.path)


def _new_partial(folder: str, name: str) -> IO[bytes]:
    """A new file, held: the kernel lets go of it when this process ends in whatever way."""
    while True:
        file = open(f"{folder}/{PARTIAL}{uuid4().hex[:8]}-{name}", "xb")  # noqa: SIM115
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:  # nobody swept it before it was held
            return file
        file.close()


def _remove_abandoned(path: str) -> None:
    """Remove a file that is half written, unless a process is writing it."""
    with open(path, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            if time.time() - os.fstat(file.fileno()).st_mtime < _STALE_SECONDS:
                return
        os.unlink(path)


def make_folder(path: str) -> None:
    """Make a folder and those it lies in; a file in the way is told as such.

    Raises:
        OSError: it cannot be made.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None


def _write_exclusively(path: str, data: Buffer) -> None:
    with open(path, "xb") as file:
        try:
            _write_through(file, data)
        except BaseException:
            with suppress(OSError):
                os.unlink(path)
            raise


def _write_through(file: IO[bytes], data: Buffer) -> None:
    # Bytes that are not on the disk before the name is there can be lost to a power cut while the name stays.
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _walk(folder: str, errors: list[OSError]) -> Iterator[str]:
    start = len(folder.rstrip("/")) + 1
    seen: set[tuple[int, int]] = set()
    for where, folders, files in os.walk(folder, onerror=errors.append, followlinks=True):
        folders.sort(key=os.fsencode)
        try:
            found = os.stat(where)
        except OSError as error:
            errors.append(error)
            continue
        # Links may lead back to a folder above, or to one that was walked already.
        if (found.st_dev, found.st_ino) in seen:
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        below = where[start:]
        yield from (f"{below}/{file}" for file in files) if below else files
