"""Files under one storage root: a folder, or any URI that pyarrow or fsspec knows (s3://, gs://, memory://).

Every file is written under another name and moved into place where the file system can (on object stores a put
is atomic by itself), so a reader never meets half a file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from raylab.errors import StoreError
from raylab.filesystem import first_line, open_file_system, write_whole


class Store:
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
        return {"storage_path": self.place(path)}

    @property
    def local(self) -> Path | None:
        """The root as a local folder, or None where it is none."""
        return Path(self.root) if isinstance(self.fs, pafs.LocalFileSystem) else None

    def place(self, path: str) -> str:
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
            raise StoreError(f"{self.place(path)} is missing") from None
        except OSError as error:
            raise StoreError(f"{self.place(path)} cannot be read ({first_line(error)})") from None

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file whole or not at all, in place of what was there.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            write_whole(self.fs, self._full(path), data)
        except OSError as error:
            raise StoreError(f"{self.place(path)} cannot be written ({first_line(error)})") from None

    def read_json(self, path: str) -> Any:
        """A JSON file.

        Raises:
            StoreError: it is missing or no JSON.
        """
        try:
            return json.loads(self.read_bytes(path))
        except ValueError as error:  # no JSON, or no UTF-8
            raise StoreError(f"{self.place(path)} is no JSON ({error})") from None

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
            raise StoreError(f"{self.place(path)} is no readable Parquet file ({first_line(error)})") from None

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


def open_at(place: str) -> tuple[Store, str]:
    """The folder that a file at a path or URI lies in, and its name there."""
    scheme, found, path = place.partition("://")
    path, mark, options = path.partition("?") if found else (place, "", "")
    folder, slash, name = path.rpartition("/")
    return Store(f"{scheme}://{folder}{mark}{options}" if found else folder or slash or ".", create=False), name
