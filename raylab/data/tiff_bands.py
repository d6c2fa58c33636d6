"""A large TIFF in bands of rows, each a small TIFF of the strips or tiles that hold them, copied as they are."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from raylab.data.image_file import Band, ImageFile
from raylab.errors import DataError
from raylab.files import first_line

_WIDTH, _LENGTH, _ROWS = 256, 257, 278
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets and numbers of bytes
_PIXELS = (254, 256, 258, 259, 262, 266, 274, 277, 284, 292, 317, 320, 322, 323, 338, 339, 347, 529, 530, 531, 532, 700)
"""Tags that say how pixels are stored and shown; what else a file tells, such as where it was taken, is left out."""
_LONG, _LONG8 = 4, 16
_OLD_JPEG, _YCBCR = 6, 6


class _Segments(NamedTuple):
    """How the pixels are stored: `across` strips or tiles hold `rows` rows, in each of `planes`."""

    rows: int
    across: int
    planes: int
    offsets: list[int]
    bytes: list[int]


class TiffBands:
    """The bands of a TIFF's first image.

    Args:
        file: that holds it.
        pixels: of a band at most, unless a single row of strips or tiles has more.

    Attributes:
        tops: first row of each band, and the number of rows at the end.

    Raises:
        DataError: its tags cannot be read.
    """

    def __init__(self, file: ImageFile, pixels: int) -> None:
        import tifffile

        self.file = file
        try:
            with file.open() as content, tifffile.TiffFile(content) as tiff:
                page: Any = tiff.pages[0]
                self._order = tiff.byteorder
                self._length = page.imagelength
                self._tags = {}
                for tag in page.tags:
                    if tag.code in _PIXELS and tag.dtype == _LONG8:
                        self._tags[tag.code] = self._numbers([tag.value])
                    elif tag.code in _PIXELS:
                        content.seek(tag.valueoffset)
                        self._tags[tag.code] = (int(tag.dtype), tag.count, content.read(tag.valuebytecount))
                self._tiled = page.is_tiled
                self._segments = _segments(page, max(1, pixels // page.imagewidth))
        except Exception as error:  # whatever tifffile meets in a damaged file
            raise DataError(f"{file}: does not decode ({first_line(error)}); replace the file") from error
        step = self._segments.rows * max(1, pixels // (page.imagewidth * self._segments.rows))
        self.tops = [*range(0, self._length, step), self._length]

    def file_of(self, band: int) -> ImageFile:
        """A band as a TIFF of its own."""
        rows, across, planes, offsets, sizes = self._segments
        start, end = self.tops[band] // rows, -(-self.tops[band + 1] // rows)
        plane = -(-self._length // rows) * across
        chosen = [at for one in range(planes) for at in range(one * plane + start * across, one * plane + end * across)]
        out = bytearray(8)
        placed = []
        with self.file.open() as content:
            for at in chosen:
                placed.append(len(out))
                content.seek(offsets[at])
                out += content.read(sizes[at])
        tags = dict(self._tags)
        tags[_LENGTH] = self._numbers([self.tops[band + 1] - self.tops[band]])
        if not self._tiled:
            tags[_ROWS] = self._numbers([rows])
        where, how_many = _TILES if self._tiled else _STRIPS
        tags[where] = self._numbers(placed)
        tags[how_many] = self._numbers([sizes[at] for at in chosen])
        return Band(self.file, self._written(out, tags))

    def _numbers(self, values: list[int]) -> tuple[int, int, bytes]:
        return _LONG, len(values), struct.pack(f"{self._order}{len(values)}I", *values)

    def _written(self, out: bytearray, tags: dict[int, tuple[int, int, bytes]]) -> bytes:
        """A file of pixels and tags, which come after them."""
        entries = b""
        for code, (kind, count, value) in sorted(tags.items()):
            if len(value) > 4:
                out += bytes(len(out) % 2)
                at = len(out)
                out += value
                value = struct.pack(f"{self._order}I", at)
            entries += struct.pack(f"{self._order}HHI", code, kind, count) + value.ljust(4, b"\0")
        out += bytes(len(out) % 2)
        mark = b"II" if self._order == "<" else b"MM"
        out[:8] = mark + struct.pack(f"{self._order}HI", 42, len(out))
        return bytes(out + struct.pack(f"{self._order}H", len(tags)) + entries + bytes(4))


def _segments(page: Any, rows: int) -> _Segments:
    """Of a page; a single strip of pixels that are not compressed is cut into strips of so many rows."""
    planes = page.samplesperpixel if int(page.planarconfig) == 2 else 1
    offsets, sizes = list(page.dataoffsets), list(page.databytecounts)
    if int(page.compression) == _OLD_JPEG:
        return _Segments(page.imagelength, 1, planes, offsets, sizes)
    if page.is_tiled:
        return _Segments(page.tilelength, -(-page.imagewidth // page.tilewidth), planes, offsets, sizes)
    of_strip = min(page.rowsperstrip, page.imagelength)
    row_bytes = -(-page.imagewidth * page.bitspersample * page.samplesperpixel // planes // 8)
    plain = int(page.compression) == 1 and int(page.photometric) != _YCBCR
    if plain and rows < of_strip and sizes == [row_bytes * page.imagelength] * planes:
        tops = range(0, page.imagelength, rows)
        return _Segments(
            rows,
            1,
            planes,
            [start + top * row_bytes for start in offsets for top in tops],
            [row_bytes * (min(top + rows, page.imagelength) - top) for _ in offsets for top in tops],
        )
    return _Segments(of_strip, 1, planes, offsets, sizes)
