"""A data set with images larger than `data.tile`: its tiles are ordinary images to all that see it."""

import struct

import numpy as np
import pytest
from PIL import Image

from raylab.config import DataConfig
from raylab.data import bands, survey_dataset
from raylab.errors import DataError
from tests.data.sets import assert_equal, dataset_of, packed

TILE = 32
YAML = "classes: [{name: road, id: 7}, {name: car, id: 2}]\nignore: 0\n"


@pytest.fixture
def aerial(tmp_path, monkeypatch):
    """A large RGB image with a palette mask, a large 16-bit one that is turned, and a small one; one to validate."""
    monkeypatch.setattr(bands, "BAND_PIXELS", 400)
    rng = np.random.default_rng(0)
    turned = Image.Exif()
    turned[274] = 6
    for split, name, height, width, exif in (
        ("train", "aerial", 70, 100, None),
        ("train", "aerial-deep", 40, 50, turned),
        ("train", "small", 9, 7, None),
        ("val", "other", 40, 30, None),
    ):
        image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        if name == "aerial-deep":
            image = rng.integers(0, 2**16, (height, width)).astype(np.uint16)
        mask = Image.fromarray(rng.choice(np.asarray([7, 2, 0], np.uint8), (height, width)))
        for kind, content in (("images", Image.fromarray(image)), ("masks", mask)):
            folder = tmp_path / "raw" / kind / split
            folder.mkdir(parents=True, exist_ok=True)
            content.save(folder / f"{name}.png", **({"exif": exif} if exif else {}))
    (tmp_path / "raw" / "dataset.yaml").write_text(YAML)
    return DataConfig(name="folder", root=str(tmp_path / "raw"), tile=TILE)


def whole(config):
    return config.model_copy(update={"tile": None})


def test_tiles_cover_each_image_once(aerial):
    cut, uncut = dataset_of(aerial), dataset_of(whole(aerial))
    names = cut.image_names("train")
    assert names == sorted(names)
    assert names[:4] == ["aerial-deep@00,00", "aerial-deep@00,32", "aerial-deep@32,00", "aerial-deep@32,32"]
    assert names[-1] == "small"
    assert cut.image_sizes("train").max() == TILE
    for split, n_files in (("train", 3), ("val", 1)):
        assert len(cut.paths(split)) == n_files
        for index, name in enumerate(uncut.image_names(split)):
            for read in ("read_image", "read_mask"):
                one = getattr(uncut, read)(split, index)
                again = np.zeros_like(one)
                for at, tile in enumerate(cut.image_names(split)):
                    if tile.partition("@")[0] == name:
                        top, left = map(int, tile.partition("@")[2].split(",")) if "@" in tile else (0, 0)
                        part = getattr(cut, read)(split, at)
                        again[top : top + part.shape[0], left : left + part.shape[1]] = part
                np.testing.assert_array_equal(again, one)


def test_the_survey_counts_the_same_pixels(aerial):
    cut, uncut = (survey_dataset(config, decode_images=True) for config in (aerial, whole(aerial)))
    assert not cut.problems
    assert cut.splits["train"].images == 12 + 4 + 1
    for split in ("train", "val"):
        assert cut.splits[split].values == uncut.splits[split].values
        assert cut.splits[split].pixels == uncut.splits[split].pixels


def test_the_fingerprint_is_of_files_and_tile_where_one_is_cut(aerial):
    of = [dataset_of(aerial.model_copy(update={"tile": tile})).fingerprint() for tile in (None, 32, 64, 100, 101)]
    assert of[0] == of[3] == of[4]
    assert len(set(of)) == 3


@pytest.mark.parametrize("coding", ["ids", "colour"])
def test_a_packed_set_holds_the_tiles(aerial, tmp_path, coding):
    if coding == "colour":
        colours = {7: (128, 0, 1), 2: (0, 128, 2), 0: (0, 0, 0)}
        for path in (tmp_path / "raw" / "masks").rglob("*.png"):
            with Image.open(path) as opened:
                values, exif = np.array(opened), opened.getexif()
            painted = np.zeros((*values.shape, 3), np.uint8)
            for value, colour in colours.items():
                painted[values == value] = colour
            Image.fromarray(painted).save(path, exif=exif)
        listed = [f"{{name: c{value}, id: {value}, colour: {list(colour)}}}" for value, colour in colours.items()]
        (tmp_path / "raw" / "dataset.yaml").write_text(f"coding: colour\nignore: 0\nclasses: [{', '.join(listed)}]\n")
    other = packed(aerial, tmp_path / "packed")
    assert_equal(aerial, other)
    assert_equal(aerial, whole(other))  # its tile is known
    assert survey_dataset(other, decode_images=True).lines() == survey_dataset(aerial, decode_images=True).lines()
    with pytest.raises(DataError, match=r"packed with data\.tile 32, not 16; set data\.tile to 32"):
        dataset_of(other.model_copy(update={"tile": 16}))


def test_sixteen_bits_in_colours_stay_so_in_a_pack(aerial, tmp_path):
    from raylab.data.png_bands import encode_png

    deep = np.random.default_rng(1).integers(0, 2**16, (40, 50, 3)).astype(np.uint16)
    (tmp_path / "raw/images/train/small.png").write_bytes(encode_png(deep))
    Image.new("L", (50, 40), 7).save(tmp_path / "raw/masks/train/small.png")
    (tmp_path / "raw/dataset.yaml").write_text(YAML + "range: [1000, 50000]\n")
    other = packed(aerial, tmp_path / "packed")
    assert_equal(aerial, other)
    assert not survey_dataset(other, decode_images=True).problems


def twelve_bits(values):
    """A TIFF of (H, W) values of 12 bits, two in three bytes."""
    height, width = values.shape
    bits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(height, width, 2), axis=2)[..., 4:]
    pixels = np.packbits(bits.reshape(height, -1), axis=1).tobytes()
    tags = (
        (256, width),
        (257, height),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, len(pixels)),
    )
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_twelve_bits_are_the_same_in_a_pack(aerial, tmp_path):
    """Every value: what a PNG of 16 bits holds in their place is scaled to the same 8."""
    values = np.random.default_rng(2).permutation(4096).reshape(64, 64)
    (tmp_path / "raw/images/train/small.png").unlink()
    (tmp_path / "raw/images/train/small.tif").write_bytes(twelve_bits(values))
    Image.new("L", (64, 64), 7).save(tmp_path / "raw/masks/train/small.png")
    np.testing.assert_array_equal(
        dataset_of(whole(aerial)).read_image("train", 2)[..., 0], np.round(values / 4095 * 255)
    )
    assert_equal(aerial, packed(aerial, tmp_path / "packed"))
    (tmp_path / "raw/images/train/aerial-deep.png").unlink()
    (tmp_path / "raw/masks/train/aerial-deep.png").unlink()
    (tmp_path / "raw/dataset.yaml").write_text(YAML + "range: [500, 3000]\n")
    assert_equal(aerial, packed(aerial, tmp_path / "in-range"))


def test_what_is_too_large_is_refused_by_its_header(aerial, tmp_path):
    small = {"max_pixels": TILE**2}
    lines = survey_dataset(whole(aerial).model_copy(update=small), decode_images=True).problems
    assert len(lines) == 6
    assert "aerial.png: 100x70 is 7,000 pixels, above data.max_pixels (1,024)" in lines[0] + lines[2]
    assert all("set data.tile (2048, say)" in line for line in lines)
    assert not survey_dataset(aerial.model_copy(update=small), decode_images=True).problems
    # What is decoded in bands may have any size; what is decoded whole may not.
    few = aerial.model_copy(update={"max_decoded_bytes": 11000})
    assert not survey_dataset(few, decode_images=True).problems
    Image.new("RGB", (100, 70)).save(tmp_path / "raw/images/train/aerial.jpg")
    (tmp_path / "raw/images/train/aerial.png").unlink()
    for decode_images in (False, True):
        (line,) = survey_dataset(few, decode_images=decode_images).problems
        assert (
            "aerial.jpg: 100x70 is 7,000 pixels, each of which takes 10 bytes to decode: 70,000 are above data.max_d"
            in line
        )


def test_a_mask_of_another_size_is_one_line(aerial, tmp_path):
    Image.new("L", (50, 35), 7).save(tmp_path / "raw/masks/train/aerial.png")
    (line,) = survey_dataset(aerial).problems
    assert "masks/train/aerial.png: is 50x35, but its image 100x70" in line
