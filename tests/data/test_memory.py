"""What large images cost: the memory of `raylab check` and `raylab pack` does not grow with them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from raylab.data.png_bands import _chunk, encode_png

SIDE = 13000
BOUND = 2**30
"""Bytes. Pillow alone takes 4 for each of the 169 million pixels of a decoded colour image, beside copies of them."""
_PROGRAM = """
import resource, sys
from raylab.cli import main
try:
    main(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
"""


def write_png(path: Path, colour_type: int, first_row: np.ndarray, palette: bytes = b"") -> None:
    """A square PNG whose rows are each the one above plus one (so that every row needs the one above)."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, colour_type, 0, 0, 0)
    compressor = zlib.compressobj(1)
    step = b"\2" + bytes([colour_type == 2]) * first_row.nbytes
    data = compressor.compress(b"\0" + first_row.tobytes())
    data += b"".join(compressor.compress(step) for _ in range(SIDE - 1)) + compressor.flush()
    palette = _chunk(b"PLTE", palette) if palette else b""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + palette + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    )


_DECODE = """
import re, sys
from pathlib import Path
from raylab.data import decode
from raylab.data.coding import ColourCoding, IdCoding
from raylab.data.image_file import decoded_bytes, open_image
from raylab.files import Folder
file = Folder(sys.argv[1]).file(sys.argv[2])
codings = {"ids": IdCoding(tuple(range(255)), (255,)), "colours": ColourCoding(((1, 2, 3),))}
with open_image(file, whole=False) as image:
    told, pixels = decoded_bytes(image), image.width * image.height
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
Path("/proc/self/clear_refs").write_text("5")  # from here on
before = peak()
decode.read_rgb(file) if sys.argv[3] == "image" else decode.read_mask(file, codings[sys.argv[3]])
print(told, (peak() - before) / pixels)
"""
_BLOCK = 4
"""Bytes a pixel of what is converted at a time, where that is a quarter of the image."""


def formats(side: int) -> dict[str, bytes]:
    """Pictures of one colour by format: what is decoded at once, since a PNG without interlacing is read in bands."""
    picture, found = np.full((side, side, 4), (1, 2, 3, 255), np.uint8), {}
    for name, kind, mode, options in (
        ("grey.jpg", "JPEG", "L", {}),
        ("colours.jpg", "JPEG", "RGB", {"progressive": True}),
        ("palette.gif", "GIF", "P", {}),
        ("colours.webp", "WEBP", "RGB", {"lossless": True, "method": 0}),
        ("colours.bmp", "BMP", "RGB", {}),
        ("colours.png", "PNG", "RGB", {}),
        ("alpha.png", "PNG", "RGBA", {}),
    ):
        out = io.BytesIO()
        Image.fromarray(picture).convert(mode).save(out, kind, **options)
        found[name] = out.getvalue()
    deep = picture.astype(np.uint16) * 257
    for name, pixels, kind in (
        ("grey16.tif", deep[..., 0], "minisblack"),
        ("colours16.tif", deep[..., :3], "rgb"),
        ("alpha16.tif", deep, "rgb"),
    ):
        out = io.BytesIO()
        tifffile.imwrite(out, pixels, photometric=kind, compression="zlib", rowsperstrip=side)
        found[name] = out.getvalue()
    found["colours16.png"] = encode_png(deep[..., :3])
    return found


@pytest.mark.slow
def test_what_decoding_takes_is_what_is_told(tmp_path: Path) -> None:
    for name, content in formats(4096).items():
        (tmp_path / name).write_bytes(content)
        masks = {"palette.gif": ["ids"], "colours.webp": ["colours"], "alpha.png": ["colours"]}
        for what in ["image", *masks.get(name, [])]:
            command = [sys.executable, "-c", _DECODE, str(tmp_path), name, what]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            assert ended.returncode == 0, ended.stderr
            told, taken = map(float, ended.stdout.split())
            assert told / 2 < taken < told + _BLOCK, (name, what, told, taken)


@pytest.fixture
def aerial(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    write_png(tmp_path / "images/train/a.png", 2, rng.integers(0, 256, (SIDE, 3)).astype(np.uint8))
    write_png(tmp_path / "masks/train/a.png", 3, rng.integers(0, 2, SIDE).astype(np.uint8), b"\0\0\0\xff\xff\xff")
    for kind, content in (("images", np.zeros((32, 32, 3), np.uint8)), ("masks", np.eye(32, dtype=np.uint8))):
        (tmp_path / kind / "val").mkdir()
        Image.fromarray(content).save(tmp_path / kind / "val" / "b.png")
    (tmp_path / "dataset.yaml").write_text("classes: [{name: ground, id: 0}, {name: roof, id: 1}]\n")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "pack"])
def test_169_megapixels_take_less_than_a_gigabyte(aerial: Path, command: str) -> None:
    output = ["--output", str(aerial / "packed")] if command == "pack" else []
    args = [command, "--name", "folder", "--root", str(aerial), "--tile", "2048", *output]
    ended = subprocess.run([sys.executable, "-c", _PROGRAM, *args], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "49 training" in ended.stdout
    assert int(ended.stderr.split()[-1]) < BOUND
