"""A data set of one's own: images, masks and a dataset.yaml.

root/dataset.yaml                       root/dataset.yaml
root/images/train/a.jpg                 root/images/a.jpg
root/images/val/b.jpg          or       root/images/b.jpg       with `val: 0.2` or `val: [b]`
root/masks/train/a.png                  root/masks/a.png        in dataset.yaml
root/masks/val/b.png                    root/masks/b.png

classes:                                # their order is that of the training ids
  - {name: road, id: 7, colour: [128, 64, 128]}
  - {name: car, id: 26}                 # is given a colour
ignore: [0, 255]                        # ids that do not count; 255 if the key is left out
coding: ids                             # or colour: RGB masks painted with the colours above

Files that lie or are named otherwise:

images: img_dir/{split}                 # images/{split} if the key is left out
masks: ann_dir/{split}
splits: {train: training, val: validation}
mask_suffix: _mask                      # a.jpg and a_mask.png

What looks like a mistake, and is not:

absent: [car]                           # occurs in no mask
duplicates: within                      # images lie there twice in one split; or across: in train and val
bits: 12                                # of images with more than 8 bits a channel; or range: [0, 4095]
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

from raylab.data.base import Split
from raylab.data.classes import ClassMap
from raylab.data.files import FileDataset
from raylab.data.folder_found import suggest
from raylab.data.folder_spec import FILE_NAME, ClassEntry, FolderSpec, read_spec
from raylab.data.layout import SPLITS, Entry, Layout, composed
from raylab.data.source import Source
from raylab.errors import nearest

Listing = tuple[dict[Split, list[Entry]], list[str]]


def open_folder_dataset(source: Source, train_list: str, strict: bool) -> FileDataset:
    """Open images (png, jpg, jpeg, tif, tiff, bmp, webp) and lossless masks that share their names; see the module.

    Args:
        source: holds dataset.yaml, images and masks.
        train_list: `train`.
        strict: refuse to open with problems of dataset.yaml, folders or pairing; without it, `problems()` tells them.

    Raises:
        DataError: `strict`, and there are problems; it names all of them.
    """
    spec, problems = read_spec(source)
    said = spec or FolderSpec(classes=[ClassEntry(name="-", id=0)])
    names = said.layout(by_split=True)
    layout = said.layout(by_split=any(source.is_folder(names.image_folder(split)) for split in SPLITS))
    entries, found = (
        _list_by_folder(source, said, layout) if "{split}" in layout.images else _list_by_file(source, spec, layout)
    )
    if spec is None and source.is_file(FILE_NAME) and not entries["train"]:
        found = []  # what dataset.yaml says of the folders is not known
    elif found:
        found = suggest(source, layout, entries, found)
    return FileDataset(
        name="folder",
        source=source,
        classes=ClassMap((), ()) if spec is None else spec.class_map(),
        coding=None if spec is None else spec.mask_coding(),
        entries=entries,
        problems=[*problems, *found],
        strict=strict,
        side_files=(FILE_NAME,),
        reading=said.reading(),
        answers=said.answers(source.uri_of(FILE_NAME)),
    )


def _list_by_folder(source: Source, spec: FolderSpec, layout: Layout) -> Listing:
    """The splits are folders."""
    entries, problems = layout.list_splits(source)
    if spec.val is not None:
        told = layout.images.replace("{split}", "")
        problems.append(f"{source.uri_of(FILE_NAME)}: val: the folders of {told} already tell the splits; remove val")
    return entries, problems


def _list_by_file(source: Source, spec: FolderSpec | None, layout: Layout) -> Listing:
    """All images lie in one folder, and dataset.yaml says which are for validation."""
    # The layout names no split, so listing any one lists all.
    entries, problems = layout.list_split(source, "train")
    problems = [line.replace(" in the train split", "") for line in problems]
    if spec is None or not entries:
        return {"train": entries, "val": []}, problems
    where = f"{source.uri_of(FILE_NAME)}: val"
    names = [entry.name for entry in entries]
    if spec.val is None:
        problems.append(f"{where}: nothing says which images validate; add `val: 0.2` or the folders train and val")
        chosen: set[str] = set()
    elif isinstance(spec.val, float):
        chosen = split_by_hash(names, spec.val)
    else:
        chosen = set(map(composed, spec.val))
        for name in sorted(chosen - set(names)):
            hint = nearest(name, names) or "; give names without extension"
            problems.append(f"{where}: no image is named {name!r}{hint}")
    splits: Mapping[Split, list[Entry]] = {
        "train": [entry for entry in entries if entry.name not in chosen],
        "val": [entry for entry in entries if entry.name in chosen],
    }
    if spec.val is not None:
        problems += [f"{where}: the {split} split is empty; add images or change val" for split in SPLITS
                     if not splits[split]]  # fmt: skip
    return dict(splits), problems


def split_by_hash(names: Sequence[str], share: float) -> set[str]:
    """Choose the validation images: those whose name's hash falls below the share.

    An image stays on its side when others are added or removed. With at least two images neither side is empty.

    Args:
        names: of all images.
        share: of the images to choose, between 0 and 1.

    Returns:
        The chosen names.
    """
    rank = {name: int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") for name in names}
    chosen = {name for name in names if rank[name] < share * 2**64}
    if len(rank) > 1 and not chosen:
        chosen = {min(rank, key=rank.__getitem__)}
    if len(rank) > 1 and len(chosen) == len(rank):
        chosen.remove(max(rank, key=rank.__getitem__))
    return chosen
