"""Windows of large images, without holding all of the decoded image: bands of rows are decoded as they are needed.

PNG without interlacing and TIFF are read in bands; images of other formats are one band. What PIL makes of a band is
what it makes of these rows of the whole image, since a band is a file of the same kind.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raylab.data.image_file import ImageFile, Reading, open_image, told_orientation, upright_size
from raylab.data.png_bands import PngBands
from raylab.data.tiff_bands import TiffBands
from raylab.errors import DataError

BLOCK_PIXELS = 2**22
"""Pixels of a large image that are converted at a time, beside those that PIL holds of all of it."""
BAND_PIXELS = 2**22
"""Of a band, unless a row (or, in a TIFF, a row of strips or tiles) has more."""
_CACHE_BYTES = 2**27
"""Of decoded bands that a process keeps: a tile's neighbours in its row are then there. The last one of images
and the last one of masks, which are read in turns, are always kept."""
_FILES = 16
"""Large files whose structure a process keeps."""

Values: TypeAlias = tuple[NDArray[Any], int]
"""What is read of a band: (H, W, ...) values, upright, and a number that goes for the whole file."""


class Window(NamedTuple):
    """A tile of an image, in pixels of the upright image.

    Attributes:
        top: first row.
        left: first column.
        height: rows.
        width: columns.
        whole: height and width of the image.
    """

    top: int
    left: int
    height: int
    width: int
    whole: tuple[int, int]


@dataclass(frozen=True)
class TileFile:
    """A tile of an image file; as a string it is the file and where in it the tile begins.

    Attributes:
        file: that it is a tile of.
        window: where.
    """

    file: ImageFile
    window: Window

    @property
    def shape(self) -> tuple[int, int]:
        """Upright height and width."""
        return self.window.height, self.window.width

    def __str__(self) -> str:
        return f"{self.file}@{self.window.top},{self.window.left}"

    def state(self) -> tuple[int, int] | None:
        """That of the file."""
        return self.file.state()

    def open(self, whole: bool = True) -> IO[bytes]:
        """The whole file."""
        return self.file.open(whole)


class _Bands(Protocol):
    @property
    def tops(self) -> list[int]: ...

    def file_of(self, band: int) -> ImageFile: ...


@dataclass(frozen=True)
class _Whole:
    """An image that is read as one band."""

    file: ImageFile
    tops: list[int]

    def file_of(self, band: int) -> ImageFile:
        return self.file


@dataclass(frozen=True)
class _Opened:
    """What is known of a large file.

    Attributes:
        bands: of it.
        size: upright height and width.
        turned: how its stored rows lie, as EXIF numbers it.
    """

    bands: _Bands
    size: tuple[int, int]
    turned: int


_lock = threading.RLock()
_files: OrderedDict[Any, _Opened] = OrderedDict()
_arrays: OrderedDict[Any, Values] = OrderedDict()


def read_window(tile: TileFile, reading: Reading, kind: str, read: Callable[[ImageFile], Values]) -> Values:
    """Read a tile.

    Args:
        tile: to read.
        reading: how.
        kind: of what is read, that one kind is not taken for another.
        read: reads one band.

    Returns:
        (H, W, ...) values of the tile, upright, and the file's number.

    Raises:
        DataError: the file is missing, does not decode or has another size than the image that it was cut like.
    """
    with _lock:  # one band at a time is decoded in a process
        key = (str(tile.file), tile.file.state(), BAND_PIXELS)
        opened = _kept(_files, key, lambda: _open(tile.file, reading))
        if opened.size != tile.window.whole:
            was, now = ("x".join(map(str, size[::-1])) for size in (tile.window.whole, opened.size))
            raise DataError(
                f"{tile.file}: is {now}, but its image {was} (width x height, upright); save both at one size"
            )
        while len(_files) > _FILES:
            _files.popitem(last=False)
        top, left, height, width = _moved(tile.window[:4], opened.size, opened.turned, back=True)
        out, number, tops = None, 0, opened.bands.tops
        stored_width = opened.size[opened.turned < 5]
        for band in range(len(tops) - 1):
            start, end = max(top, tops[band]), min(top + height, tops[band + 1])
            if start >= end:
                continue
            values, number = _band(key, opened, band, kind, read)
            source = (start - tops[band], left, end - start, width)
            target = (start - top, 0, end - start, width)
            if out is None:
                out = np.empty((tile.window.height, tile.window.width, *values.shape[2:]), values.dtype)
            out[_slices(_moved(target, (height, width), opened.turned))] = values[
                _slices(_moved(source, (tops[band + 1] - tops[band], stored_width), opened.turned))
            ]
        assert out is not None
        return out, number


def _band(key: Any, opened: _Opened, band: int, kind: str, read: Callable[[ImageFile], Values]) -> Values:
    found = _kept(_arrays, (key, kind, band), lambda: read(opened.bands.file_of(band)))
    held = sum(values.nbytes for values, _ in _arrays.values())
    last = {kind: key for key in _arrays for kind in [key[1]]}
    for key in [key for key in _arrays if key not in last.values()]:
        if held <= _CACHE_BYTES:
            break
        held -= _arrays.pop(key)[0].nbytes
    return found


def _kept(kept: OrderedDict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    if key not in kept:
        kept[key] = make()
    kept.move_to_end(key)
    return kept[key]


def _open(file: ImageFile, reading: Reading) -> _Opened:
    with open_image(file, reading, whole=False) as image:
        size = upright_size(image)
        way = told_orientation(image)
        rows = size[way >= 5]
    bands = bands_of(file, image)
    return _Opened(bands or _Whole(file, [0, rows]), size, way)


def bands_of(file: ImageFile, image: Image.Image) -> _Bands | None:
    """The bands of a file, by its header; None where it is only decoded whole.

    Raises:
        DataError: its structure cannot be read.
    """
    if image.format == "PNG" and not image.info.get("interlace"):
        return PngBands(file, BAND_PIXELS)
    if image.format == "TIFF":
        bands = TiffBands(file, BAND_PIXELS)
        return bands if len(bands.tops) > 2 else None
    return None


def _moved(
    window: tuple[int, int, int, int], size: tuple[int, int], turned: int, back: bool = False
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of stored pixels once the image is turned upright; or the way back.

    Args:
        window: to move.
        size: height and width that it is a window of: of the stored image, or, on the way back, of the upright one.
        turned: as EXIF numbers it.
        back: from upright to stored.
    """
    aside = turned >= 5
    if aside and not back:
        window, size = _swapped(window), size[::-1]
    top, left, height, width = window
    if turned in (2, 3, 6, 7):
        left = size[1] - left - width
    if turned in (3, 4, 7, 8):
        top = size[0] - top - height
    window = (top, left, height, width)
    return _swapped(window) if aside and back else window


def _swapped(window: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    top, left, height, width = window
    return left, top, width, height


def _slices(window: tuple[int, int, int, int]) -> tuple[slice, slice]:
    top, left, height, width = window
    return slice(top, top + height), slice(left, left + width)


def blocks(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """A decoded image in parts of whole rows, so that conversions need no further copy of all of it."""
    for rows in row_blocks(image.height, image.width):
        yield rows, image.crop((0, rows.start, image.width, rows.stop))


def row_blocks(height: int, width: int) -> Iterator[slice]:
    """Slices of the rows of an image, each of at most `BLOCK_PIXELS`."""
    step = max(1, BLOCK_PIXELS // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))
