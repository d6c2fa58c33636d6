"""From a file to an array: images, masks of class ids, masks painted in colours.

What a file says of its pixels (`raylab.data.image_file`) is applied, alike for images and masks, or the
file is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raylab.data.bands import TileFile, Values, bands_of, read_window
from raylab.data.classes import IGNORE, Colour
from raylab.data.image_file import (
    PLAIN,
    ImageFile,
    Reading,
    bits,
    check_decodable,
    check_trailer,
    deep_values,
    lossy_format,
    open_image,
    orientation,
    raw_mode,
    turned,
)
from raylab.errors import DataError

_UNKNOWN = -1
_LISTED = 8
_BLOCK_PIXELS = 2**22
"""Pixels of a large image that are converted at a time, beside those that PIL holds of all of it."""
_SCALED_IDS = {"L;2": 85, "L;4": 17}
"""What PIL multiplies the values of grey files with fewer bits by."""


def read_rgb(file: ImageFile, reading: Reading = PLAIN) -> NDArray[np.uint8]:
    """Decode an image, upright.

    Args:
        file: to read.
        reading: how; values of more than 8 bits are scaled from its range.

    Returns:
        (H, W, 3) uint8 RGB; an alpha channel is dropped.

    Raises:
        DataError: the file is missing, does not decode, has too many pixels or stores more than 8 bits a channel in a
            way that is not read.
    """
    values, largest = image_values(file, reading)
    return _in_8_bits(file, values, largest, reading) if largest else values


def image_values(file: ImageFile, reading: Reading = PLAIN) -> Values:
    """Decode an image, upright, as it is stored.

    Returns:
        (H, W, 3) uint8 RGB and 0; or, of more than 8 bits a channel, (H, W) or (H, W, 3) uint16 and the largest value
        that the bits can hold.

    Raises:
        DataError: as `read_rgb`.
    """
    if isinstance(file, TileFile):
        return read_window(file, reading, "image", lambda band: image_values(band, reading))
    with open_image(file, reading) as image:
        way = orientation(image)
        values: NDArray[Any]
        if bits(image) > 8:
            values, largest = deep_values(file, image, reading)
        else:
            _load(file, image)
            values, largest = _as_rgb(image), 0
        check_trailer(file, image, way)
        return (values if way == 1 else turned(values, way)), largest


def _load(file: ImageFile, image: Image.Image) -> None:
    image.load()
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{file}: image has more than 8 bits a channel (mode {image.mode}); save it as PNG with 8 or 16 bits a "
            "channel"
        )


def _as_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.width * image.height <= _BLOCK_PIXELS:
        return np.array(image.convert("RGB"), np.uint8)
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    for rows, block in _blocks(image):
        rgb[rows] = np.asarray(block.convert("RGB"))
    return rgb


def _blocks(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """A decoded image in parts of whole rows, so that conversions need no further copy of all of it."""
    for rows in _row_blocks(image.height, image.width):
        yield rows, image.crop((0, rows.start, image.width, rows.stop))


def _row_blocks(height: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK_PIXELS // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def _in_8_bits(file: ImageFile, values: NDArray[np.uint16], largest: int, reading: Reading) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of (H, W) or (H, W, 3) values, the range to 0..255, rounded to the nearest."""
    low, high = reading.low, largest if reading.high is None else reading.high
    if not reading.clip and (most := int(values.max(initial=0))) > high:
        raise DataError(
            f"{file}: holds {most}, above the {high.bit_length()} bits that dataset.yaml tells; correct bits, or give "
            "range: [lowest, highest]"
        )
    # A table of all values is faster than dividing each, and needs no wider copy of the image.
    every = np.clip(np.arange(2**16, dtype=np.int64) - low, 0, high - low)
    table = ((every * 510 + (high - low)) // (2 * (high - low))).astype(np.uint8)
    grey = table[values]
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)


def deep_maximum(file: ImageFile, reading: Reading = PLAIN) -> tuple[int, int] | None:
    """The largest value of an image with more than 8 bits a channel and the largest that its bits can hold; else None.

    Raises:
        DataError: as `read_rgb`.
    """
    with open_image(file, reading, whole=False) as image:
        if isinstance(file, TileFile) and bands_of(file.file, image) is None:
            check_decodable(file.file, image, reading)
        if bits(image) <= 8:
            return None
    values, largest = image_values(file, reading)
    return int(values.max(initial=0)), largest


class MaskCoding(Protocol):
    """How the masks of a data set say which class a pixel has."""

    @property
    def kind(self) -> str:
        """Of the values that masks hold."""
        ...

    def values(self, image: Image.Image, uri: str) -> NDArray[Any]:
        """(H, W) values that the file holds: uint8 ids, or uint32 packed colours.

        Args:
            image: of the mask, opened; its pixels are not decoded yet.
            uri: of the file, for messages.

        Raises:
            DataError: the image has another mode than the coding wants.
        """
        ...

    def training_ids(self, values: NDArray[Any], uri: str) -> NDArray[np.uint8]:
        """(H, W) uint8 training ids of values, `IGNORE` where a pixel does not count.

        Raises:
            DataError: there are values without a class.
        """
        ...

    def count(self, values: NDArray[Any]) -> dict[int, int]:
        """Pixels by value; values without a class are counted."""
        ...

    def refuse_unknown(self, counts: Mapping[int, int], uri: str) -> None:
        """Refuse a mask that holds values without a class.

        Args:
            counts: pixels by value.
            uri: of the file, for messages.

        Raises:
            DataError: it does.
        """
        ...

    def meaning(self, value: int) -> int | None:
        """Training id of a value in the files, `IGNORE` if it does not count, None without a class."""
        ...

    def told(self, value: int) -> str:
        """A value in the files as it is told to people."""
        ...

    def key(self) -> bytes:
        """What tells this coding from another, for the data set's fingerprint."""
        ...


def read_mask(file: ImageFile, coding: MaskCoding, reading: Reading = PLAIN) -> NDArray[np.uint8]:
    """Decode a mask, upright.

    Returns:
        (H, W) uint8 training ids, `IGNORE` where a pixel does not count.

    Raises:
        DataError: the file is missing, does not decode, is lossy, has too many pixels, a wrong mode or values without a
            class.
    """
    return coding.training_ids(mask_values(file, coding, reading), str(file))


def mask_values(file: ImageFile, coding: MaskCoding, reading: Reading = PLAIN) -> NDArray[Any]:
    """(H, W) values that a mask holds (`MaskCoding.values`), upright.

    Raises:
        DataError: as `read_mask`, but for values without a class.
    """
    if isinstance(file, TileFile):
        kind = f"mask {coding.key()!r}"
        return read_window(file, reading, kind, lambda band: (mask_values(band, coding, reading), 0))[0]
    with open_image(file, reading) as image:
        way = orientation(image)
        refuse_lossy(file, image)
        values = coding.values(image, str(file))
        check_trailer(file, image, way)
        return values if way == 1 else turned(values, way)


def count_mask(file: ImageFile, coding: MaskCoding, reading: Reading = PLAIN) -> tuple[tuple[int, int], dict[int, int]]:
    """Upright height and width of a mask, and its pixels by value (`MaskCoding.count`).

    Raises:
        DataError: as `read_mask`, but for values without a class, which are counted.
    """
    values = mask_values(file, coding, reading)
    return (values.shape[0], values.shape[1]), coding.count(values)


def refuse_lossy(file: ImageFile, image: Image.Image) -> None:
    """Refuse a mask whose compression changes ids and colours.

    Raises:
        DataError: it has such a compression.
    """
    if kind := lossy_format(image):
        raise DataError(f"{file}: mask is stored as {kind}, which changes ids and colours; save it as PNG")


@dataclass(frozen=True, eq=False)
class IdCoding:
    """Masks whose 8-bit values are class ids.

    Attributes:
        ids: id in the files of each training id.
        ignored: ids in the files of pixels that do not count.
        way_out: what a user can do about an id without a class.
        colours_way_out: what a user can do about a mask in colours.
        colours: by id in the files, the colour that people are told of it. A palette that shows some of these colours
            must show them all at their ids: otherwise its colours and its indices tell of other classes.
    """

    ids: tuple[int, ...]
    ignored: tuple[int, ...]
    way_out: str = "correct the mask"
    colours_way_out: str = "save class ids"
    colours: Mapping[int, Colour] | None = None
    kind: str = field(default="ids", init=False)

    def __post_init__(self) -> None:
        table = np.full(256, _UNKNOWN, np.int16)
        table[list(self.ids)] = np.arange(len(self.ids))
        table[list(self.ignored)] = IGNORE
        object.__setattr__(self, "_table", table)

    def values(self, image: Image.Image, uri: str) -> NDArray[np.uint8]:
        """See `MaskCoding.values`."""
        raw = raw_mode(image)
        if bits(image) > 8 or image.mode not in ("L", "P"):
            raise DataError(f"{uri}: {self._wrong_mode(image.mode)}")
        if raw.partition(";")[2] in ("I", "R", "IR", "2I", "4I"):
            raise DataError(f"{uri}: mask is stored inverted (white as 0), so its ids are ambiguous; save it as PNG")
        image.load()
        if image.mode == "P" and self.colours:
            self._check_palette(image, np.flatnonzero(image.histogram()[:256]).tolist(), uri)
        values = np.array(image)
        values //= np.uint8(_SCALED_IDS.get(raw, 1))
        return values

    def training_ids(self, values: NDArray[Any], uri: str) -> NDArray[np.uint8]:
        """See `MaskCoding.training_ids`."""
        self.refuse_unknown(self.count(values), uri)
        table: NDArray[np.int16] = self.__dict__["_table"]
        return np.asarray(table.astype(np.uint8)[values], np.uint8)

    def count(self, values: NDArray[Any]) -> dict[int, int]:
        """See `MaskCoding.count`."""
        histogram = Image.fromarray(values).histogram()
        return {value: pixels for value, pixels in enumerate(histogram) if pixels}

    def refuse_unknown(self, counts: Mapping[int, int], uri: str) -> None:
        """See `MaskCoding.refuse_unknown`."""
        if unknown := [value for value in sorted(counts) if self.meaning(value) is None]:
            found = shorten([str(value) for value in unknown])
            known = f"{shorten([str(value) for value in self.ids], 20)}; ignored: {_or_none(self.ignored)}"
            pixels = sum(counts[value] for value in unknown)
            raise DataError(
                f"{uri}: mask ids without a class: {found} ({pixels} pixels; known: {known}); {self.way_out}"
            )

    def _check_palette(self, image: Image.Image, used: Sequence[int], uri: str) -> None:
        colours = self.colours or {}
        flat = image.getpalette() or []
        shown: dict[int, Colour] = {
            value: (flat[3 * value], flat[3 * value + 1], flat[3 * value + 2])
            for value in used
            if 3 * value + 2 < len(flat)
        }
        owner = {colour: value for value, colour in colours.items()}
        if not any(colour in owner for colour in shown.values()):
            return  # a palette of other colours says nothing of these classes
        wrong = {value: colour for value, colour in shown.items() if value in colours and colours[value] != colour}
        wrong |= {value: colour for value, colour in shown.items() if owner.get(colour, value) != value}
        if wrong:
            value, colour = next(iter(sorted(wrong.items())))
            whose = f", the colour of id {owner[colour]}" if colour in owner else ""
            raise DataError(
                f"{uri}: the palette shows id {value} as {list(colour)}{whose}, dataset.yaml says "
                f"{list(colours[value]) if value in colours else 'no such id'}; correct the colours there, or say "
                "`coding: colour` if the colours are right and the ids are not"
            )

    def meaning(self, value: int) -> int | None:
        """See `MaskCoding.meaning`."""
        table: NDArray[np.int16] = self.__dict__["_table"]
        return None if table[value] < 0 else int(table[value])

    def told(self, value: int) -> str:
        """See `MaskCoding.told`."""
        return str(value)

    def _wrong_mode(self, mode: str) -> str:
        want = "8-bit class ids (mode L or P) are expected"
        if mode.startswith(("I", "F")):
            return f"mask has more than 8 bits (mode {mode}), {want}; save it with 8 bits"
        if mode == "1":
            return f"mask has one bit (mode 1), {want}; save it with 8 bits"
        return f"mask is in colours (mode {mode}), {want}; {self.colours_way_out}"

    def key(self) -> bytes:
        """See `MaskCoding.key`."""
        return f"ids {self.ids} ignored {sorted(self.ignored)}".encode()


@dataclass(frozen=True, eq=False)
class ColourCoding:
    """RGB masks painted with the classes' colours.

    Attributes:
        colours: (red, green, blue) of each training id, or of each of `ids`.
        ignored: colours of pixels that do not count.
        way_out: what a user can do about a colour without a class.
        ids: training id of each colour, where several colours are one class.
        ids_way_out: what a user can do about a mask of class ids.
    """

    colours: tuple[Colour, ...]
    ignored: tuple[Colour, ...] = ()
    way_out: str = "correct the mask"
    ids: tuple[int, ...] | None = None
    ids_way_out: str = "save it in colours"
    kind: str = field(default="colours", init=False)

    def __post_init__(self) -> None:
        ids = range(len(self.colours)) if self.ids is None else self.ids
        codes = np.asarray([_pack(one) for one in (*self.colours, *self.ignored)], np.uint32)
        values = np.asarray([*ids, *[IGNORE] * len(self.ignored)], np.uint8)
        order = np.argsort(codes)
        object.__setattr__(self, "_codes", codes[order])
        object.__setattr__(self, "_values", values[order])

    def values(self, image: Image.Image, uri: str) -> NDArray[np.uint32]:
        """See `MaskCoding.values`."""
        if image.mode not in ("RGB", "RGBA", "P") or bits(image) > 8:
            kind = f"{bits(image)} bits a channel" if bits(image) > 8 else f"mode {image.mode}"
            raise DataError(f"{uri}: mask has {kind}, colours (mode RGB) are expected; {self.ids_way_out}")
        image.load()
        values = np.empty((image.height, image.width), np.uint32)
        for rows, block in _blocks(image):
            values[rows] = _packed(block)
        return values

    def training_ids(self, values: NDArray[Any], uri: str) -> NDArray[np.uint8]:
        """See `MaskCoding.training_ids`."""
        codes: NDArray[np.uint32] = self.__dict__["_codes"]
        table: NDArray[np.uint8] = self.__dict__["_values"]
        ids = np.empty(values.shape, np.uint8)
        unknown: Counter[int] = Counter()
        for rows in _row_blocks(*values.shape):
            block = values[rows]
            nearest = np.minimum(np.searchsorted(codes, block), len(codes) - 1)
            ids[rows] = table[nearest]
            unknown.update(_counted(block[codes[nearest] != block]))
        self.refuse_unknown(unknown, uri)
        return ids

    def count(self, values: NDArray[Any]) -> dict[int, int]:
        """See `MaskCoding.count`."""
        counts: Counter[int] = Counter()
        for rows in _row_blocks(*values.shape):
            counts.update(_counted(values[rows]))
        return counts

    def refuse_unknown(self, counts: Mapping[int, int], uri: str) -> None:
        """See `MaskCoding.refuse_unknown`."""
        if unknown := [code for code in sorted(counts) if self.meaning(code) is None]:
            found = shorten([self.told(code) for code in unknown])
            pixels = sum(counts[code] for code in unknown)
            raise DataError(f"{uri}: mask colours without a class: {found} ({pixels} pixels); {self.way_out}")

    def meaning(self, value: int) -> int | None:
        """See `MaskCoding.meaning`."""
        codes: NDArray[np.uint32] = self.__dict__["_codes"]
        at = min(int(np.searchsorted(codes, value)), len(codes) - 1)
        return int(self.__dict__["_values"][at]) if codes[at] == value else None

    def told(self, value: int) -> str:
        """See `MaskCoding.told`."""
        return f"[{value >> 16}, {value >> 8 & 255}, {value & 255}]"

    def key(self) -> bytes:
        """See `MaskCoding.key`."""
        ids = "" if self.ids is None else f" ids {self.ids}"
        return f"colours {self.colours} ignored {sorted(self.ignored)}{ids}".encode()


def _pack(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _packed(image: Image.Image) -> NDArray[np.uint32]:
    """(H, W) uint32: red, green and blue of every pixel in one number."""
    rgb = np.asarray(image.convert("RGB")).astype(np.uint32)
    return np.asarray(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2], np.uint32)


def _counted(packed: NDArray[np.uint32]) -> dict[int, int]:
    values, counts = np.unique(packed, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _or_none(values: Sequence[int]) -> str:
    return shorten([str(value) for value in values]) or "none"


def shorten(items: Sequence[str], most: int = _LISTED) -> str:
    """A comma-separated list that stays on one line: the first ones, and how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")
