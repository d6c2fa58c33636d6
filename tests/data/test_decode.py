from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from raylab.data import decode
from raylab.data.coding import ColourCoding, IdCoding
from raylab.errors import DataError
from raylab.files import Folder

CODING = IdCoding((0, 1, 2), (255,))


@settings(max_examples=50)
@given(
    st.permutations(range(256)),
    st.integers(1, 200),
    st.integers(0, 20),
    arrays(np.uint8, (5, 7)),
)
def test_ids_map_by_their_order(order, classes, ignored, mask):
    known, skipped = order[:classes], order[classes : classes + ignored]
    coding = IdCoding(tuple(known), tuple(skipped))
    expected = [[known.index(v) if v in known else 255 if v in skipped else -1 for v in row] for row in mask.tolist()]
    image = Image.fromarray(mask)
    if -1 in np.asarray(expected):
        with pytest.raises(DataError, match="mask ids without a class"):
            coding.training_ids(coding.values(image, "m.png"), "m.png")
    else:
        decoded = coding.training_ids(coding.values(image, "m.png"), "m.png")
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, expected)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=2, max_size=30, unique=True),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_colours_map_by_their_order(colours, ignored, random):
    known = colours[ignored:] or colours
    skipped = colours[:ignored] if len(colours) > ignored else []
    table = np.asarray([*known, *skipped], np.uint8)
    pick = np.asarray([[random.randrange(len(table)) for _ in range(6)] for _ in range(4)])
    coding = ColourCoding(tuple(known), tuple(skipped))
    decoded = coding.training_ids(coding.values(Image.fromarray(table[pick]), "m.png"), "m.png")
    np.testing.assert_array_equal(decoded, np.where(pick < len(known), pick, 255))


def test_colour_without_a_class_is_named():
    coding = ColourCoding(((1, 2, 3), (4, 5, 6)))
    mask = np.full((4, 4, 3), (1, 2, 3), np.uint8)
    mask[0, 0] = (200, 0, 7)
    with pytest.raises(DataError, match=r"m\.png: mask colours without a class: \[200, 0, 7\] \(1 pixels\)"):
        coding.training_ids(coding.values(Image.fromarray(mask), "m.png"), "m.png")


def test_palette_masks_give_their_indices(tmp_path, ids):
    palette = Image.new("P", (64, 64))
    palette.putdata(ids(3).ravel().tolist())
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(decode.read_mask(Folder(tmp_path).file("p.png"), CODING), ids(3))


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("RGB", "in colours (mode RGB)"),
        ("RGBA", "in colours (mode RGBA)"),
        (
            "LA",
            "an alpha channel beside its ids (mode LA), 8-bit class ids (mode L or P) are expected; save it without",
        ),
        ("1", "one bit"),
        ("I;16", "more than 8 bits (mode I;16)"),
    ],
)
def test_masks_of_another_mode(tmp_path, mode, words):
    path = tmp_path / "mask.png"
    Image.new(mode, (64, 64)).save(path)
    with pytest.raises(DataError) as caught:
        decode.read_mask(Folder(tmp_path).file("mask.png"), CODING)
    (line,) = caught.value.problems
    assert line.startswith(f"{path}: mask")
    assert words in line
    assert "\n" not in line


@pytest.mark.parametrize("coding", [CODING, ColourCoding(((0, 0, 0),))])
def test_masks_in_colours_of_print(tmp_path, coding):
    Image.new("CMYK", (8, 8)).save(tmp_path / "mask.tif")
    with pytest.raises(
        DataError, match=r"mode CMYK.*expected; save class ids as 8-bit grey, or colours as RGB of 8 bit"
    ):
        decode.read_mask(Folder(tmp_path).file("mask.tif"), coding)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_images_of_any_8_bit_mode_become_rgb(tmp_path, mode):
    Image.new(mode, (30, 20)).save(tmp_path / "image.png")
    decoded = decode.read_rgb(Folder(tmp_path).file("image.png"))
    assert decoded.shape == (20, 30, 3)
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=60)
@given(st.data(), st.sampled_from(["png", "jpeg", "bmp", "tiff", "webp"]))
def test_damaged_files_never_give_another_error(tmp_path_factory, data, kind):
    """Cut or overwritten bytes: either a picture comes out, or a `DataError` of one line."""
    path = tmp_path_factory.mktemp("damaged") / f"image.{kind}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    problems = []
    try:
        assert decode.read_rgb(Folder(path.parent).file(path.name)).shape[2] == 3
    except DataError as error:
        problems = error.problems
    assert len(problems) <= 1
    assert all("\n" not in line and line.startswith(str(path)) for line in problems)
