"""The set as a whole: what is counted, and what its owner is asked."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from raylab.config import DataConfig
from raylab.data import find_problems, survey_dataset
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
