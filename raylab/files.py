"""One path class for a folder on a disk and for a URI of an object store (s3://, gs://, az://, memory://).

Object stores are reached by obstore (`raylab.object_store`). Local folders, also those named by file:// URIs, stay with
the operating system (`raylab.disk`): obstore's local store neither waits for bytes to reach the disk nor gives file
handles that image decoders read from, lists no links, and passes every file through its threads.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from raylab.bucket_address import Address, split_uri
from raylab.disk import PARTIAL, Buffer, Disk, make_folder
from raylab.errors import DamagedError, ExistsError, MissingError, NetworkError, StoreError
from raylab.object_store import Bucket, open_bucket, probe
from raylab.settled import found_once

Names = list[str]

ROOT_MARKER = "raylab-root.json"
"""Written where results lie: tells a root from the empty folder that is left of it when its disk is not mounted."""

_digests: dict[str, tuple[int, int, str]] = {}
"""By uri: bytes, time of modification and SHA-256 of files, for as long as the process lives."""


def absolute(path: str | os.PathLike[str]) -> str:
    """A path or URI that means the same in any folder: local paths absolute, URIs of object stores as they are."""
    text = os.fspath(path)
    if text.startswith(("file:///", "file://localhost/")):
        text = unquote(urlsplit(text).path)
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something, without the stop at its end."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__).rstrip(".")


def brought_folder(name: str) -> Path:
    """A folder that comes with raylab: inside the package where it is installed, beside it in a checkout."""
    inside = Path(__file__).parent / name
    return inside if inside.exists() else Path(__file__).parents[1] / name


@dataclass(frozen=True)
class File:
    """A file below a `Folder`; as a string it is its path or URI.

    Attributes:
        folder: that it lies in.
        path: below the folder, with forward slashes.
    """

    folder: Folder
    path: str

    shape = None
    """An image's height and width are not known before it is opened."""

    def __str__(self) -> str:
        return self.folder.uri_of(self.path)

    def state(self) -> tuple[int, int]:
        """Bytes, and time of modification in nanoseconds; see `Folder.state`."""
        return self.folder.state(self.path)

    def open(self, whole: bool = True) -> IO[bytes]:
        """Open it for reading; see `Folder.open`. A pipe, which may never end, or a device is refused as an OSError."""
        mode = os.stat(str(self)).st_mode if self.folder.local else stat.S_IFREG
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "it is a pipe, socket or device", str(self))
        return self.folder.open(self.path, whole)


class Folder:
    """A folder or URI whose files are read and written by their paths below it.

    It pickles as its address, and opens the same folder again: workers get it as an argument. Files whose names begin
    with `.writing-` are being written, or were left by a process that was killed meanwhile: no listing shows them, and
    what was left is removed when another process writes into the folder.

    Args:
        uri: local path, or URI; options follow a question mark (see `raylab.bucket_address`).
        create: it will be written to: make it where it is missing, and see whether it can be reached at all. Without
            it nothing is asked before a file is.
        field: of the configuration that names it, for messages.

    Attributes:
        uri: of the folder; a local path is absolute.
        root: its path on the disk or in the bucket.
        local: the folder where it is on a disk, else None.

    Raises:
        StoreError: it is a file, the URI is not known, or (with `create`) it cannot be made or reached.
    """

    def __init__(self, uri: str | os.PathLike[str], create: bool = True, field: str = "storage") -> None:
        text = absolute(uri)
        prefix = f"{field}: " if field else ""
        try:
            self._settle(*(split_uri(text) if "://" in text else (None, text)))
            # A bucket is asked only by those who will write, and so meet a wrong address before time is spent.
            kind = probe(self._address, self.root) if create and self._address else None
            if self._address is None:
                kind = self._files.kind(self.root)
                if create and kind is None:
                    make_folder(self.root)
        except ValueError as error:
            raise StoreError(f"{prefix}{text} cannot be opened ({first_line(error)}); correct it") from None
        except OSError as error:
            way_out = self._files.way_out(error)
            raise StoreError(f"{prefix}{text} cannot be opened ({_reason(error)}); {way_out}") from None
        if kind == "file":
            raise StoreError(f"{prefix}{text} is a file; give a folder")

    def _settle(self, address: Address | None, root: str, marker: tuple[str, str] | None = None) -> None:
        self._address = address
        self._marker = marker
        self._fence: Callable[[], None] | None = None
        self.root = root
        self._files: Disk | Bucket = Disk() if address is None else open_bucket(address)
        self.local = Path(root) if address is None else None

    def __getstate__(self) -> tuple[Address | None, str, tuple[str, str] | None]:
        return self._address, self.root, self._marker

    def __setstate__(self, state: tuple[Address | None, str, tuple[str, str] | None]) -> None:
        try:
            self._settle(*state)
        except ValueError as error:
            raise StoreError(f"{state} cannot be opened ({first_line(error)}); correct it") from None

    @property
    def uri(self) -> str:
        """See the class."""
        return self.uri_of("")

    def uri_of(self, path: str) -> str:
        """Path or URI of a file or folder below, by which it can be opened too; what people are told."""
        if self._address is None:
            return self.full(path)
        scheme, bucket, options = self._address
        return f"{scheme}://{bucket}/{self.full(path)}".rstrip("/") + (f"?{options}" if options else "")

    def full(self, path: str) -> str:
        """Path of a file or folder below on the disk or in the bucket."""
        return f"{self.root.rstrip('/')}/{path}" if path and self.root else self.root or path

    def below(self, path: str) -> Folder:
        """The folder at a path below."""
        folder = Folder.__new__(Folder)
        folder._settle(self._address, self.full(path), self._marker)
        return folder

    def claim(self) -> Folder:
        """Take it as the root of results, for this process and all that the folder is handed to.

        A root that is used for the first time gets a marker with a random id. From then on nothing is written once the
        marker is gone or another one, as when a network share is unmounted; it is never made again.

        Returns:
            The folder itself.

        Raises:
            StoreError: the folder cannot be written to, or its marker is damaged.
        """
        if not self.is_file(ROOT_MARKER):
            with suppress(ExistsError):  # another process was first
                self.create(ROOT_MARKER, json.dumps({"id": uuid4().hex}).encode())
        found = self.read_json(ROOT_MARKER)
        if not isinstance(found, dict) or not isinstance(found.get("id"), str):
            reason = "it holds no id"
            uri = self.uri_of(ROOT_MARKER)
            raise DamagedError(f"{uri} is damaged ({reason}); remove it, and the next study writes it anew", reason)
        self._marker = (self.full(ROOT_MARKER), found["id"])
        return self

    def check_root(self) -> None:
        """Whether the root that was claimed is still there; nothing is asked of an object store.

        Raises:
            StoreError: its marker is gone or another one.
        """
        if self._marker is None or not self.local:
            return
        path, wanted = self._marker
        try:
            content = self._files.read(path)
            if json.loads(content).get("id") == wanted:
                return
            reason = "is another root's"
        except (OSError, ValueError, AttributeError) as error:
            reason = f"cannot be read: {_reason(error) if isinstance(error, OSError) else first_line(error)}"
        raise StoreError(
            f"{path} {reason}; the storage root is not the one that this began in: mount or restore it, then start the "
            "same command again",
            reason,
        )

    def fenced(self, fence: Callable[[], None]) -> Folder:
        """The same folder, to which steps are committed only by who still holds a lease (`raylab.lease`).

        Args:
            fence: raises where the lease is lost; no part of the folder for workers that it is handed to.
        """
        folder = self.below("")
        folder._fence = fence
        return folder

    def check_fence(self) -> None:
        """Whether this process may commit to the folder.

        Raises:
            LeaseLostError: another process has taken over what it does.
            StoreError: that cannot be found out.
        """
        if self._fence is not None:
            self._fence()

    def file(self, path: str) -> File:
        """The file at a path below, which need not be there."""
        return File(self, path)

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there.

        Raises:
            StoreError: that cannot be found out.
        """
        with self._told(path, "read"):
            return self._files.kind(self.full(path)) is not None

    def is_folder(self, path: str = "") -> bool:
        """Whether a folder is there; see `exists`. In an object store that is a path with files below it."""
        with self._told(path, "read"):
            return self._files.is_folder(self.full(path))

    def is_file(self, path: str) -> bool:
        """Whether a file is there; see `exists`."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Bytes of a file, None where there is none; see `exists`."""
        with self._told(path, "read"):
            info = self._files.info(self.full(path))
        return None if info is None else info.size

    def modified(self, path: str) -> datetime | None:
        """When a file was written, in UTC, None where there is none; see `exists`."""
        with self._told(path, "read"):
            info = self._files.info(self.full(path))
        return None if info is None else info.modified

    def state(self, path: str) -> tuple[int, int]:
        """Bytes of a file, and when it was written, in nanoseconds as exactly as it is known.

        Raises:
            OSError: it is missing (FileNotFoundError) or cannot be asked after.
        """
        if self.local:
            found = os.stat(self.full(path))
            return found.st_size, found.st_mtime_ns
        if (info := self._files.info(self.full(path))) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.uri_of(path))
        return info.size, int(info.modified.timestamp() * 1e6) * 1000

    def list(self, path: str = "") -> Names:
        """Names of what lies directly in a folder, sorted; none where the folder is missing.

        Raises:
            StoreError: it cannot be read.
        """
        with self._told(path, "read"):
            return sorted(name for name in self._files.names(self.full(path)) if not name.startswith(PARTIAL))

    def walk(self, path: str = "") -> tuple[Names, Names]:
        """All files below a folder, at any depth.

        Returns:
            Their paths below that folder, sorted bytewise, and a line for each local folder that cannot be read.

        Raises:
            StoreError: an object store cannot be read.
        """
        with self._told(path, "read"):
            paths, errors = self._files.walk(self.full(path))
        found = [one for one in paths if PARTIAL not in one or not one.rpartition("/")[2].startswith(PARTIAL)]
        lines = [f"{error.filename}: the folder cannot be read ({_reason(error)}); correct its permissions"
                 for error in errors if not isinstance(error, FileNotFoundError)]  # fmt: skip
        return sorted(found, key=os.fsencode), lines

    def open(self, path: str, whole: bool = True) -> IO[bytes]:
        """Open a file for reading.

        Args:
            path: below the folder.
            whole: all of it will be read; otherwise only parts, which is then all that is fetched.

        Raises:
            OSError: it is missing (FileNotFoundError) or cannot be read, as with any file object, now or later.
        """
        return self._files.open(self.full(path), whole)

    def read_bytes(self, path: str, sha256: str | None = None) -> bytes:
        """A whole file.

        Args:
            path: below the folder.
            sha256: that its bytes must have; None takes any.

        Raises:
            MissingError: it is not there.
            DamagedError: it has another SHA-256.
            StoreError: it cannot be read.
        """
        with self._told(path, "read"):
            content = self._files.read(self.full(path))
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise self._other(path)
        return content

    def check(self, path: str, sha256: str) -> None:
        """Compare a file with its SHA-256: once a process, as long as its size and time stay; read in parts.

        Raises:
            MissingError: it is not there.
            DamagedError: it has another SHA-256.
            StoreError: it cannot be read.
        """
        if self.sha256_once(path) != sha256:
            raise self._other(path)

    def sha256_once(self, path: str) -> str:
        """`sha256` of a file, read once a process, as long as its size and time stay; raises as `read_bytes`."""
        with self._told(path, "read"):
            return found_once(_digests, self.uri_of(path), lambda: self.state(path), lambda: self.sha256(path))

    def _other(self, path: str) -> DamagedError:
        reason = "its bytes are not those that were committed"
        return DamagedError(f"{self.uri_of(path)} is damaged ({reason}); restore it", reason)

    def sha256(self, path: str) -> str:
        """Hexadecimal SHA-256 of a file, read in parts; raises as `read_bytes`."""
        digest = hashlib.sha256()
        for part in self.parts(path):
            digest.update(part)
        return digest.hexdigest()

    def parts(self, path: str) -> Iterator[Buffer]:
        """The bytes of a file, in parts of a megabyte about, by one request; raises as `read_bytes`."""
        with self._told(path, "read"):
            yield from self._files.parts(self.full(path))

    def read_json(self, path: str) -> Any:
        """A JSON file.

        Raises:
            MissingError: it is not there.
            DamagedError: it is no JSON.
            StoreError: it cannot be read.
        """
        try:
            return json.loads(self.read_bytes(path))
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested too deep
            reason = f"it is no JSON: {first_line(error)}"
            raise DamagedError(f"{self.uri_of(path)} is no JSON ({first_line(error)}); restore it", reason) from None

    def read_table(self, path: str, sha256: str | None = None, columns: Names | None = None) -> pa.Table:
        """A Parquet file.

        Args:
            path: below the folder.
            sha256: that its bytes must have; None takes any whose pages have the checksums that they carry.
            columns: to decode; None is all.

        Raises:
            MissingError: it is not there.
            DamagedError: it is not what was written.
            StoreError: it cannot be read.
        """
        content = pa.BufferReader(self.read_bytes(path, sha256))
        with self._parquet_told(path, any_error=True):
            # pq.read_table hands the bytes to a thread of Arrow's even when told to use none, and a process that exits
            # while that thread still holds them may abort (see errors.without_teardown).
            table = pq.ParquetFile(content, page_checksum_verification=True).read(columns, use_threads=False)
            if sha256 is None:
                table.validate(full=True)
            return table

    @contextmanager
    def parquet(self, path: str, **options: Any) -> Iterator[pq.ParquetFile]:
        """A Parquet file of which some row groups and columns will be read.

        Args:
            path: below the folder.
            options: of `pyarrow.parquet.ParquetFile`.

        Raises:
            MissingError: it is not there.
            StoreError: what the block reads of it is damaged, or cannot be read.
        """
        with self._told(path, "read"), self._parquet_told(path), self._files.for_arrow(self.full(path)) as file:
            yield pq.ParquetFile(file, page_checksum_verification=True, **options)

    def write_bytes(self, path: str, data: Buffer) -> None:
        """Write a file whole or not at all, in place of what was there.

        Raises:
            StoreError: it cannot be written.
        """
        self.check_root()
        with self._told(path, "written"):
            self._files.write(self.full(path), data)

    def create(self, path: str, data: Buffer) -> None:
        """Write a file whole, where there is none: of several that try at once, one does.

        Raises:
            ExistsError: there is one.
            StoreError: it cannot be written.
        """
        self.check_root()
        with self._told(path, "written"):
            self._files.create(self.full(path), data)

    def add(self, path: str, data: Buffer) -> str:
        """Write a file whole under a name that is free, so that nobody's file is replaced.

        Args:
            path: wanted; where it is taken by other bytes, the next of its `numbered` names.
            data: its bytes.

        Returns:
            The path where they lie now.

        Raises:
            StoreError: it cannot be written.
        """
        for number in count(1):
            name = numbered(path, number)
            try:
                self.create(name, data)
                return name
            except ExistsError:
                # Of an attempt that was killed, or of one whose answer was lost on the way.
                with suppress(MissingError):
                    if self.size(name) == len(memoryview(data)) and self.sha256(name) == _sha256(data):
                        return name
        raise AssertionError  # count does not end

    def write_json(self, path: str, value: Any, create: bool = False) -> None:
        """Write a value as JSON, keys as given; raises as `write_bytes`, also for a number that is not finite.

        Args:
            path: below the folder.
            value: plain JSON values.
            create: write it as `create` does.
        """
        try:
            text = json.dumps(value, allow_nan=False)
        except ValueError as error:
            raise StoreError(f"{self.uri_of(path)} is not written: {error}") from None
        (self.create if create else self.write_bytes)(path, (text + "\n").encode())

    def write_table(self, path: str, table: pa.Table) -> None:
        """Write a Parquet file; raises as `write_bytes`."""
        self.write_bytes(path, parquet_bytes(table))

    def sweep(self, path: str) -> None:
        """Remove what killed processes left half written in a folder; done by itself where something is written."""
        self._files.sweep(self.full(path))

    def move(self, path: str, to: str) -> None:
        """Give a file another path below the folder, in place of what was there.

        Raises:
            StoreError: it cannot be moved.
        """
        self.check_root()
        with self._told(path, "moved"):
            self._files.move(self.full(path), self.full(to))

    def delete(self, path: str) -> None:
        """Remove a file, or a folder with all that lies in it, where it is there.

        Raises:
            StoreError: it cannot be removed.
        """
        self.check_root()
        with self._told(path, "removed"):
            self._files.delete(self.full(path))

    def for_ray(self, path: str) -> dict[str, Any]:
        """A folder below, as the configurations of Ray Train and Ray Tune take it; raises as `check_root`."""
        self.check_root()
        if self._address is None or isinstance(self._files, Disk):
            return {"storage_path": self.full(path)}
        return {
            "storage_path": f"{self._files.name}/{self.full(path)}",
            "storage_filesystem": self._files.arrow(),
        }

    @contextmanager
    def _told(self, path: str, done: str) -> Iterator[None]:
        """Tell errors of a file in one line: which, why, and what to do."""
        try:
            yield
        except FileExistsError:
            raise ExistsError(f"{self.uri_of(path)} exists already; choose another path, or remove it") from None
        except OSError as error:
            if isinstance(error, FileNotFoundError) and done == "read":
                raise MissingError(f"{self.uri_of(path)} is missing; restore it, or correct the path") from None
            if isinstance(error, FileNotFoundError):
                self.check_root()
            reason, way_out = _reason(error), self._files.way_out(error)
            kind = NetworkError if isinstance(error, ConnectionError) else StoreError
            raise kind(f"{self.uri_of(path)} cannot be {done} ({reason}); {way_out}", reason) from None

    @contextmanager
    def _parquet_told(self, path: str, any_error: bool = False) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Bytes in memory that pyarrow cannot read make it raise OSError, UnicodeDecodeError and others; while it
            # reads a file, only its own errors tell damage.
            if not (any_error or isinstance(error, pa.ArrowException)):
                raise
            reason = first_line(error)
            raise DamagedError(f"{self.uri_of(path)} is no readable Parquet file ({reason})", reason) from None


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """A table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def numbered(path: str, number: int) -> str:
    """The name of the n-th file that wanted the same one.

    Example:
        >>> numbered("regions.parquet", 1), numbered("regions.parquet", 2)
        ('regions.parquet', 'regions.2.parquet')
    """
    stem, ending = os.path.splitext(path)
    return path if number == 1 else f"{stem}.{number}{ending}"


def wanted_name(path: str) -> str:
    """What a `numbered` name was to be.

    Example:
        >>> wanted_name("regions.2.parquet"), wanted_name("regions.parquet")
        ('regions.parquet', 'regions.parquet')
    """
    return re.sub(r"\.\d+(?=\.[^./]+$)", "", path)


def _sha256(data: Buffer) -> str:
    return hashlib.sha256(memoryview(data)).hexdigest()


def _reason(error: OSError) -> str:
    return error.strerror or first_line(error)


def open_at(uri: str) -> tuple[Folder, str]:
    """The folder that a file at a path or URI lies in, and its name there.

    Raises:
        StoreError: the URI is not known.
    """
    text, mark, options = absolute(uri).partition("?") if "://" in uri else (absolute(uri), "", "")
    folder, _, name = text.rpartition("/")
    return Folder(f"{folder or '/'}{mark}{options}", create=False, field=""), name
