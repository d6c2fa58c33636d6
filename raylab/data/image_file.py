"""Opening an image file, and what it says of itself: format, size, orientation, bits a channel.

What a file says is applied or the file is refused. PIL's decoders raise whatever they like at a broken file; here that
becomes a `DataError` of one line.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from raylab.data.image_checks import refuse_more, told_tiff
from raylab.errors import DataError

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
"""That are read: others of PIL's run other programs (EPS), or are no format for pictures or masks."""
MAX_PIXELS = 2**25
"""Of an image that goes through the network whole, unless `data.max_pixels` says otherwise."""
MAX_DECODED_BYTES = 3 * 2**30
"""That decoding a file whole may take, unless `data.max_decoded_bytes` says otherwise: 17,900 x 17,900 in colours."""
_COLOURS, _ONE_BAND, _WEBP = 10, 4, 19
_DEEP = {"I;12": 7, "I;16": 7, "LA;16": 13, "RGB;16": 23, "RGBA;16": 28}
"""Bytes a pixel that decoding takes at its peak, as an image or a mask: those of PIL, of its decoder and of the arrays
made of them; with more than 8 bits by how the file holds its pixels."""
EXIF_ORIENTATION = int(ExifTags.Base.Orientation)


class ImageFile(Protocol):
    """An image or mask as it is stored: a file of a folder (`raylab.files.File`) or a cell of a packed set."""

    @property
    def shape(self) -> tuple[int, int] | None:
        """Upright height and width where they are known without opening it."""
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


@dataclass(frozen=True)
class Band:
    """Whole rows of a large image, as an image file of its own in memory.

    Attributes:
        file: that they are rows of, which messages name.
        content: the bytes of the file of its own.
    """

    file: ImageFile
    content: bytes
    shape: None = None

    def __str__(self) -> str:
        return str(self.file)

    def state(self) -> None:
        """It has no time of its own."""

    def open(self, whole: bool = True) -> IO[bytes]:
        """See `ImageFile.open`."""
        return io.BytesIO(self.content)


@dataclass(frozen=True)
class Reading:
    """How the files of a data set are read.

    Attributes:
        max_pixels: that an image or tile may have, all of which go through the network together.
        max_decoded_bytes: that decoding a file may take; more is refused before anything is decoded.
        tile: height and width of an image at most; larger ones are read as tiles. None: no image is cut.
        low: value of images with more than 8 bits a channel that becomes 0.
        high: value of such images that becomes 255; None: the largest that the file's bits can hold.
        clip: values outside become 0 and 255; otherwise they are refused.
    """

    max_pixels: int = MAX_PIXELS
    max_decoded_bytes: int = MAX_DECODED_BYTES
    tile: int | None = None
    low: int = 0
    high: int | None = None
    clip: bool = True

    def key(self) -> bytes:
        """What of it decides the pixels, for the data set's fingerprint: nothing where nothing is said."""
        return b"" if self.high is None else f" range {self.low} {self.high} {self.clip}".encode()


PLAIN = Reading()


@contextmanager
def open_image(file: ImageFile, reading: Reading = PLAIN, whole: bool = True) -> Iterator[Image.Image]:
    """Open an image file; pixels are decoded only when they are asked for.

    Args:
        file: to open.
        reading: how.
        whole: the pixels will be asked for, not the header alone.

    Raises:
        DataError: the file is missing, has too many pixels, or opening it or what the `with` block decodes fails.
    """
    try:
        with file.open(whole) as content, _identified(file, content) as image:
            refuse_more(file, image)
            if whole:
                check_decodable(file, image, reading)
            yield image
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{file}: decoding it needs more memory than there is; cut it into tiles") from error
    except FileNotFoundError as error:
        raise DataError(f"{file}: the file is missing; restore it") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{file}: does not decode (no image format is recognised); replace the file") from error
    except Exception as error:
        # Among what PIL raises: OSError, SyntaxError, ValueError, EOFError, struct.error.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{file}: does not decode ({' '.join(str(reason).split())}); replace the file") from error


def check_decodable(file: ImageFile, image: Image.Image, reading: Reading) -> None:
    """Refuse an image whose decoding takes more memory than it may.

    Raises:
        DataError: it has.
    """
    each = decoded_bytes(image)
    if (needed := image.width * image.height * each) > reading.max_decoded_bytes:
        raise DataError(
            f"{file}: {_told(image.height, image.width)}, each of which takes {each} bytes to decode: {needed:,} are "
            f"above data.max_decoded_bytes ({reading.max_decoded_bytes:,}); raise it, or set data.tile and save "
            "the file as PNG without interlacing or as TIFF in strips, which are read in parts"
        )


def decoded_bytes(image: Image.Image) -> int:
    """Bytes a pixel that decoding an opened image takes at its peak, about."""
    if image.format == "WEBP":
        return _WEBP
    if bits(image) > 8:
        return _DEEP.get(raw_mode(image).rstrip("LBN"), max(_DEEP.values()))
    return _ONE_BAND if image.mode in ("1", "L", "P") else _COLOURS


def _identified(file: ImageFile, content: IO[bytes]) -> Image.Image:
    """As `Image.open`, but for its bound on pixels, which is one for the whole process and refuses aerial images."""
    Image.preinit()
    if "WEBP" not in Image.OPEN or "TIFF" not in Image.OPEN:
        Image.init()
    prefix = content.read(16)
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(prefix) is True:
            content.seek(0)
            try:
                return factory(content, "")
            except SyntaxError as error:
                if any(what in str(error) for what in ("pixel mode", "samples per pixel")):
                    raise DataError(told_tiff(file, content)) from None
                raise
    raise UnidentifiedImageError


def read_size(file: ImageFile, reading: Reading = PLAIN) -> tuple[int, int]:
    """Height and width in pixels of the image as it is shown, upright, from the file's header.

    Raises:
        DataError: the file is missing, its header does not decode or it has too many pixels.
    """
    height, width = size_of_file(file, reading) if file.shape is None else file.shape
    if height * width > reading.max_pixels:
        raise DataError(
            f"{file}: {_told(height, width)}, above data.max_pixels ({reading.max_pixels:,}), that go through the "
            "network together; set data.tile (2048, say) to work with tiles of it, or raise data.max_pixels"
        )
    return height, width


def size_of_file(file: ImageFile, reading: Reading = PLAIN) -> tuple[int, int]:
    """The same of an image of any size."""
    with open_image(file, reading, whole=False) as image:
        return upright_size(image)


def _told(height: int, width: int) -> str:
    return f"{width}x{height} is {height * width:,} pixels"


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width in pixels, once turned as the file says."""
    size = image.height, image.width
    return size[::-1] if orientation(image) >= 5 else size


def orientation(image: Image.Image) -> int:
    """How the pixels that PIL decodes lie, as EXIF and XMP number it: 1 is upright, 5 to 8 lie on their side."""
    if image.format == "TIFF":
        return 1  # PIL turns these itself, the size in the header too
    # A PNG's own method decodes all of it first, in search of EXIF data behind the pixels: `check_trailer` does.
    found = Image.Image.getexif(image).get(EXIF_ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def told_orientation(image: Image.Image) -> int:
    """How the pixels of the file lie, as it says: `orientation`, which for a TIFF is what PIL leaves of it."""
    if image.format != "TIFF":
        return orientation(image)
    told = image.tag_v2.get(EXIF_ORIENTATION, 1)  # type: ignore[attr-defined]
    return told if told in range(1, 9) else 1


def check_trailer(file: ImageFile, image: Image.Image, before: int) -> None:
    """Refuse a decoded file that tells of an orientation behind its pixels, where its header does not.

    Args:
        file: that was decoded.
        image: the same.
        before: orientation by the header.

    Raises:
        DataError: it does.
    """
    if image.format == "PNG" and before == 1 and "exif" in image.info:
        tags = Image.Exif()  # those of the image itself were kept when its header was read
        tags.load(image.info["exif"])
        after = tags.get(EXIF_ORIENTATION, 1)
        if after != 1 and after in range(1, 9):
            raise DataError(f"{file}: its orientation (EXIF {after}) is told behind the pixels; save it upright")


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """An array (H, W, ...) of decoded pixels, turned upright."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def raw_mode(image: Image.Image) -> str:
    """How the file holds its pixels, as PIL's decoders name it; empty where they are not told apart."""
    tile: Any = image.tile[0] if getattr(image, "tile", None) else None  # type: ignore[attr-defined]
    args = tile[3] if tile is not None else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def bits(image: Image.Image) -> int:
    """Bits a channel as the file declares them, where it declares more than 8; else 8."""
    if image.format == "TIFF":
        declared = image.tag_v2.get(258, (8,))  # type: ignore[attr-defined]
        return max(8, *declared) if isinstance(declared, tuple) else max(8, int(declared))
    return 16 if ";16" in raw_mode(image) or image.mode.startswith("I;16") else 8
