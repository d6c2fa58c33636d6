"""How masks say their classes: as ids, or painted in colours."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raylab.data.bands import blocks, row_blocks
from raylab.data.classes import IGNORE, Colour
from raylab.data.image_file import bits, raw_mode
from raylab.errors import DataError

_UNKNOWN = -1
_LISTED = 8
_NO_RGB = "save class ids as 8-bit grey, or colours as RGB of 8 bits a channel"
_SCALED_IDS = {"L;2": 85, "L;4": 17}
"""What PIL multiplies the values of grey files with fewer bits by."""


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
        if self.colours:  # which decide what palettes are accepted
            told = repr(sorted(self.colours.items())).encode()
            object.__setattr__(self, "kind", f"ids {hashlib.sha256(told).hexdigest()[:8]}")

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
            value: (flat[3 * value], flat[3 * value + 1], flat[3 * value + 2]) for value in range(len(flat) // 3)
        }
        owners: dict[Colour, list[int]] = {}
        for value, colour in colours.items():
            owners.setdefault(colour, []).append(value)
        # A ramp of greys, or black for what is not there, is what palettes are where nobody chose their colours.
        chosen = [shown[value] for value in colours if value in shown and shown[value] not in ((0, 0, 0), (value,) * 3)]
        if not any(colour in owners for colour in chosen):
            return  # a palette of other colours says nothing of these classes
        for value in used:
            if value not in shown or (colour := shown[value]) == colours.get(value):
                continue
            if value in colours or colour in owners:
                whose = f", the colour of id {owners[colour][0]}" if colour in owners else ""
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
        if mode.startswith("I"):
            return f"mask has more than 8 bits (mode {mode}), {want}; save it with 8 bits"
        if mode == "1":
            return f"mask has one bit (mode 1), {want}; save it with 8 bits"
        if mode in ("LA", "La", "PA"):
            return f"mask has an alpha channel beside its ids (mode {mode}), {want}; save it without"
        way_out = self.colours_way_out if mode.startswith("RGB") else _NO_RGB
        return f"mask is in colours (mode {mode}), {want}; {way_out}"

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
            way_out = self.ids_way_out if image.mode in ("L", "1") else _NO_RGB
            raise DataError(f"{uri}: mask has {kind}, colours (mode RGB) are expected; {way_out}")
        image.load()
        values = np.empty((image.height, image.width), np.uint32)
        transparent = 0
        for rows, block in blocks(image):
            if block.has_transparency_data:
                block = block.convert("RGBA")
                transparent += sum(block.getchannel("A").histogram()[:255])
            values[rows] = _packed(block)
        if transparent:
            raise DataError(
                f"{uri}: mask has {transparent} pixels that are transparent, which says nothing of a class; save it "
                "without transparency, pixels that do not count in a colour of their own"
            )
        return values

    def training_ids(self, values: NDArray[Any], uri: str) -> NDArray[np.uint8]:
        """See `MaskCoding.training_ids`."""
        codes: NDArray[np.uint32] = self.__dict__["_codes"]
        table: NDArray[np.uint8] = self.__dict__["_values"]
        ids = np.empty(values.shape, np.uint8)
        unknown: Counter[int] = Counter()
        for rows in row_blocks(*values.shape):
            block = values[rows]
            nearest = np.minimum(np.searchsorted(codes, block), len(codes) - 1)
            ids[rows] = table[nearest]
            unknown.update(_counted(block[codes[nearest] != block]))
        self.refuse_unknown(unknown, uri)
        return ids

    def count(self, values: NDArray[Any]) -> dict[int, int]:
        """See `MaskCoding.count`."""
        counts: Counter[int] = Counter()
        for rows in row_blocks(*values.shape):
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
