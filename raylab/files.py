"""Folders on the local disk, or at any URI that pyarrow or fsspec knows (s3://, gs://, memory://).

Local files are opened by the operating system itself; only what lies elsewhere goes through pyarrow.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from raylab.errors import StoreError

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
    """A file below a `DataFolder`; as a string it is its place.

    Attributes:
        folder: that it lies in.
        path: below the folder, with forward slashes.
    """

    folder: DataFolder
    path: str

    shape = None
    """An image's height and width are not known before it is opened."""

    def __str__(self) -> str:
        return self.folder.uri_of(self.path)

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


class DataFolder:
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

    def uri_of(self, path: str = "") -> str:
        """What to tell a person: where a relative path lies."""
        if not path:
            return self.uri
        base = self.uri.partition("?")[0] if "://" in self.uri else self.uri
        return f"{base.rstrip('/')}/{path}"

    def full(self, path: str) -> str:
        """A relative path on the file system."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def below(self, path: str) -> DataFolder:
        """The folder at a relative path."""
        if not path:
            return self
        _, mark, options = self.uri.partition("?")
        return DataFolder(f"{self.uri_of(path)}{mark}{options}" if "://" in self.uri else self.uri_of(path))

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
            return [], [OSError(error.errno, first_line(error), self.uri_of(path))]
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


class Folder:
    """Read and write files below a storage root by relative path; pickles, so that workers open the same root.

    Args:
        uri: a folder or URI.
        create: make the root where it is missing; without it, asking after results leaves no empty folder behind.

    Attributes:
        uri: the root, absolute where it is a local folder.
    """

    def __init__(self, uri: str, create: bool = True) -> None:
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        self._open(create)

    def _open(self, create: bool) -> None:
        try:
            self.fs, self.root = open_file_system(self.uri)
            kind = self.fs.get_file_info(self.root).type
            if create and kind == pafs.FileType.NotFound:
                self.fs.create_dir(self.root, recursive=True)
        except (OSError, ValueError, ImportError, pa.ArrowException) as error:
            raise StoreError(f"storage: {self.uri} cannot be opened ({first_line(error)})") from None
        if kind == pafs.FileType.File:
            raise StoreError(f"storage: {self.uri} is a file; give a folder")

    def __getstate__(self) -> str:
        return self.uri

    def __setstate__(self, uri: str) -> None:
        self.uri = uri
        self._open(create=False)

    def for_ray(self, path: str) -> dict[str, Any]:
        """A folder as Ray's configurations take it; a URI's options are known to its file system only."""
        if "?" in self.uri:
            return {"storage_path": self._full(path), "storage_filesystem": self.fs}
        return {"storage_path": self.uri_of(path)}

    @property
    def local(self) -> Path | None:
        """The root as a local folder, or None where it is none."""
        return Path(self.root) if isinstance(self.fs, pafs.LocalFileSystem) else None

    def uri_of(self, path: str) -> str:
        """What to tell a person: where a relative path lies."""
        base, mark, options = self.uri.partition("?")
        return f"{base.rstrip('/')}/{path}{mark}{options}"

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        return bool(self.fs.get_file_info(self._full(path)).type != pafs.FileType.NotFound)

    def list(self, path: str) -> list[str]:
        """Names in a folder, sorted; none where the folder is missing."""
        selector = pafs.FileSelector(self._full(path), allow_not_found=True)
        names = (info.base_name for info in self.fs.get_file_info(selector))
        return sorted(name for name in names if not name.startswith(".writing-"))

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return int(self.fs.get_file_info(self._full(path)).size or 0)

    def delete(self, path: str) -> None:
        """Remove a file or folder where it is there."""
        kind = self.fs.get_file_info(self._full(path)).type
        if kind == pafs.FileType.Directory:
            self.fs.delete_dir(self._full(path))
        elif kind == pafs.FileType.File:
            self.fs.delete_file(self._full(path))

    def read_bytes(self, path: str) -> bytes:
        """A whole file.

        Raises:
            StoreError: it is not there or cannot be read.
        """
        try:
            with self.fs.open_input_file(self._full(path)) as file:
                return bytes(file.read())
        except FileNotFoundError:
            raise StoreError(f"{self.uri_of(path)} is missing") from None
        except OSError as error:
            raise StoreError(f"{self.uri_of(path)} cannot be read ({first_line(error)})") from None

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file whole or not at all, in place of what was there.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            write_whole(self.fs, self._full(path), data)
        except OSError as error:
            raise StoreError(f"{self.uri_of(path)} cannot be written ({first_line(error)})") from None

    def read_json(self, path: str) -> Any:
        """A JSON file.

        Raises:
            StoreError: it is missing or no JSON.
        """
        try:
            return json.loads(self.read_bytes(path))
        except ValueError as error:  # no JSON, or no UTF-8
            raise StoreError(f"{self.uri_of(path)} is no JSON ({error})") from None

    def write_json(self, path: str, value: Any) -> None:
        """Write a value as JSON, keys as given."""
        self.write_bytes(path, (json.dumps(value) + "\n").encode())

    def read_table(self, path: str) -> pa.Table:
        """A Parquet file.

        Raises:
            StoreError: it is missing or damaged.
        """
        try:
            # With threads, pyarrow 25 now and then aborts a process that exits soon after.
            return pq.read_table(pa.BufferReader(self.read_bytes(path)), use_threads=False)
        except pa.ArrowException as error:
            raise StoreError(f"{self.uri_of(path)} is no readable Parquet file ({first_line(error)})") from None

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Wait until no other process of this machine holds the name, and hold it; given back when the process ends.

        Object stores know no such lock: there two drivers may do the same work, and the later result stays.

        Args:
            name: of what is to be done once.
        """
        if self.local is None:
            yield
            return
        folder = self.local / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / hashlib.sha256(name.encode()).hexdigest()[:16]).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def write_table(self, path: str, table: pa.Table) -> None:
        """Write a Parquet file."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self.write_bytes(path, sink.getvalue().to_pybytes())

    def _full(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}".rstrip("/")


def open_at(place: str) -> tuple[Folder, str]:
    """The folder that a file at a path or URI lies in, and its name there."""
    scheme, found, path = place.partition("://")
    path, mark, options = path.partition("?") if found else (place, "", "")
    folder, slash, name = path.rpartition("/")
    return Folder(f"{scheme}://{folder}{mark}{options}" if found else folder or slash or ".", create=False), name
