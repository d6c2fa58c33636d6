"""Where the files of a data set are: a folder, a URI, or a packed set that holds what was in one."""

from __future__ import annotations

import os
from typing import Protocol

import pyarrow as pa

from raylab.data.decode import ImageFile
from raylab.errors import DataError
from raylab.files import DataFolder, first_line


class Source(Protocol):
    """What data sets ask of the place of their files: `raylab.files.Folder`, or a packed set. Pickles small.

    Attributes:
        local: whether reading a file costs no request over a network.
    """

    local: bool

    def uri_of(self, path: str = "") -> str:
        """What to tell a person: where a relative path lies."""
        ...

    def is_folder(self, path: str = "") -> bool:
        """Whether a folder is there."""
        ...

    def is_file(self, path: str) -> bool:
        """Whether a file is there."""
        ...

    def walk(self, path: str = "") -> tuple[list[str], list[OSError]]:
        """Files below a folder, relative to it, and the errors of folders that cannot be read."""
        ...

    def file(self, path: str) -> ImageFile:
        """The file at a relative path, which need not be there."""
        ...

    def read_bytes(self, path: str) -> bytes:
        """A whole file.

        Raises:
            OSError: it is missing (FileNotFoundError) or cannot be read.
        """
        ...


def open_folder(place: str | os.PathLike[str], field: str) -> DataFolder:
    """A folder or URI that a field of the configuration names.

    Raises:
        DataError: the URI cannot be opened.
    """
    try:
        return DataFolder(place)
    except (OSError, ValueError, ImportError, pa.ArrowException) as error:
        raise DataError(f"{field}: {os.fspath(place)} cannot be opened ({first_line(error)}); correct it") from None


def open_root(root: str | os.PathLike[str] | Source, name: str) -> Source:
    """A data set's root as a source; absolute, because workers change their directory.

    Raises:
        DataError: there is no such folder, or the URI cannot be opened.
    """
    source: Source = open_folder(root, "data.root") if isinstance(root, str | os.PathLike) else root
    try:
        found = source.is_folder()
    except OSError as error:
        raise DataError(f"data.root: {source.uri_of()} cannot be opened ({first_line(error)}); correct it") from None
    if not found:
        raise DataError(f"{source.uri_of()}: no such folder; set data.root to the folder of the {name} data set")
    return source


def read_text(source: Source, path: str, way_out: str) -> str:
    """A text file of a data set.

    Raises:
        DataError: it is missing (the way out is told) or no UTF-8 text.
    """
    try:
        return source.read_bytes(path).decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"{source.uri_of(path)}: the file is missing; {way_out}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source.uri_of(path)}: cannot be read ({first_line(error)}); save it as UTF-8 text") from None
