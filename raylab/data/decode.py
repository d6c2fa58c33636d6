"""From a file to an array: images, masks of class ids, masks painted in colours.

PIL's decoders raise whatever they like at a broken file; here that becomes a `DataError` of one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from raylab.data.classes import IGNORE, Colour
from raylab.errors import DataError

EXIF_ORIENTATION = 0x0112
_UNKNOWN = -1
_LISTED = 8


class ImageFile(Protocol):
    """An image or mask as it is stored: a file of a folder (`raylab.files.File`) or a cell of a packed set."""

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width where they are known without opening it."""
        ...

    def __str__(self) -> str:
        """What to tell a person: where it lies."""
        ...

    def state(self) -> tuple[int, int] | None:
        """Bytes and time of modification in nanoseconds; None where it has none of its own."""
        ...

    def open(self, whole: bool = True) -> IO[bytes]:
        """Open it for reading; unless `whole`, only some of its beginning will be read."""
        ...


@contextmanager
def open_image(file: ImageFile, whole: bool = True) -> Iterator[Image.Image]:
    """Open an image file; pixels are decoded only when they are asked for.

    Args:
        file: to open.
        whole: the pixels will be asked for, not the header alone.

    Raises:
        DataError: the file is missing, or opening it or what the `with` block decodes fails.
    """
    try:
        with file.open(whole) as content, Image.open(content) as image:
            yield image
    except (DataError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise DataError(f"{file}: the file is missing; restore it") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{file}: does not decode (no image format is recognised); replace the file") from error
    except Exception as error:
        # Among what PIL raises: OSError, SyntaxError, ValueError, EOFError, struct.error, DecompressionBombError.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{file}: does not decode ({' '.join(str(reason).split())}); replace the file") from error


def read_size(file: ImageFile) -> tuple[int, int]:
    """Height and width in pixels, from the file's header.

    Raises:
        DataError: the file is missing or its header does not decode.
    """
    if file.shape is not None:
        return file.shape
    with open_image(file, whole=False) as image:
        return image.height, image.width


def is_turned(file: ImageFile) -> bool:
    """Whether the file asks, by EXIF, to be shown otherwise than it is stored."""
    with open_image(file) as image:
        return bool(image.getexif().get(EXIF_ORIENTATION, 1) != 1)


def read_rgb(file: ImageFile) -> NDArray[np.uint8]:
    """Decode an image, as it is stored (an EXIF orientation is not applied, as it is not to the mask).

    Returns:
        (H, W, 3) uint8 RGB; an alpha channel is dropped.

    Raises:
        DataError: the file is missing, does not decode or has more than 8 bits a channel.
    """
    with open_image(file) as image:
        image.load()
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{file}: image has more than 8 bits a channel (mode {image.mode}); save it with 8 bits")
        return np.array(image.convert("RGB"), np.uint8)


class MaskCoding(Protocol):
    """How the masks of a data set say which class a pixel has."""

    def decode(self, image: Image.Image, uri: str) -> NDArray[np.uint8]:
        """(H, W) uint8 training ids, `IGNORE` where a pixel does not count.

        Args:
            image: of the mask.
            uri: of the file, for messages.

        Raises:
            DataError: the image has another mode than the coding wants, or values without a class.
        """
        ...

    def key(self) -> bytes:
        """What tells this coding from another, for the data set's fingerprint."""
        ...


def read_mask(file: ImageFile, coding: MaskCoding) -> NDArray[np.uint8]:
    """Decode a mask.

    Returns:
        (H, W) uint8 training ids, `IGNORE` where a pixel does not count.

    Raises:
        DataError: the file is missing, does not decode, has a wrong mode or values without a class.
    """
    with open_image(file) as image:
        image.load()
        return coding.decode(image, str(file))


@dataclass(frozen=True, eq=False)
class IdCoding:
    """Masks whose 8-bit values are class ids.

    Attributes:
        ids: id in the files of each training id.
        ignored: ids in the files of pixels that do not count.
        way_out: what a user can do about an id without a class.
        colours_way_out: what a user can do about a mask in colours.
    """

    ids: tuple[int, ...]
    ignored: tuple[int, ...]
    way_out: str = "correct the mask"
    colours_way_out: str = "save class ids"

    def __post_init__(self) -> None:
        table = np.full(256, _UNKNOWN, np.int16)
        table[list(self.ids)] = np.arange(len(self.ids))
        table[list(self.ignored)] = IGNORE
        object.__setattr__(self, "_table", table)

    def decode(self, image: Image.Image, uri: str) -> NDArray[np.uint8]:
        """See `MaskCoding.decode`."""
        if image.mode not in ("L", "P"):
            raise DataError(f"{uri}: {self._wrong_mode(image.mode)}")
        ids = np.asarray(image)
        table: NDArray[np.int16] = self.__dict__["_table"]
        training: NDArray[np.int16] = table[ids]
        if training.min(initial=0) < 0:
            unknown = training < 0
            found = shorten([str(value) for value in np.unique(ids[unknown])])
            known = f"{shorten([str(value) for value in self.ids], 20)}; ignored: {_or_none(self.ignored)}"
            pixels = int(unknown.sum())
            raise DataError(
                f"{uri}: mask ids without a class: {found} ({pixels} pixels; known: {known}); {self.way_out}"
            )
        return np.asarray(training, np.uint8)

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

    def __post_init__(self) -> None:
        ids = range(len(self.colours)) if self.ids is None else self.ids
        codes = np.asarray([_pack(one) for one in (*self.colours, *self.ignored)], np.uint32)
        values = np.asarray([*ids, *[IGNORE] * len(self.ignored)], np.uint8)
        order = np.argsort(codes)
        object.__setattr__(self, "_codes", codes[order])
        object.__setattr__(self, "_values", values[order])

    def decode(self, image: Image.Image, uri: str) -> NDArray[np.uint8]:
        """See `MaskCoding.decode`."""
        if image.mode not in ("RGB", "RGBA", "P"):
            raise DataError(f"{uri}: mask has mode {image.mode}, colours (mode RGB) are expected; {self.ids_way_out}")
        rgb = np.asarray(image.convert("RGB")).astype(np.uint32)
        packed = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
        codes: NDArray[np.uint32] = self.__dict__["_codes"]
        values: NDArray[np.uint8] = self.__dict__["_values"]
        nearest = np.minimum(np.searchsorted(codes, packed), len(codes) - 1)
        unknown = codes[nearest] != packed
        if unknown.any():
            found = [f"[{code >> 16}, {code >> 8 & 255}, {code & 255}]" for code in np.unique(packed[unknown]).tolist()]
            raise DataError(
                f"{uri}: mask colours without a class: {shorten(found)} ({int(unknown.sum())} pixels); {self.way_out}"
            )
        return values[nearest]

    def key(self) -> bytes:
        """See `MaskCoding.key`."""
        ids = "" if self.ids is None else f" ids {self.ids}"
        return f"colours {self.colours} ignored {sorted(self.ignored)}{ids}".encode()


def _pack(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _or_none(values: Sequence[int]) -> str:
    return shorten([str(value) for value in values]) or "none"


def shorten(items: Sequence[str], most: int = _LISTED) -> str:
    """A comma-separated list that stays on one line: the first ones, and how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")
