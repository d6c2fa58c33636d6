"""The tiles of an image are together the image, whatever its file says of itself, and need no more than bands of it."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from raylab.data import bands, decode
from raylab.data.bands import TileFile, bands_of
from raylab.data.coding import ColourCoding, IdCoding
from raylab.data.image_file import Reading, open_image, read_size
from raylab.data.layout import Entry, tiles_of
from raylab.data.png_bands import PngBands, _png
from raylab.errors import DataError
from raylab.files import Folder

HEIGHT, WIDTH, TILE = 37, 50, 16
IDS = IdCoding(tuple(range(255)), (255,))
EVERY_MODE = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


@pytest.fixture(autouse=True)
def small_bands(monkeypatch):
    monkeypatch.setattr(bands, "BAND_PIXELS", 7 * WIDTH)


def scene(mode, seed=0):
    """Smooth and rough, so that PNG's encoder takes every filter."""
    rng = np.random.default_rng(seed)
    smooth = (np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) * 3)[..., None] + [0, 40, 90]
    pixels = np.where(rng.random((HEIGHT, WIDTH, 1)) < 0.3, rng.integers(0, 256, (HEIGHT, WIDTH, 3)), smooth % 256)
    image = Image.fromarray(pixels.astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray((pixels[..., 0] * 251 + pixels[..., 1]).astype(np.uint16))
    return image.quantize(200) if mode == "P" else image.convert(mode)


def tiles(file, tile=TILE):
    size = read_size(file)
    found = [TileFile(file, entry.window) for entry in tiles_of(Entry("a", "a", "a"), size, tile)]
    assert len(found) == -(-size[0] // tile) * -(-size[1] // tile)
    return found


def assert_the_same(file, read):
    """The tiles of a file, put together, are what is read of all of it; in any order."""
    whole = read(file)
    again = np.zeros_like(whole)
    for one in np.random.default_rng(0).permutation(np.asarray(tiles(file), object)[:, None])[:, 0]:
        top, left, height, width, _ = one.window
        again[top : top + height, left : left + width] = read(one)
    np.testing.assert_array_equal(again, whole)


def n_bands(file):
    with open_image(file, whole=False) as image:
        found = bands_of(file, image)
    return 1 if found is None else len(found.tops) - 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp"])
def test_turned_images_and_masks(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    scene("RGB").save(tmp_path / f"a.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    file = Folder(tmp_path).file(f"a.{suffix}")
    assert read_size(file) == ((HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT))
    assert n_bands(file) == (6 if suffix in ("png", "tif") else 1)
    assert_the_same(file, decode.read_rgb)
    if suffix in ("png", "tif"):
        scene("L").save(tmp_path / f"m.{suffix}", exif=exif)
        assert_the_same(Folder(tmp_path).file(f"m.{suffix}"), lambda file: decode.read_mask(file, IDS))


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "gif"])
def test_every_mode_of_a_format(tmp_path, suffix, mode):
    if (suffix, mode) in {(suffix, mode) for suffix in ("bmp", "gif") for mode in ("LA", "RGBA", "I;16")}:
        pytest.skip("the format has no such mode")
    scene(mode).save(tmp_path / f"a.{suffix}")
    assert_the_same(Folder(tmp_path).file(f"a.{suffix}"), decode.read_rgb)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_of_few_bits_as_masks(tmp_path, bits):
    values = np.random.default_rng(bits).integers(0, 2**bits, (HEIGHT, WIDTH)).astype(np.uint8)
    image = Image.fromarray(values).convert("P")
    image.putdata(values.ravel().tolist())
    image.putpalette(np.random.default_rng(9).integers(0, 256, 3 * 2**bits).tolist())
    image.save(tmp_path / "m.png", bits=bits)
    file = Folder(tmp_path).file("m.png")
    np.testing.assert_array_equal(decode.read_mask(file, IDS), values)
    assert_the_same(file, lambda file: decode.read_mask(file, IDS))
    colours = {tuple(colour) for colour in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
    assert_the_same(file, lambda file: decode.read_mask(file, ColourCoding(tuple(sorted(colours)))))


def deep_png(channels, kind):
    """16 bits a channel, each row with another of PNG's filters that look left only (PIL writes no such file)."""
    values = np.random.default_rng(3).integers(0, 2**16, (HEIGHT, WIDTH, channels)).astype(">u2")
    raw = values.reshape(HEIGHT, -1).view(np.uint8)
    step, rows = 2 * channels, []
    for y, row in enumerate(raw):
        left = np.concatenate([np.zeros(step, np.uint8), row[:-step]])
        above = raw[y - 1] if y else np.zeros_like(row)
        corner = np.concatenate([np.zeros(step, np.uint8), above[:-step]])
        by = [
            np.zeros_like(row),
            left,
            above,
            ((left.astype(int) + above) // 2).astype(np.uint8),
            _paeth(left, above, corner),
        ]
        rows.append(bytes([y % 5]) + (row - by[y % 5]).tobytes())
    data = np.frombuffer(b"".join(rows), np.uint8).reshape(HEIGHT, -1)

    return _png(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0), data, level=6)


def _paeth(a, b, c):
    a, b, c = (one.astype(int) for one in (a, b, c))
    distances = np.abs(np.stack([b - c, a - c, a + b - 2 * c]))
    return np.choose(distances.argmin(axis=0), [a, b, c]).astype(np.uint8)


@pytest.mark.parametrize(("channels", "kind"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_sixteen_bits(tmp_path, channels, kind):
    (tmp_path / "a.png").write_bytes(deep_png(channels, kind))
    file = Folder(tmp_path).file("a.png")
    assert n_bands(file) == 6
    for reading in (Reading(), Reading(low=1000, high=40000)):
        assert_the_same(file, lambda file, reading=reading: decode.read_rgb(file, reading))
    assert max(decode.deep_maximum(one) for one in tiles(file)) == decode.deep_maximum(file)


@pytest.mark.parametrize("how", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("planar", [1, 2])
def test_strips_of_tiff(tmp_path, how, planar):
    pixels = np.asarray(scene("RGB"))
    if how in ("raw", "tiff_adobe_deflate") and planar == 2:
        tifffile.imwrite(
            tmp_path / "a.tif", np.moveaxis(pixels, -1, 0), photometric="rgb", planarconfig="separate", rowsperstrip=4,
            compression=None if how == "raw" else "zlib",
        )  # fmt: skip
    elif planar == 2:
        pytest.skip("nothing here writes it")
    else:
        scene("RGB").save(tmp_path / "a.tif", compression=how, **({"strip_size": 16 * 150} if how != "raw" else {}))
    assert_the_same(Folder(tmp_path).file("a.tif"), decode.read_rgb)


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
@pytest.mark.parametrize("values", ["uint8", "uint16"])
def test_tiles_of_tiff(tmp_path, order, big, values):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(values).max, (HEIGHT, WIDTH)).astype(values)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(16, 16), bigtiff=big, byteorder=order)
    file = Folder(tmp_path).file("a.tif")
    assert n_bands(file) == 3
    assert_the_same(file, decode.read_rgb)


def test_an_interlaced_png_is_decoded_whole(tmp_path):
    first = io.BytesIO()
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(first, "PNG")
    one = bytearray(first.getvalue())
    one[28] = 1
    one[29:33] = struct.pack(">I", zlib.crc32(bytes(one[12:29])))
    (tmp_path / "a.png").write_bytes(bytes(one))
    assert n_bands(Folder(tmp_path).file("a.png")) == 1


def test_image_and_mask_that_are_decoded_whole_are_decoded_once(tmp_path, monkeypatch):
    """Read in turns, as by training, though together they are more than a process keeps."""
    scene("RGB").save(tmp_path / "a.jpg")
    scene("P").save(tmp_path / "m.gif")
    monkeypatch.setattr(bands, "_CACHE_BYTES", 1)
    decoded, file_of = [], bands._Whole.file_of
    monkeypatch.setattr(
        bands._Whole, "file_of", lambda self, band: decoded.append(str(self.file)) or file_of(self, band)
    )
    image, mask = (tiles(Folder(tmp_path).file(name)) for name in ("a.jpg", "m.gif"))
    for one, other in zip(image, mask, strict=True):
        decode.read_rgb(one)
        decode.read_mask(other, IDS)
    assert len(decoded) == 2
    scene("RGB").save(tmp_path / "b.jpg")
    for name in ("b.jpg", "a.jpg"):
        decode.read_rgb(tiles(Folder(tmp_path).file(name))[0])
    assert len(decoded) == 4  # nothing else is kept


def test_a_later_band_is_reached_without_its_predecessors(tmp_path, monkeypatch):
    scene("RGB").save(tmp_path / "a.png")
    png = PngBands(Folder(tmp_path).file("a.png"), 7 * WIDTH)
    rows = png._rows
    read = []
    monkeypatch.setattr(png, "_rows", lambda content, band: read.append(band) or rows(content, band))
    for band in (3, 1, 3, 5):
        png.file_of(band)
    assert read == [0, 1, 2, 3, 1, 3, 4, 5]


@pytest.mark.parametrize("where", ["cut", "damaged", "checksum"])
def test_a_damaged_png_is_named(tmp_path, where):
    scene("RGB").save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    if where == "cut":
        content = content[:-200]
    else:
        content[len(content) // 2 if where == "damaged" else -17] ^= 255
    (tmp_path / "a.png").write_bytes(bytes(content))
    file = Folder(tmp_path).file("a.png")
    with pytest.raises(DataError, match=r"a\.png: does not decode"):
        assert_the_same(file, decode.read_rgb)
    with pytest.raises(DataError, match=r"a\.png: does not decode"):
        [decode.read_rgb(one) for one in tiles(file)]


def test_a_mask_of_another_size_is_named(tmp_path):
    scene("L").save(tmp_path / "m.png")
    file = Folder(tmp_path).file("m.png")
    window = tiles_of(Entry("a", "a", "a"), (74, 100), TILE)[0].window
    with pytest.raises(DataError, match=r"m\.png: is 50x37, but its image 100x74"):
        decode.read_mask(TileFile(file, window), IDS)
