from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.config import DataConfig
from raylab.data import SegmentationDataset, find_problems
from raylab.data.folder import split_by_hash
from raylab.errors import DataError
from tests.data.sets import opened


def problems_of(root) -> list[str]:
    with pytest.raises(DataError) as caught:
        opened("folder", root)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


def write(root, text: str) -> None:
    (root / "dataset.yaml").write_text(text)


CLASSES = "classes: [{name: road, id: 7, colour: [128, 64, 128]}, {name: car, id: 2, colour: [0, 0, 142]}]\n"


def test_ids_map_to_training_ids_by_the_order_in_the_file(folder_root, ids):
    dataset = opened("folder", folder_root)
    assert isinstance(dataset, SegmentationDataset)
    assert dataset.classes.names == ("road", "car")
    assert dataset.image_names("train") == ["a", "b", "c"]
    assert dataset.image_names("val") == ["d", "e"]
    np.testing.assert_array_equal(dataset.read_mask("train", 1), np.asarray([0, 1, 255], np.uint8)[ids(1)])
    assert dataset.problems() == []
    assert len(pickle.dumps(dataset)) < 4000


def test_colours_left_out_are_assigned_and_differ(folder_root):
    write(folder_root, "classes: [{name: a, id: 7, colour: [128, 0, 0]}, {name: b, id: 2}, {name: c, id: 0}]")
    colours = opened("folder", folder_root).classes.colours
    assert colours[0] == (128, 0, 0)
    assert len(set(colours)) == 3
    assert (0, 0, 0) not in colours


def test_255_is_ignored_unless_something_else_is_said(folder_root, save, ids):
    write(folder_root, "classes: [{name: a, id: 7}, {name: b, id: 2}, {name: c, id: 0}]")
    mask = np.asarray([7, 2, 255], np.uint8)[ids(0)]
    save(folder_root / "masks" / "train" / "a.png", mask)
    assert (opened("folder", folder_root).read_mask("train", 0) == 255).any()
    write(folder_root, "classes: [{name: a, id: 7}, {name: b, id: 2}, {name: c, id: 255}]\nignore: 0")
    assert set(np.unique(opened("folder", folder_root).read_mask("train", 0))) == {0, 1, 2}
    write(folder_root, "classes: [{name: a, id: 7}, {name: b, id: 2}]\nignore: [0]")
    (problem,) = opened("folder", folder_root).problems()
    assert "a.png: mask ids without a class: 255" in problem
    assert "add them to classes or to ignore in dataset.yaml" in problem


def test_masks_in_colours(folder_root, save, ids):
    write(
        folder_root,
        CLASSES.replace("]}]", "]}, {name: void, id: 0, colour: [0, 0, 0]}]") + "ignore: 0\ncoding: colour\n",
    )
    table = np.asarray([(128, 64, 128), (0, 0, 142), (0, 0, 0)], np.uint8)
    for split, names in (("train", "abc"), ("val", "de")):
        for seed, name in enumerate(names):
            save(folder_root / "masks" / split / f"{name}.png", table[ids(seed)])
    dataset = opened("folder", folder_root)
    assert len(dataset.classes) == 2
    np.testing.assert_array_equal(dataset.read_mask("val", 1), np.asarray([0, 1, 255], np.uint8)[ids(1)])
    assert dataset.problems() == []
    write(folder_root, CLASSES)
    lines = opened("folder", folder_root).problems()
    assert len(lines) == 5
    assert "8-bit class ids (mode L or P) are expected; save class ids, or say `coding: colour`" in lines[0]


def test_id_masks_where_colours_are_said(folder_root):
    write(folder_root, CLASSES + "coding: colour\n")
    assert (
        "mask has mode L, colours (mode RGB) are expected; say `coding: ids`"
        in opened("folder", folder_root).problems()[0]
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("clases: []\n" + CLASSES, "clases: unknown key; did you mean 'classes'?"),
        (
            CLASSES + "zebra: 1",
            "zebra: unknown key; known keys: classes, ignore, absent, duplicates, coding",
        ),
        ("classes: [{name: a, id: 1, color: [1, 2, 3]}]", "classes[0].color: unknown key; did you mean 'colour'?"),
        ("classes: [{name: a}]", "classes[0].id: the key is missing; add it"),
        ("classes: [{name: a, id: 300}]", "classes[0].id: must be less than or equal to 255 (got 300)"),
        ("classes: [{name: a, id: true}]", "classes[0].id: must be a whole number (got True)"),
        ("classes: [{name: no, id: 1}]", "classes[0].name: must be a text (got False)"),
        ("classes: []", "classes: must have at least 1 item"),
        ("classes: [{name: a, id: 1}, {name: b, id: 1}]", "classes: id 1 is given twice; give each class its own"),
        ("classes: [{name: a, id: 1}, {name: a, id: 2}]", "classes: name 'a' is given twice"),
        (
            "classes: [{name: Car, id: 1}, {name: 'car ', id: 2}]",
            "classes: the names 'Car' and 'car ' differ in case or spaces alone; give each its own",
        ),
        (
            "classes: [{name: ' ', id: 1}]",
            "classes[0].name: ' ' is blank or holds a line end or another sign without a sha",
        ),
        ('classes: [{name: "a\\nb", id: 1}]', "classes[0].name: 'a\\nb' is blank or holds a line end"),
        (
            "classes: [{name: a, id: 1, colour: [1, 2, 3]}, {name: b, id: 2, colour: [1, 2, 3]}]",
            "classes: 'a', 'b' have one colour, [1, 2, 3]; give each its own",
        ),
        (CLASSES + "val: [a, b, a]", "val: 'a' is named twice; take one out"),
        ("classes: [{name: a, id: 1}]\nignore: 1", "ignore: no class is left; take an id out of ignore"),
        ("classes: [{name: a, id: 1}]\ncoding: colour", "classes: 'a' has no colour, which `coding: colour` needs"),
        (CLASSES + "coding: colour\nignore: 9", "ignore: 9 has no colour; add a class with id 9"),
        (CLASSES + "coding: color", "coding: must be 'ids' or 'colour' (got 'color'); did you mean 'colour'?"),
        (CLASSES + "val: 1.5", "val: 1.5 is neither a share between 0 and 1 nor a list of names"),
        (CLASSES + "val: [7]", "val: 7 is not a name; put it in quotes as it is in the file's name"),
        (CLASSES + "val: 0.2", "val: the folders of images/ already tell the splits; remove val"),
        ("a: [1", "line 1: not YAML"),
        ("", "no keys found; it needs at least classes"),
    ],
)
def test_bad_yaml_is_told_in_one_line(folder_root, text, line):
    write(folder_root, text)
    found = problems_of(folder_root)
    assert len(found) == 1
    assert found[0].startswith(f"{folder_root / 'dataset.yaml'}: {line}")


def test_ignored_classes_may_share_a_colour(folder_root):
    write(
        folder_root,
        CLASSES.replace("]}]", "]}, {name: u, id: 0, colour: [0, 0, 0]}, {name: v, id: 9, colour: [0, 0, 0]}]")
        + "ignore: [0, 9]",
    )
    assert opened("folder", folder_root).problems() == []


def test_all_problems_of_yaml_files_and_pixels_in_one_pass(folder_root):
    write(folder_root, "classes: [{name: a}]\nmaks: ids")
    (folder_root / "masks" / "train" / "b.png").unlink()
    (folder_root / "images" / "val" / "d.bmp").write_bytes(b"BM")
    assert len(problems_of(folder_root)) == 3
    found = find_problems(DataConfig(name="folder", root=str(folder_root)))
    assert [line.split(":")[0].removeprefix(f"{folder_root}/") for line in found] == [
        "dataset.yaml", "dataset.yaml", "images/train/b.webp", "images/val/d.bmp",
    ]  # fmt: skip


def test_missing_yaml(folder_root):
    (folder_root / "dataset.yaml").unlink()
    assert problems_of(folder_root)[0].endswith(
        "the file is missing; create it with the key classes (a list of name and id)"
    )


def test_two_images_of_one_name(folder_root, save, picture):
    save(folder_root / "images" / "train" / "a.png", picture(0))
    (line,) = problems_of(folder_root)
    assert "has the same name without extension; remove one of them" in line


def flatten(root) -> None:
    for part in ("images", "masks"):
        for split in ("train", "val"):
            for file in (root / part / split).iterdir():
                file.rename(root / part / file.name)
            (root / part / split).rmdir()


def test_val_as_a_list_of_names(folder_root):
    flatten(folder_root)
    write(folder_root, CLASSES + "ignore: 0\nval: [e, a]")
    dataset = opened("folder", folder_root)
    assert dataset.image_names("train") == ["b", "c", "d"]
    assert dataset.image_names("val") == ["a", "e"]
    assert dataset.problems() == []
    write(folder_root, CLASSES + "val: [e, a.jpg]")
    (line,) = problems_of(folder_root)
    assert line.endswith("val: no image is named 'a.jpg'; give names without extension")
    write(folder_root, CLASSES + "val: [a, b, c, d, e]")
    assert problems_of(folder_root)[0].endswith("val: the train split is empty; add images or change val")


def test_val_as_a_share(folder_root):
    flatten(folder_root)
    write(folder_root, CLASSES + "ignore: 0\nval: 0.4")
    dataset = opened("folder", folder_root)
    names = dataset.image_names("train") + dataset.image_names("val")
    assert sorted(names) == ["a", "b", "c", "d", "e"]
    assert dataset.image_names("train")
    assert dataset.image_names("val")
    write(folder_root, CLASSES)
    (line,) = problems_of(folder_root)
    assert "val: nothing says which images validate; add `val: 0.2`" in line


@settings(max_examples=50)
@given(st.sets(st.text("abc/0", min_size=1, max_size=6), min_size=2, max_size=40), st.floats(0.01, 0.99))
def test_split_by_hash_is_whole_and_stable(names, share):
    chosen = split_by_hash(sorted(names), share)
    assert 0 < len(chosen) < len(names)
    assert chosen == split_by_hash(sorted(names, reverse=True), share)


def test_an_image_keeps_its_side_when_others_come():
    first = split_by_hash([str(number) for number in range(500)], 0.2)
    more = split_by_hash([str(number) for number in range(1000)], 0.2)
    assert first == {name for name in more if int(name) < 500}
    assert 150 < len(more) < 250


def test_no_folders_at_all(tmp_path):
    write(tmp_path, CLASSES)
    found = problems_of(tmp_path)
    assert [line.split(": ")[1] for line in found[:2]] == ["the folder is missing; create it or correct data.root"] * 2
    assert found[2:] == [
        f"{tmp_path}: holds dataset.yaml; say where files lie by `images:` and `masks:` in dataset.yaml"
    ]
