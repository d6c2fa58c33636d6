"""Where the files of a data set are: a folder, a URI, or a packed set that holds what was in one."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import Protocol

from raylab.data.image_file import ImageFile
from raylab.errors import DataError, MissingError, StoreError
from raylab.files import Folder


class Source(Protocol):
    """What data sets ask of the folder of their files: `raylab.files.Folder`, or a packed set. Pickles small."""

    @property
    def local(self) -> Path | None:
        """The folder where it is on a disk; None where reading a file costs a request over a network."""
        ...

    @property
    def uri(self) -> str:
        """Of the folder."""
        ...

    def uri_of(self, path: str) -> str:
        """What to tell a person: where a file or folder below lies."""
        ...

    def is_folder(self, path: str = "") -> bool:
        """Whether a folder is there."""
        ...

    def is_file(self, path: str) -> bool:
        """Whether a file is there."""
        ...

    def walk(self, path: str = "") -> tuple[list[str], list[str]]:
        """Files below a folder, relative to it, and a line for each folder that cannot be read."""
        ...

    def file(self, path: str) -> ImageFile:
        """The file at a relative path, which need not be there."""
        ...

    def read_bytes(self, path: str) -> bytes:
        """A whole file.

        Raises:
            MissingError: it is not there.
            StoreError: it cannot be read.
            DataError: the shard that holds it is damaged.
        """
        ...


def open_folder(uri: str | os.PathLike[str], field: str) -> Folder:
    """A folder or URI that a field of the configuration names.

    Raises:
        DataError: the URI cannot be opened.
    """
    try:
        return Folder(uri, create=False, field=field)
    except StoreError as error:
        raise DataError(str(error)) from None


def open_root(root: str | os.PathLike[str] | Source, name: str) -> Source:
    """A data set's root as a source; absolute, because workers change their directory.

    Raises:
        DataError: there is no such folder, or the URI cannot be opened.
    """
    source: Source = open_folder(root, "data.root") if isinstance(root, str | os.PathLike) else root
    try:
        found = source.is_folder()
    except StoreError as error:
        raise DataError(f"data.root: {error}") from None
    if not found:
        raise DataError(f"{source.uri}: no such folder; set data.root to where the data set {name!r} lies")
    return source


def read_text(source: Source, path: str, way_out: str) -> str:
    """A text file of a data set, in UTF-8 or, as its first bytes say, UTF-16.

    Raises:
        DataError: it is missing (the way out is told) or no such text.
    """
    try:
        return as_text(source.read_bytes(path))
    except MissingError:
        raise DataError(f"{source.uri_of(path)}: the file is missing; {way_out}") from None
    except StoreError as error:
        raise DataError(str(error)) from None
    except UnicodeError as error:
        raise DataError(f"{source.uri_of(path)}: cannot be read ({error}); save it as UTF-8 text") from None


def as_text(content: bytes) -> str:
    """Text of a file's bytes: UTF-8, or UTF-16 where a byte-order mark says so; the mark is taken off.

    Raises:
        UnicodeError: they are no such text.
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig")
