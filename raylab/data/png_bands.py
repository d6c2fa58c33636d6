"""A large PNG in bands of rows, each a small PNG with the same header, so that no more than one is ever decoded.

A PNG is one compressed stream, whose rows are told by the row above. What is needed to go on from a band (the state of
the decompressor and the row above) is kept, so a later band is reached without its predecessors.
"""

from __future__ import annotations

import io
import struct
import threading
import zlib
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raylab.data.image_file import Band, ImageFile, open_image
from raylab.errors import DataError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # of 8-bit pixels, by their bytes
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_LEVEL = 3
"""Of compression: on a noisy photograph 6 saves 7 % more, and takes several times as long."""


class _State(NamedTuple):
    """Where decompression goes on: before a band."""

    decompressor: Any
    chunk: int
    above: NDArray[np.uint8]


class PngBands:
    """The bands of a PNG without interlacing.

    Args:
        file: that holds it.
        pixels: of a band at most, unless a single row has more.

    Attributes:
        tops: first row of each band, and the number of rows at the end.

    Raises:
        DataError: its chunks cannot be read.
    """

    def __init__(self, file: ImageFile, pixels: int) -> None:
        self.file = file
        with file.open() as content:
            self._read_chunks(content)
        width, height, bits, colour_type = struct.unpack(">IIBB", self._header[:10])
        bits_a_pixel = bits * _CHANNELS[colour_type]
        self._row_bytes = -(-width * bits_a_pixel // 8)
        self._pixel_bytes = max(1, bits_a_pixel // 8)
        self.tops = [*range(0, height, max(1, pixels // width)), height]
        self._states = [_State(zlib.decompressobj(), 0, np.zeros(self._row_bytes, np.uint8))]
        self._lock = threading.Lock()

    def _read_chunks(self, content: IO[bytes]) -> None:
        self._data: list[tuple[int, int]] = []
        self._before, self._after = b"", b""
        content.seek(len(_SIGNATURE))
        while len(head := content.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            at = content.tell()
            if kind == b"IEND":
                return
            if kind == b"IHDR":
                self._header = content.read(length)
            elif kind == b"IDAT":
                self._data.append((at, length))
            elif kind not in _ANIMATION and (not self._data or kind == b"eXIf"):
                # What follows the pixels is told again after each band, for whoever checks it.
                chunk = head + content.read(length + 4)
                self._before, self._after = (
                    (self._before + chunk, self._after) if not self._data else (self._before, self._after + chunk)
                )
            content.seek(at + length + 4)
        raise DataError(f"{self.file}: does not decode (it ends early); replace the file")

    def file_of(self, band: int) -> ImageFile:
        """A band as a PNG of its own, its pixels stored as they are.

        Raises:
            DataError: its pixels do not decode.
        """
        with self._lock:  # one at a time, which bounds the memory too
            start = min(band, len(self._states) - 1)
            with self.file.open() as content:
                for number in range(start, band + 1):
                    rows = self._rows(content, number)
        header = self._header[:4] + struct.pack(">I", len(rows)) + self._header[8:]
        stored = np.zeros((len(rows), 1 + self._row_bytes), np.uint8)
        stored[:, 1:] = rows
        return Band(self.file, _png(header, stored, self._before, self._after))

    def _rows(self, content: IO[bytes], band: int) -> NDArray[np.uint8]:
        """(rows, bytes of a row) of a band, and keep where the next one begins."""
        decompressor, chunk, above = self._states[band]
        decompressor = decompressor.copy()
        count = self.tops[band + 1] - self.tops[band]
        last = band + 2 == len(self.tops)
        try:
            data, chunk = self._decompressed(content, decompressor, chunk, count * (1 + self._row_bytes), last)
        except zlib.error as error:
            raise DataError(f"{self.file}: does not decode ({error}); replace the file") from None
        filtered = np.frombuffer(data, np.uint8).reshape(count, 1 + self._row_bytes)
        rows = self._unfiltered(filtered, above)
        if band + 1 == len(self._states) and not last:
            self._states.append(_State(decompressor, chunk, rows[-1].copy()))
        return rows

    def _decompressed(
        self, content: IO[bytes], decompressor: Any, chunk: int, wanted: int, to_the_end: bool
    ) -> tuple[bytearray, int]:
        """So many bytes from where the decompressor is; to the end, where the stream's checksum is compared."""
        data = bytearray()
        while len(data) < wanted or (to_the_end and not decompressor.eof):
            compressed = decompressor.unconsumed_tail
            if not compressed and chunk < len(self._data):
                at, length = self._data[chunk]
                content.seek(at)
                compressed = content.read(length)
                chunk += 1
            found = decompressor.decompress(compressed, max(1, wanted - len(data)))
            if not found and not compressed:
                if len(data) < wanted:
                    raise DataError(f"{self.file}: does not decode (its pixels end early); replace the file")
                break
            data += found
        return data[:wanted], chunk

    def _unfiltered(self, filtered: NDArray[np.uint8], above: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Rows as they were before PNG's filters, which act on each byte of a pixel apart: so PIL's decoder does it."""
        if not filtered[:, 0].any():
            return filtered[:, 1:]
        size = self._pixel_bytes
        part = size if size <= 4 else size // 2
        width = self._row_bytes // size
        out = np.empty((len(filtered), width, size), np.uint8)
        for start in range(0, size, part):
            rows = np.zeros((len(filtered) + 1, 1 + width * part), np.uint8)
            rows[1:, 0] = filtered[:, 0]
            rows[0, 1:] = above.reshape(width, size)[:, start : start + part].reshape(-1)
            rows[1:, 1:] = (
                filtered[:, 1:].reshape(-1, width, size)[:, :, start : start + part].reshape(len(filtered), -1)
            )
            header = struct.pack(">IIBBBBB", width, len(rows), 8, _COLOUR_TYPE[part], 0, 0, 0)
            with open_image(Band(self.file, _png(header, rows))) as image:
                out[..., start : start + part] = np.asarray(image)[1:].reshape(-1, width, part)
        return out.reshape(len(filtered), self._row_bytes)


def encode_png(values: NDArray[Any]) -> bytes:
    """A PNG of values as data sets read them: (H, W) uint8 or uint16, (H, W, 3) uint8 or uint16."""
    if values.dtype == np.uint16 and values.ndim == 3:  # which PIL does not write
        height, width = values.shape[:2]
        raw = values.astype(">u2").view(np.uint8).reshape(height, width, 6)
        rows = np.ones((height, 1 + 6 * width), np.uint8)  # each byte as what it is above its left neighbour's
        rows[:, 1:] = np.diff(raw, axis=1, prepend=np.zeros((height, 1, 6), np.uint8)).reshape(height, -1)
        return _png(struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0), rows, level=_LEVEL)
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG", compress_level=_LEVEL)
    return content.getvalue()


def _png(header: bytes, rows: NDArray[np.uint8], before: bytes = b"", after: bytes = b"", level: int = 0) -> bytes:
    """A PNG of rows that begin with their filter."""
    data = zlib.compress(rows.data, level)
    return b"".join([_SIGNATURE, _chunk(b"IHDR", header), before, _chunk(b"IDAT", data), after, _chunk(b"IEND", b"")])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
