"""Folders on the local disk, or at any URI that pyarrow or fsspec knows (s3://, gs://, memory://).

Local files are opened by the operating system itself; only what lies elsewhere goes through pyarrow.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs

_HEADER_BYTES = 64 * 1024


def absolute(place: str | os.PathLike[str]) -> str:
    """A URI as it is; a local path absolute, because workers run in other folders."""
    text = os.fspath(place)
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


def open_file_system(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a folder or URI, and the path on it.

    Raises:
        OSError, ValueError, ImportError, pa.ArrowException: nothing knows the URI, or it cannot be reached.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), uri
    try:
        found: tuple[pafs.FileSystem, str] = pafs.FileSystem.from_uri(uri)
        return found
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        import fsspec

        fs, root = fsspec.core.url_to_fs(uri)
        return pafs.PyFileSystem(pafs.FSSpecHandler(fs)), root


def flush(path: str) -> None:
    """Wait until a local file's bytes are on the disk: one moved into place before can be empty after a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(fs: pafs.FileSystem, path: str, data: bytes | pa.Buffer) -> None:
    """Write a file whole or not at all, in place of what was there.

    Args:
        fs: a put on an object store is atomic by itself; a local file is moved into place.
        path: on it.
        data: of the file.

    Raises:
        OSError: it cannot be written.
    """
    local = isinstance(fs, pafs.LocalFileSystem)
    folder, _, name = path.rpartition("/")
    partial = f"{folder}/.writing-{uuid4().hex[:8]}-{name}" if local else path
    fs.create_dir(folder, recursive=True)
    with fs.open_output_stream(partial) as file:
        file.write(data)
    if local:
        flush(partial)
        fs.move(partial, path)


def first_line(error: BaseException) -> str:
    """An error's message, cut to one line."""
    return (str(error) or type(error).__name__).splitlines()[0]


@dataclass(frozen=True)
class File:
    """A file below a `Folder`; as a string it is its place.

    Attributes:
        folder: that it lies in.
        path: below the folder, with forward slashes.
    """

    folder: Folder
    path: str

    shape = None
    """An image's height and width are not known before it is opened."""

    def __str__(self) -> str:
        return self.folder.place(self.path)

    def open(self, whole: bool = True) -> IO[bytes]:
        """Open it for reading.

        Args:
            whole: all of it will be read; otherwise only some of its beginning, which is then all that is fetched.

        Raises:
            OSError: it is missing (FileNotFoundError) or cannot be read.
        """
        full = self.folder.full(self.path)
        if self.folder.local:
            return open(full, "rb")
        file = self.folder.fs.open_input_file(full)
        if not whole:
            buffered: Any = io.BufferedReader(file, _HEADER_BYTES)
            return buffered
        with file:
            return io.BytesIO(file.read())


class Folder:
    """A folder whose files are read and written by their relative paths; pickles, and opens the same place again.

    Args:
        place: folder or URI.

    Attributes:
        uri: the place, absolute where it is local.
        local: whether the operating system itself opens its files.

    Raises:
        OSError, ValueError, ImportError, pa.ArrowException: nothing knows the URI, or it cannot be reached.
    """

    def __init__(self, place: str | os.PathLike[str]) -> None:
        self.uri = absolute(place)
        self.fs, self.root = open_file_system(self.uri)
        self.local = isinstance(self.fs, pafs.LocalFileSystem)

    def __getstate__(self) -> str:
        return self.uri

    def __setstate__(self, uri: str) -> None:
        self.__init__(uri)  # type: ignore[misc]

    def place(self, path: str = "") -> str:
        """What to tell a person: where a relative path lies."""
        if not path:
            return self.uri
        base = self.uri.partition("?")[0] if "://" in self.uri else self.uri
        return f"{base.rstrip('/')}/{path}"

    def full(self, path: str) -> str:
        """A relative path on the file system."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def below(self, path: str) -> Folder:
        """The folder at a relative path."""
        if not path:
            return self
        _, mark, options = self.uri.partition("?")
        return Folder(f"{self.place(path)}{mark}{options}" if "://" in self.uri else self.place(path))

    def file(self, path: str) -> File:
        """The file at a relative path, which need not be there."""
        return File(self, path)

    def is_folder(self, path: str = "") -> bool:
        """Whether a folder is there."""
        if self.local:
            return os.path.isdir(self.full(path))
        return bool(self.fs.get_file_info(self.full(path)).type == pafs.FileType.Directory)

    def is_file(self, path: str) -> bool:
        """Whether a file is there."""
        if self.local:
            return os.path.isfile(self.full(path))
        return bool(self.fs.get_file_info(self.full(path)).type == pafs.FileType.File)

    def walk(self, path: str = "") -> tuple[list[str], list[OSError]]:
        """All files below a folder, at any depth.

        Returns:
            Their paths relative to it, and the errors of folders that cannot be read.
        """
        if self.local:
            errors: list[OSError] = []
            return list(_walk_local(self.full(path), errors)), errors
        start = len(self.full(path).strip("/")) + 1
        try:
            found = self.fs.get_file_info(pafs.FileSelector(self.full(path), recursive=True, allow_not_found=True))
        except OSError as error:
            return [], [OSError(error.errno, first_line(error), self.place(path))]
        return sorted(one.path.strip("/")[start:] for one in found if one.type == pafs.FileType.File), []

    def names(self) -> list[str]:
        """What lies directly in the folder, sorted; nothing where it is missing.

        Raises:
            OSError: it cannot be read.
        """
        found = self.fs.get_file_info(pafs.FileSelector(self.root, allow_not_found=True))
        return sorted(one.base_name for one in found)

    def read_bytes(self, path: str) -> bytes:
        """A whole file.

        Raises:
            OSError: it is missing (FileNotFoundError) or cannot be read.
        """
        with self.file(path).open() as file:
            return file.read()

    def write_bytes(self, path: str, data: bytes | pa.Buffer) -> None:
        """Write a file whole or not at all, in place of what was there (a put on an object store is atomic by itself).

        Raises:
            OSError: it cannot be written.
        """
        write_whole(self.fs, self.full(path), data)

    def delete(self, path: str) -> None:
        """Remove a file.

        Raises:
            OSError: it is missing or cannot be removed.
        """
        self.fs.delete_file(self.full(path))


def _walk_local(folder: str, errors: list[OSError]) -> Iterator[str]:
    for where, _, files in os.walk(folder, onerror=errors.append, followlinks=True):
        below = os.path.relpath(where, folder).replace(os.sep, "/")
        for file in sorted(files, key=os.fsencode):
            yield file if below == "." else f"{below}/{file}"
