"""What data a data set is: one hash over its class map and the names, sizes and bytes of all its files.

Reading every byte takes minutes on a large set, so the hashes of single files are kept (by whoever asks, see
`raylab.runs.inputs`) and a file is read again only when its size or time of modification is another.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from raylab.data.base import Split
from raylab.data.image_file import ImageFile
from raylab.errors import DataError
from raylab.files import first_line
from raylab.settled import found_once


class Fingerprint:
    """The digest of a data set: for each split `begin`, then `add` for each image and its mask in order.

    Args:
        name: of the data set.
        classes: names of the training classes.
        coding: of the masks (`MaskCoding.key`).
    """

    def __init__(self, name: str, classes: tuple[str, ...], coding: bytes) -> None:
        self._digest = hashlib.sha256(repr((name, classes)).encode() + coding)

    def begin(self, split: Split, files: int) -> None:
        """Begin a split of this many files."""
        self._digest.update(f"{split} {files}".encode())

    def add(self, path: str, size: int, content: bytes) -> None:
        """Add a file by its path below the root, its bytes' number and their SHA-256."""
        name = os.fsencode(path)
        self._digest.update(b"%d %s %d " % (len(name), name, size) + content)

    def hexdigest(self) -> str:
        """The digest of all that was added."""
        return self._digest.hexdigest()


def unreadable(file: object, error: OSError) -> str:
    """A line about a file that cannot be read."""
    return f"{file}: cannot be read ({error.strerror or first_line(error)}); restore the file"


class FileDigests:
    """SHA-256 of files, each read only if it is not known as it is now; may be asked from several threads.

    Args:
        known: by path: bytes, time of modification in nanoseconds, hexadecimal SHA-256.
        progress: called with `fingerprint`, files done, files in all.

    Attributes:
        known: the same, with what was read since.
        read: paths of the files that were read.
    """

    def __init__(
        self, known: Mapping[str, tuple[int, int, str]] | None = None, progress: Callable[..., object] | None = None
    ) -> None:
        self.known = dict(known or {})
        self.progress = progress
        self.read: list[str] = []

    def of(self, path: str, file: ImageFile) -> tuple[int, bytes]:
        """Bytes and SHA-256 of a file.

        Args:
            path: that it is known by.
            file: to be read if it has changed.

        Raises:
            DataError: it is missing or cannot be read.
        """
        sizes: list[int] = []

        def find() -> str:
            size, digest = self.find(path, file)
            sizes.append(size)
            return digest

        try:
            digest = found_once(self.known, path, file.state, find)
        except OSError as error:
            raise DataError(unreadable(file, error)) from error
        return sizes[0] if sizes else self.known[path][0], bytes.fromhex(digest)

    def find(self, path: str, file: ImageFile) -> tuple[int, str]:
        """Read a file that is not known as it is now: its bytes and hexadecimal SHA-256."""
        with file.open() as content:
            readable: Any = content
            digest = hashlib.file_digest(readable, "sha256").hexdigest()
            size = content.seek(0, os.SEEK_END)
        self.read.append(path)
        return size, digest
