"""GTA5 (Playing for Data): 24,966 frames of a game in Cityscapes' classes, to pre-train on."""

from __future__ import annotations

import io
from collections.abc import Sequence

from raylab.data.base import Split
from raylab.data.classes import CITYSCAPES
from raylab.data.coding import IdCoding, shorten
from raylab.data.files import FileDataset
from raylab.data.folder import split_by_hash
from raylab.data.label_ids import EVALUATED, LICENSE_PLATE, NOT_EVALUATED
from raylab.data.layout import Entry, Layout
from raylab.data.source import Source
from raylab.errors import DataError
from raylab.files import first_line

SPLIT_FILE = "split.mat"
VALIDATION_SHARE = 0.05
"""Of the images, where there is no split.mat."""
GAME_LICENSE_PLATE = 34
"""What GTA5's masks hold where Cityscapes has -1."""

_LAYOUT = Layout(images="images", masks="labels", image_extensions=(".png",))


def open_gta5(source: Source, train_list: str, strict: bool) -> FileDataset:
    """Open images/<number>.png with labels/<number>.png of Cityscapes' labelIds; split.mat tells train and val.

    Without split.mat 5 % of the images, chosen by the hash of their names, are the validation split. Its test images
    are not read.

    Args:
        source: holds images, labels and split.mat.
        train_list: `train`.
        strict: refuse to open with problems of folders or pairing; without it, `problems()` tells them.

    Raises:
        DataError: `strict`, and there are problems; it names all of them.
    """
    entries, problems = _LAYOUT.list_split(source, "train")
    problems = [line.replace(" in the train split", "") for line in problems]
    has_file = source.is_file(SPLIT_FILE)
    try:
        splits = _split_by_file(source, entries) if has_file else _split_by_share(source, entries)
    except DataError as error:
        problems += error.problems
        splits = {"train": entries, "val": []}
    return FileDataset(
        name="gta5",
        source=source,
        classes=CITYSCAPES,
        coding=IdCoding(EVALUATED, (*NOT_EVALUATED, GAME_LICENSE_PLATE, LICENSE_PLATE)),
        entries=splits,
        problems=problems,
        strict=strict,
        side_files=(SPLIT_FILE,) if has_file else (),
    )


def _split_by_share(source: Source, entries: Sequence[Entry]) -> dict[Split, list[Entry]]:
    if len(entries) == 1:
        raise DataError(f"{source.uri}: one image cannot be split into train and val; add images")
    chosen = split_by_hash([entry.name for entry in entries], VALIDATION_SHARE)
    return {
        "train": [entry for entry in entries if entry.name not in chosen],
        "val": [entry for entry in entries if entry.name in chosen],
    }


def _split_by_file(source: Source, entries: Sequence[Entry]) -> dict[Split, list[Entry]]:
    """The images that split.mat numbers.

    Raises:
        DataError: it cannot be read, or numbers images that are not there.
    """
    numbers = _read_numbers(source)
    by_number = {int(entry.name): entry for entry in entries if entry.name.isdecimal()}
    uri = source.uri_of(SPLIT_FILE)
    missing = sorted((numbers["train"] | numbers["val"]) - set(by_number))
    if missing:
        listed = shorten([f"{number:05d}" for number in missing])
        raise DataError(f"{uri}: images without files: {listed}; restore them, or remove {SPLIT_FILE} to split by hash")
    if both := sorted(numbers["train"] & numbers["val"]):
        listed = shorten([f"{number:05d}" for number in both])
        raise DataError(f"{uri}: images in train and val: {listed}; restore the file")
    return {
        "train": [entry for number, entry in by_number.items() if number in numbers["train"]],
        "val": [entry for number, entry in by_number.items() if number in numbers["val"]],
    }


def _read_numbers(source: Source) -> dict[Split, set[int]]:
    uri = source.uri_of(SPLIT_FILE)
    try:
        from scipy.io import loadmat
    except ImportError:
        raise DataError(f"{uri}: scipy is needed to read it; install scipy, or remove the file") from None
    try:
        table = loadmat(io.BytesIO(source.read_bytes(SPLIT_FILE)))
        found: dict[Split, set[int]] = {
            "train": set(table["trainIds"].ravel().astype(int).tolist()),
            "val": set(table["valIds"].ravel().astype(int).tolist()),
        }
    except Exception as error:  # scipy raises what it likes at a broken file
        raise DataError(f"{uri}: no trainIds and valIds can be read ({first_line(error)}); restore it") from None
    empty = [split for split, numbers in found.items() if not numbers]
    if empty:
        raise DataError(f"{uri}: {empty[0]}Ids is empty; restore the file")
    return found
