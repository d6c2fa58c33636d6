"""What files say of themselves, written by another library than the one that reads them where that can be."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import textwrap
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from raylab.data import decode
from raylab.data.coding import ColourCoding, IdCoding
from raylab.data.image_file import EXIF_ORIENTATION, Reading, read_size, turned
from raylab.errors import DataError
from raylab.files import Folder

CODING = IdCoding((0, 1, 2, 3), (255,))
UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright picture is stored for an orientation: what undoes the turn."""


def file(path):
    return Folder(path.parent).file(path.name)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[EXIF_ORIENTATION] = orientation
    return tags


def grey_steps() -> np.ndarray:
    """A picture in which all turns differ, and that JPEG keeps: one bright corner."""
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16, :16] = 250
    picture[:16, 16:32] = 120
    return picture


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", UNDO)
def test_orientation_is_applied_to_images_and_told_by_their_sizes(tmp_path, orientation, kind):
    upright = grey_steps()
    path = tmp_path / f"a.{kind}"
    Image.fromarray(upright).transpose(UNDO[orientation]).save(path, exif=exif(orientation))
    assert read_size(file(path)) == (32, 48)
    read = decode.read_rgb(file(path))
    assert read.flags.c_contiguous
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright).mean() < 4


@pytest.mark.parametrize("orientation", UNDO)
def test_orientation_is_applied_to_masks(tmp_path, ids, orientation):
    upright = ids(0, 4, 20, 30)
    Image.fromarray(upright).transpose(UNDO[orientation]).save(tmp_path / "m.png", exif=exif(orientation))
    mask = file(tmp_path / "m.png")
    np.testing.assert_array_equal(decode.read_mask(mask, CODING), upright)
    assert decode.count_mask(mask, CODING)[0] == read_size(mask) == (20, 30)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(sorted(UNDO)))
def test_turned_undoes_what_pillow_does(height, width, orientation):
    upright = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    stored = np.asarray(Image.fromarray(upright).transpose(UNDO[orientation]))
    np.testing.assert_array_equal(turned(stored, orientation), upright)


def png(pixels: np.ndarray, colour: int, bits: int = 16, behind: bytes = b"") -> bytes:
    """A PNG by its specification: (H, W, channels) uint16, or rows of packed bits as they are."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + (row.astype(">u2") if bits == 16 else row).tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width if bits == 16 else width * 8 // bits, height, bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), behind, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_orientation_behind_the_pixels_is_refused(tmp_path):
    """Its header says upright, so sizes would be those of another picture."""
    data = exif(6).tobytes().removeprefix(b"Exif\0\0")
    behind = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    (tmp_path / "a.png").write_bytes(png(np.zeros((4, 6, 3), np.uint16), 2, behind=behind))
    with pytest.raises(DataError, match=r"a\.png: its orientation \(EXIF 6\) is told behind the pixels; save it uprig"):
        decode.read_rgb(file(tmp_path / "a.png"))


def deep_files(values: np.ndarray):
    """(what, bytes, expected) of 16-bit files that hold (H, W, 4) values, or some channels of them."""
    grey, rgb = values[..., 0], values[..., :3]
    for colour, channels, shown in ((0, [0], grey), (2, [0, 1, 2], rgb), (4, [0, 3], grey), (6, [0, 1, 2, 3], rgb)):
        yield f"png {colour}", png(values[..., channels], colour), shown
    for order in "<>":
        for compression in (None, "zlib"):
            for pixels, photometric, shown in ((grey, "minisblack", grey), (rgb, "rgb", rgb), (values, "rgb", rgb)):
                out = io.BytesIO()
                tifffile.imwrite(out, pixels, byteorder=order, compression=compression, photometric=photometric)
                yield f"tiff {order} {compression} {pixels.shape}", out.getvalue(), shown


def test_16_bits_are_scaled_by_all_of_them(tmp_path):
    values = np.random.default_rng(0).integers(0, 2**16, (20, 30, 4)).astype(np.uint16)
    for what, content, shown in deep_files(values):
        (tmp_path / "deep").write_bytes(content)
        read = decode.read_rgb(file(tmp_path / "deep"))
        expected = np.round(shown / 65535 * 255)
        np.testing.assert_array_equal(read, expected if expected.ndim == 3 else expected[..., None].repeat(3, 2), what)
        assert decode.deep_maximum(file(tmp_path / "deep")) == (shown.max(), 65535), what


def test_12_bits_in_16_are_scaled_as_the_data_set_says(tmp_path):
    values = np.random.default_rng(1).integers(0, 2**12, (8, 9, 4)).astype(np.uint16)
    for what, content, shown in deep_files(values):
        (tmp_path / "deep").write_bytes(content)
        read = decode.read_rgb(file(tmp_path / "deep"), Reading(high=4095, clip=False))
        np.testing.assert_array_equal(read[..., 0], np.round(shown.reshape(8, 9, -1)[..., 0] / 4095 * 255), what)
        part = decode.read_rgb(file(tmp_path / "deep"), Reading(low=1000, high=2000))
        wanted = np.floor(np.clip(shown.reshape(8, 9, -1)[..., 0] - 1000.0, 0, 1000) / 1000 * 255 + 0.5)
        np.testing.assert_array_equal(part[..., 0], wanted, what)
        with pytest.raises(DataError, match=r"above the 11 bits that dataset\.yaml tells"):
            decode.read_rgb(file(tmp_path / "deep"), Reading(high=2047, clip=False))


@pytest.mark.parametrize(
    ("pixels", "options", "words"),
    [
        (np.zeros((8, 9), np.uint16), {"photometric": "miniswhite"}, "white stored as 0"),
        (np.zeros((3, 8, 9), np.uint16), {"photometric": "rgb", "planarconfig": "separate"}, "stored as R"),
        (np.zeros((8, 9), np.uint32), {}, "more than 8 bits a channel"),
        (np.zeros((8, 9), np.float32), {}, "holds floating-point numbers; scale an image"),
        (np.zeros((8, 9), np.int32), {}, "holds signed whole numbers"),
        (np.zeros((8, 9), np.int8), {}, "holds signed whole numbers"),
        (
            np.zeros((8, 9, 7), np.uint16),
            {"photometric": "minisblack", "planarconfig": "contig"},
            "holds 7 bands of uint16, MINISBLACK by its ta",
        ),
        (np.zeros((8, 9, 3), np.float64), {"photometric": "rgb"}, "holds 3 bands of float64, RGB by its tags, which"),
    ],
)
def test_what_is_not_read_as_it_is_stored_is_refused(tmp_path, pixels, options, words):
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(DataError, match=words) as caught:
        decode.read_rgb(file(tmp_path / "a.tif"))
    assert "save it as PNG" in str(caught.value)


@pytest.mark.parametrize(
    ("bands", "alpha", "words"),
    [
        (4, "unassalpha", None),
        (4, "assocalpha", None),
        (4, "unspecified", "has 4 bands: red, green and blue, and 1 that its tags do not call alpha"),
        (5, "unspecified", "has 5 bands: red, green and blue, and 2 that"),
        (2, "unspecified", "has 2 bands: one, and 1 that"),
    ],
)
def test_bands_beside_the_colours_are_refused_unless_they_are_alpha(tmp_path, bands, alpha, words):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, bands)).astype(np.uint8)
    if alpha == "assocalpha":
        pixels[..., 3] = 255
    extra, kind = [alpha] * (bands - (3 if bands > 3 else 1)), "rgb" if bands > 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=kind, extrasamples=extra, planarconfig="contig")
    if words is None:
        np.testing.assert_array_equal(decode.read_rgb(file(tmp_path / "a.tif")), pixels[..., :3])
        return
    for read in (read_size, decode.read_rgb, lambda one: decode.read_mask(one, CODING)):
        with pytest.raises(DataError, match=words):
            read(file(tmp_path / "a.tif"))


@pytest.mark.parametrize("kind", ["png", "gif", "tiff", "webp"])
def test_files_of_several_pictures_are_refused_by_their_header(tmp_path, kind):
    pictures = [Image.new("L", (9, 8), value) for value in (0, 90, 200)]
    pictures[0].save(tmp_path / "a", kind, save_all=True, append_images=pictures[1:])
    what = "pages" if kind == "tiff" else "frames"
    for read in (read_size, decode.read_rgb, lambda one: decode.read_mask(one, CODING)):
        with pytest.raises(DataError, match=f"a: holds 3 {what}, of which only the first would be read; save each as"):
            read(file(tmp_path / "a"))
    pictures[0].save(tmp_path / "a", kind, save_all=True)
    assert read_size(file(tmp_path / "a")) == (8, 9)


def test_smaller_copies_and_a_camera_s_previews_are_no_further_pictures(tmp_path):
    shown = np.full((8, 10, 3), 90, np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(shown, photometric="rgb")
        tiff.write(shown[::2, ::2] + 1, photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(decode.read_rgb(file(tmp_path / "a.tif")), shown)
    first = Image.fromarray(shown)
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (5, 4))])
    np.testing.assert_array_equal(decode.read_rgb(file(tmp_path / "a.jpg")), shown)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    end = os.open(tmp_path / "a.png", os.O_RDWR)  # so that whoever opens it for reading waits for nobody
    os.write(end, bytes(16))
    for read in (read_size, decode.read_rgb):
        with pytest.raises(DataError, match=r"a\.png: does not decode \(it is a pipe, socket or device\); replace"):
            read(file(tmp_path / "a.png"))
    os.close(end)


@pytest.mark.parametrize("alpha", [255, 254, 0, "tRNS"])
def test_transparent_pixels_of_masks_in_colours_are_refused(tmp_path, ids, alpha):
    table = np.asarray([(1, 2, 3), (4, 5, 6), (7, 8, 9)], np.uint8)
    values, coding = ids(0), ColourCoding(tuple(map(tuple, table.tolist())))
    mask = Image.fromarray(table[values])
    if alpha == "tRNS":
        mask.save(tmp_path / "m.png", transparency=(4, 5, 6))
    else:
        mask.putalpha(Image.fromarray(np.where(values == 1, alpha, 255).astype(np.uint8)))
        mask.save(tmp_path / "m.png")
    if alpha == 255:
        np.testing.assert_array_equal(decode.read_mask(file(tmp_path / "m.png"), coding), values)
        return
    with pytest.raises(DataError, match=rf"m\.png: mask has {(values == 1).sum()} pixels that are transparent, which"):
        decode.read_mask(file(tmp_path / "m.png"), coding)


def test_masks_of_4_bits_keep_their_ids(tmp_path):
    packed = np.asarray([[0x01, 0x23], [0x32, 0x10]], np.uint8)
    (tmp_path / "m.png").write_bytes(png(packed, 0, bits=4))
    np.testing.assert_array_equal(decode.read_mask(file(tmp_path / "m.png"), CODING), [[0, 1, 2, 3], [3, 2, 1, 0]])
    assert decode.count_mask(file(tmp_path / "m.png"), CODING)[1] == {0: 2, 1: 2, 2: 2, 3: 2}


def test_inverted_masks_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((8, 9), np.uint8), photometric="miniswhite")
    with pytest.raises(DataError, match="mask is stored inverted"):
        decode.read_mask(file(tmp_path / "m.tif"), CODING)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("jpeg", {}, "JPEG"),
        ("webp", {"lossless": False}, "lossy WebP"),
        ("webp", {"lossless": False, "exif": exif(1).tobytes()}, "lossy WebP"),
        ("tiff", {"compression": "jpeg"}, "TIFF with jpeg compression"),
    ],
)
def test_lossy_masks_are_refused(tmp_path, kind, options, words):
    """Whatever their extension says."""
    Image.fromarray(np.zeros((32, 32), np.uint8)).convert("RGB" if kind == "webp" else "L").save(
        tmp_path / "m.png", kind, **options
    )
    for read in (decode.read_mask, decode.count_mask):
        with pytest.raises(DataError, match=f"mask is stored as {words}, which changes ids and colours"):
            read(file(tmp_path / "m.png"), CODING)


def test_lossless_masks_of_other_formats_are_read(tmp_path, ids):
    for name in ("m.bmp", "m.tif"):
        Image.fromarray(ids(0, 4)).save(tmp_path / name)
        np.testing.assert_array_equal(decode.read_mask(file(tmp_path / name), CODING), ids(0, 4))
    table = np.asarray([(1, 2, 3), (4, 5, 6), (7, 8, 9), (0, 0, 0)], np.uint8)
    Image.fromarray(table[ids(0, 4)]).save(tmp_path / "m.webp", lossless=True)
    coding = ColourCoding(((1, 2, 3), (4, 5, 6), (7, 8, 9), (0, 0, 0)))
    np.testing.assert_array_equal(decode.read_mask(file(tmp_path / "m.webp"), coding), ids(0, 4))


def test_a_palette_that_shows_other_classes_is_refused(tmp_path, ids):
    coding = IdCoding((0, 1), (255,), colours={0: (128, 64, 128), 1: (0, 0, 142)})
    mask = Image.fromarray(ids(0, 2))
    for colours, agrees in (
        ([128, 64, 128, 0, 0, 142], True),
        ([9, 9, 9, 8, 8, 8], True),  # of no class: a palette for the eye
        ([0, 0, 142, 128, 64, 128], False),
        ([128, 64, 128, 8, 8, 8], False),
        ([value for grey in range(256) for value in [grey] * 3], True),  # nobody chose these
        ([0, 0, 0, 0, 0, 0], True),
    ):
        mask.putpalette(colours)
        mask.save(tmp_path / "m.png")
        if agrees:
            np.testing.assert_array_equal(decode.read_mask(file(tmp_path / "m.png"), coding), ids(0, 2))
        else:
            with pytest.raises(DataError, match=r"the palette shows id . as \[.*dataset.yaml says \[.*`coding: col"):
                decode.read_mask(file(tmp_path / "m.png"), coding)


def test_a_palette_speaks_alike_of_all_masks_that_have_it(tmp_path):
    """Also of one that holds none of the classes whose colours show that it is of these classes."""
    coding = IdCoding((0, 1, 2), (255,), colours={0: (0, 0, 0), 1: (0, 0, 142), 2: (9, 8, 7)})
    for values, agrees in (([0, 1], True), ([0, 2], False), ([2, 2], False)):
        mask = Image.fromarray(np.asarray([values], np.uint8))
        mask.putpalette([0, 0, 0, 0, 0, 142, 2, 2, 2])
        mask.save(tmp_path / "m.png")
        if agrees:
            decode.read_mask(file(tmp_path / "m.png"), coding)
        else:
            with pytest.raises(
                DataError, match=r"the palette shows id 2 as \[2, 2, 2\], dataset.yaml says \[9, 8, 7\]"
            ):
                decode.read_mask(file(tmp_path / "m.png"), coding)


def test_ignored_ids_may_share_a_colour(tmp_path):
    coding = IdCoding((1,), (0, 255), colours={0: (5, 5, 9), 1: (0, 0, 142), 255: (5, 5, 9)})
    mask = Image.fromarray(np.asarray([[0, 1]], np.uint8))
    mask.putpalette([5, 5, 9, 0, 0, 142])
    mask.save(tmp_path / "m.png")
    np.testing.assert_array_equal(decode.read_mask(file(tmp_path / "m.png"), coding), [[255, 0]])


def test_too_many_pixels_are_refused_by_the_header(tmp_path, monkeypatch):
    bomb = png(np.zeros((2, 2, 3), np.uint16), 2)
    huge = struct.pack(">II", 60000, 60000)
    bomb = bomb[:16] + huge + bomb[24:29] + struct.pack(">I", zlib.crc32(b"IHDR" + huge + bomb[24:29])) + bomb[33:]
    (tmp_path / "a.png").write_bytes(bomb)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    told = r"60000x60000 is 3,600,000,000 pixels, "
    with pytest.raises(DataError, match=told + r"above data\.max_pixels .*; set data\.tile \(2048, say\)"):
        read_size(file(tmp_path / "a.png"))
    for read in (decode.read_rgb, lambda one: decode.read_mask(one, CODING)):
        with pytest.raises(DataError, match=told + r"each of which takes 23 bytes .* above data\.max_decoded_bytes"):
            read(file(tmp_path / "a.png"))


def test_no_other_formats_are_tried(tmp_path):
    """EPS, for one, is drawn by a program that the file drives."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(DataError, match="no image format is recognised"):
        decode.read_rgb(file(tmp_path / "a.png"))


def test_an_aerial_image_is_read_within_memory(tmp_path):
    """14,000 x 14,000, above Pillow's own limits: the array, what Pillow holds of a grey image, and some blocks."""
    side = 14_000
    Image.new("L", (side, side), 90).save(tmp_path / "a.png", compress_level=1)
    script = f"""
        import resource
        from raylab.data import decode
        from raylab.files import Folder
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        image = decode.read_rgb(Folder({str(tmp_path)!r}).file("a.png"))
        assert image.shape == ({side}, {side}, 3) and (image[::999, ::999] == 90).all()
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / {side**2})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 5.5
