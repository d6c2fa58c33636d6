"""The set as a whole: what is counted, and what its owner is asked."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from raylab.config import DataConfig
from raylab.data import find_problems, survey_dataset
from raylab.data.fingerprint import FileDigests
from raylab.data.survey import FileFacts
from raylab.errors import DataError
from tests.data.sets import opened, packed

TWO = "classes: [{name: ground, id: 0}, {name: box, id: 1}]\n"


@pytest.fixture
def boxes(tmp_path):
    """Six training and two validation pairs of 12 x 16 pixels: id 1 in a box of 24 pixels, 0 around it."""
    root = tmp_path / "boxes"
    for split, numbers in (("train", range(6)), ("val", range(6, 8))):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            mask = np.zeros((12, 16), np.uint8)
            mask[2:6, number : number + 6] = 1
            Image.fromarray(np.stack([mask * 200] * 3, 2)).save(root / f"images/{split}/{number}.png")
            Image.fromarray(mask).save(root / f"masks/{split}/{number}.png")
    (root / "dataset.yaml").write_text(TWO)
    return root


def config(root) -> DataConfig:
    return DataConfig(name="folder", root=str(root))


def change_masks(root, change) -> None:
    for path in root.glob("masks/*/*.png"):
        Image.fromarray(change(np.array(Image.open(path)))).save(path)


def test_pixels_are_counted_by_class_and_split(boxes):
    survey = survey_dataset(config(boxes))
    assert survey.problems == survey.warnings == []
    assert {split: dict(found.pixels) for split, found in survey.splits.items()} == {
        "train": {0: 6 * 168, 1: 6 * 24},
        "val": {0: 2 * 168, 1: 2 * 24},
    }
    lines = survey.lines()
    assert [line.split()[0] for line in lines] == ["pixels", "ground", "box", "void"]
    assert lines[2].split() == ["box", "144", "12.50", "%", "48", "12.50", "%"]


def test_0_and_255_with_classes_0_and_1_are_refused(boxes):
    change_masks(boxes, lambda mask: mask * 255)
    absent, ignored = find_problems(config(boxes))
    assert absent.startswith(f"{boxes / 'dataset.yaml'}: the class 'box' occurs in no mask; the masks hold ")
    assert "0 (1,344 pixels in 8 masks), 255 (ignored; 192 pixels in 8 masks). Correct the ids" in absent
    assert absent.endswith("or say `absent: [box]` in dataset.yaml if that is meant")
    assert "255 looks like a class but is ignored: 12.5 % of all pixels, in 8 of 8 masks" in ignored
    (boxes / "dataset.yaml").write_text(TWO.replace("id: 1", "id: 255"))
    assert find_problems(config(boxes)) == []
    (boxes / "dataset.yaml").write_text(TWO + "absent: [box]\nignore: [255]\n")
    assert find_problems(config(boxes)) == []


def test_an_answer_that_is_not_so_is_asked_after(boxes):
    (boxes / "dataset.yaml").write_text(TWO + "absent: [box]")
    assert "absent: 'box' occurs in the masks; take it out" in find_problems(config(boxes))[0]
    (boxes / "dataset.yaml").write_text(TWO + "absent: [bax]")
    assert "absent: 'bax' is no class; did you mean 'box'?; take it out" in find_problems(config(boxes))[0]
    (boxes / "dataset.yaml").write_text(TWO + "bits: 12")
    assert "no image has more than 8 bits a channel" in find_problems(config(boxes))[0]


def test_a_split_without_a_labelled_pixel(boxes):
    for path in boxes.glob("masks/val/*.png"):
        Image.new("L", (16, 12), 255).save(path)
    assert any("no pixel of the val split has a class: its masks hold 255 (ignored; 384 pixels in 2 masks)" in line
               for line in find_problems(config(boxes)))  # fmt: skip


def copy(root, split, name, to, mask_of=None):
    """An image once more, with its own mask or another's."""
    for kind, source in (("images", name), ("masks", mask_of or name)):
        content = (root / kind / "train" / f"{source}.png").read_bytes()
        (root / kind / split / f"{to}.png").write_bytes(content)


def test_an_image_in_train_and_val_is_asked_after(boxes, tmp_path):
    copy(boxes, "val", "3", "again")
    raw = config(boxes)
    other = packed(raw, tmp_path / "packed")
    for one, where in ((raw, f"{boxes}/dataset.yaml"), (other, f"{tmp_path}/packed (dataset.yaml)")):
        assert find_problems(one) == [
            f"{where}: images of val are in train too, byte for byte: 1 (images/val/again.png is images/train/3.png), "
            "so that mIoU would be measured on what was trained on; remove them from one split, or say `duplicates: "
            "across` in dataset.yaml if that is meant"
        ]
    for answer, left in (("within", 2), ("across", 0)):
        (boxes / "dataset.yaml").write_text(TWO + f"duplicates: {answer}\n")
        assert len(find_problems(raw)) == left
    (boxes / "images/val/again.png").unlink()
    (boxes / "masks/val/again.png").unlink()
    assert "duplicates: across, but no image is in train and val; take it out" in find_problems(raw)[0]


def test_an_image_twice_in_the_pool_is_asked_after(boxes):
    copy(boxes, "train", "3", "again", mask_of="4")
    copy(boxes, "train", "3", "and-again")
    (line,) = find_problems(config(boxes))
    assert (
        "images are in train more than once, byte for byte: 2 too many (images/train/and-again.png is images/" in line
    )
    assert line.endswith("remove the copies, or say `duplicates: within` in dataset.yaml if that is meant")
    (boxes / "images/train/and-again.png").unlink()
    (boxes / "masks/train/and-again.png").unlink()
    assert (
        "1 too many (images/train/again.png is images/train/3.png, with another mask)"
        in find_problems(config(boxes))[0]
    )
    (boxes / "dataset.yaml").write_text(TWO + "duplicates: within\n")
    assert find_problems(config(boxes)) == []


def test_only_images_of_one_size_in_bytes_are_hashed(boxes, monkeypatch):
    hashed = []
    monkeypatch.setattr(FileDigests, "find", lambda self, path, file: hashed.append(path) or (1, path.encode().hex()))
    for number, path in enumerate(sorted(boxes.glob("images/*/*.png"))):
        path.write_bytes(path.read_bytes().ljust(1000 * (number or 2) + 1000, b"\0"))
    assert survey_dataset(config(boxes)).problems == []
    assert sorted(hashed) == ["images/train/0.png", "images/train/2.png"]


def test_equal_tiles_of_a_packed_image_are_no_copies(tmp_path):
    """What is told apart are files: a field of one colour has many tiles that are alike."""
    for split, value in (("train", 0), ("val", 1)):
        for kind, pixels in (("images", np.full((8, 8, 3), 90 + value)), ("masks", np.full((8, 8), value))):
            (tmp_path / "raw" / kind / split).mkdir(parents=True)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "raw" / kind / split / "a.png")
    (tmp_path / "raw/dataset.yaml").write_text(TWO)
    tiled = config(tmp_path / "raw").model_copy(update={"tile": 4})
    other = packed(tiled, tmp_path / "packed")
    assert find_problems(tiled) == find_problems(other) == []
    copy(tmp_path / "raw", "val", "a", "b")
    twice = packed(tiled, tmp_path / "twice")
    assert ["val are in train too, byte for byte: 1 (images/val/b.png is" in line for line in find_problems(twice)] == [
        True
    ]


def test_names_of_both_splits_are_noted_unless_they_are_numbers(boxes):
    copy(boxes, "val", "3", "0")
    change_masks(boxes, lambda mask: mask)
    (boxes / "images/val/0.png").write_bytes((boxes / "images/val/6.png").read_bytes() + b"another file")
    assert survey_dataset(config(boxes)).warnings == []
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (boxes / kind / split / "0.png").rename(boxes / kind / split / "the old bridge.png")
    (line,) = survey_dataset(config(boxes)).warnings
    assert "in train and val there are images named the old bridge; if these are the same scenes, mIoU is" in line


def test_official_sets_are_warned_of(camvid_root):
    for path in camvid_root.glob("*annot/*.png"):
        mask = np.array(Image.open(path))
        mask[mask == 7] = 6
        Image.fromarray(mask).save(path)
    survey = survey_dataset(DataConfig(name="camvid", root=str(camvid_root)))
    assert survey.problems == []
    assert "camvid: the class 'fence' occurs in no mask" in survey.warnings[0]
    # There is no file in which an answer could be given.
    assert not any("dataset.yaml" in line for line in survey.warnings)


def test_what_an_official_coding_ignores_is_not_asked_after(camvid_root):
    for path in camvid_root.glob("*annot/*.png"):
        mask = np.array(Image.open(path))
        mask[: len(mask) // 2] = 11
        Image.fromarray(mask).save(path)
    survey = survey_dataset(DataConfig(name="camvid", root=str(camvid_root)))
    assert not any("looks like a class" in line for line in [*survey.problems, *survey.warnings])


def test_dark_16_bit_images_are_asked_after(boxes):
    for path in boxes.glob("images/*/*.png"):
        Image.fromarray(np.asarray(Image.open(path))[..., 0].astype(np.uint16) * 16 + 40).save(path)
    (line,) = find_problems(config(boxes))
    assert "8 images have more than 8 bits a channel, but no value above 3240 of 65535" in line
    assert "of which 8 bits would keep 13 steps; say `bits: 12` or `range: [0, 3240]` in dataset.yaml" in line
    (boxes / "dataset.yaml").write_text(TWO + "bits: 12\n")
    assert find_problems(config(boxes)) == []
    wide = opened("folder", boxes)
    assert wide.read_image("train", 0).max() == round(3240 / 4095 * 255)
    assert wide.fingerprint() != _fingerprint_with(boxes, "range: [0, 65535]\n")


def _fingerprint_with(root, line: str) -> str:
    (root / "dataset.yaml").write_text(TWO + line)
    return opened("folder", root).fingerprint()


def test_sizes_that_differ_are_found_by_headers_and_by_every_reader(boxes, tmp_path):
    path = boxes / "masks/train/3.png"
    Image.fromarray(np.asarray(Image.open(path))[::2, ::2]).save(path)
    line = f"{path}: mask is 8x6, but its image {boxes / 'images/train/3.png'} is 16x12 (width x height, upright)"
    assert [problem.startswith(line) for problem in survey_dataset(config(boxes)).problems] == [True]
    for first in ([], ["image"]):
        dataset = opened("folder", boxes)
        for _ in first:
            dataset.read_image("train", 3)
        with pytest.raises(DataError, match="mask is 8x6, but its image"):
            dataset.read_mask("train", 3)
    with pytest.raises(DataError, match="mask is 8x6, but its image"):
        packed(config(boxes), tmp_path / "packed")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_mask_that_is_turned_otherwise_than_its_image_is_refused(boxes, suffix):
    """One of the two lies; a mask without EXIF was drawn on the upright image."""
    told = Image.Exif()
    told[274] = 3
    for kind, number in (("masks", 2), ("images", 4), ("images", 5), ("masks", 5)):
        path = boxes / kind / "train" / f"{number}.png"
        image = Image.open(path).transpose(Image.Transpose.ROTATE_180)
        path.unlink()
        image.save(path.with_suffix(f".{suffix}"), exif=told)
    for tile in (None, 8):
        assert find_problems(config(boxes).model_copy(update={"tile": tile})) == [
            f"{boxes}/masks/train/2.{suffix}: mask says that it is to be turned (EXIF orientation 3), its image "
            f"{boxes}/images/train/2.png says 1; save the mask upright, without EXIF"
        ]


def test_a_palette_is_looked_at_again_when_colours_are_listed(boxes, monkeypatch):
    monkeypatch.setattr("raylab.settled.SETTLED", 0)
    for path in boxes.glob("masks/*/*.png"):
        mask = Image.open(path)
        mask.putpalette([0, 0, 9, 0, 0, 142])
        mask.save(path)
    facts = FileFacts()
    assert survey_dataset(config(boxes), facts).problems == []
    listed = TWO.replace("id: 0", "id: 0, colour: [0, 0, 142]").replace("id: 1", "id: 1, colour: [0, 0, 9]")
    (boxes / "dataset.yaml").write_text(listed)
    assert "the palette shows id 0 as [0, 0, 9], the colour of id 1" in survey_dataset(config(boxes), facts).problems[0]


def test_a_file_is_looked_at_again_only_when_it_has_changed(boxes, monkeypatch):
    monkeypatch.setattr("raylab.settled.SETTLED", 0)
    facts = FileFacts()
    before = survey_dataset(config(boxes), facts)
    assert facts.looked_at == 16
    again = FileFacts(facts.known)
    assert survey_dataset(config(boxes), again) == before
    assert again.looked_at == 0
    path = boxes / "masks/val/7.png"
    Image.fromarray(np.ones((12, 16), np.uint8)).save(path)
    after = survey_dataset(config(boxes), again)
    assert again.looked_at == 1
    assert after.splits["val"].pixels == {0: 168, 1: 24 + 192}


def test_a_packed_set_is_asked_the_same(boxes, tmp_path):
    raw = survey_dataset(config(boxes))
    other = packed(config(boxes), tmp_path / "packed")
    survey = survey_dataset(other)
    assert (survey.splits, survey.problems) == (raw.splits, raw.problems)
