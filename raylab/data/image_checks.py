"""What a file holds beside the one picture that is read of it: refused by name, not dropped in silence."""

from __future__ import annotations

from typing import IO, Any

from PIL import Image

from raylab.errors import DataError
from raylab.files import first_line

_SUBFILE, _PHOTOMETRIC, _SAMPLES, _EXTRA, _FORMAT = 254, 262, 277, 338, 339
"""Tags of a TIFF."""
_BANDS = {
    2: "red, green and blue",
    5: "cyan, magenta, yellow and black",
    6: "luma and two of colour",
    8: "L*, a* and b*",
}
"""What the bands of a TIFF are by its photometric interpretation, where they are not one."""
_N_BANDS = {2: 3, 5: 4, 6: 3, 8: 3}
_ALPHA = (1, 2)
_REDUCED = 1
_NUMBERS = {2: "signed whole numbers", 3: "floating-point numbers"}


def refuse_more(file: object, image: Image.Image) -> None:
    """Refuse a file that holds further pictures or bands, or numbers that are taken for others.

    An alpha channel is left to whoever reads the pixels, as are a TIFF's smaller copies of its picture and what a
    camera's JPEG carries beside its first picture, which its standard (MPO) makes the one to be shown.

    Args:
        file: for messages.
        image: opened; its pixels are not decoded yet.

    Raises:
        DataError: it does.
    """
    if image.format == "TIFF":
        _check_bands(file, image)
        _check_pictures(file, 1 + _further_pages(image), "pages")
    elif image.format != "MPO":
        _check_pictures(file, getattr(image, "n_frames", 1), "frames")


def _check_pictures(file: object, number: int, what: str) -> None:
    if number > 1:
        raise DataError(
            f"{file}: holds {number} {what}, of which only the first would be read; save each as a file of its own"
        )


def _check_bands(file: object, image: Any) -> None:
    tags = image.tag_v2
    for kind in _all(tags.get(_FORMAT, 1)):
        if kind in _NUMBERS:
            raise DataError(
                f"{file}: holds {_NUMBERS[kind]}; scale an image to whole numbers of 8 or 16 bits, write class ids as "
                "8 bits without a sign, and save it as PNG"
            )
    photometric, samples = tags.get(_PHOTOMETRIC), tags.get(_SAMPLES, 1)
    known = _N_BANDS.get(photometric, 1)
    if samples == 1:  # of YCbCr too, where the others are left out
        return
    extra = _all(tags.get(_EXTRA, ()))
    unnamed = samples - known - sum(kind in _ALPHA for kind in extra)
    if unnamed > 0:
        raise DataError(
            f"{file}: has {samples} bands: {_BANDS.get(photometric, 'one')}, and {unnamed} that its tags do not call "
            "alpha and that would be left out; save it without"
        )


def _all(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _further_pages(image: Any) -> int:
    """Pages after the first that are no smaller copies of it (by the tag NewSubfileType)."""
    found = 0
    for page in range(1, image.n_frames):
        image.seek(page)
        found += not image.tag_v2.get(_SUBFILE, 0) & _REDUCED
    if image.n_frames > 1:
        image.seek(0)
    return found


def told_tiff(file: object, content: IO[bytes]) -> str:
    """A line about a TIFF that PIL has no mode for."""
    import tifffile

    try:
        content.seek(0)
        with tifffile.TiffFile(content) as tiff:
            page: Any = tiff.pages[0]
            found = f"{page.samplesperpixel} bands of {page.dtype}, {page.photometric.name} by its tags"
    except Exception as error:  # whatever tifffile meets in a damaged file
        return f"{file}: does not decode ({first_line(error)}); replace the file"
    return f"{file}: holds {found}, which is not read; save it as PNG, an image in RGB or grey, a mask with 8 bits"


def refuse_lossy(file: object, image: Image.Image) -> None:
    """Refuse a mask whose compression changes ids and colours.

    Raises:
        DataError: it has such a compression.
    """
    if kind := lossy_format(image):
        raise DataError(f"{file}: mask is stored as {kind}, which changes ids and colours; save it as PNG")


def lossy_format(image: Image.Image) -> str:
    """The name of the compression if it changes pixels, else nothing."""
    if image.format in ("JPEG", "MPO"):
        return "JPEG"
    if image.format == "TIFF" and image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp"):
        return f"TIFF with {image.info['compression'].removeprefix('tiff_')} compression"
    if image.format == "WEBP" and image.fp is not None:  # type: ignore[attr-defined]
        content = image.fp  # type: ignore[attr-defined]
        at = content.tell()
        content.seek(12)
        lossy = _has_lossy_chunk(content)
        content.seek(at)
        return "lossy WebP" if lossy else ""
    return ""


def _has_lossy_chunk(content: IO[bytes]) -> bool:
    """Whether a WebP's chunks, of which these are the first, hold pixels of the lossy kind (VP8, not VP8L)."""
    while len(head := content.read(8)) == 8:
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        if kind == b"ANMF":
            content.seek(16, 1)
            continue
        content.seek(size + size % 2, 1)
    return False
