"""A data set looked at as a whole: the size of every file and the pixels of every class.

Decoding every mask takes minutes on a large set, so what is found of a file is kept (by whoever asks, see
`raylab.runs.surveys`) and a file is looked at again only when its size or time of modification is another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from raylab.data import decode
from raylab.data.bands import TileFile, Window
from raylab.data.base import Split
from raylab.data.classes import IGNORE, ClassMap
from raylab.data.coding import MaskCoding, shorten
from raylab.data.duplicates import Stored, about_copies, in_both_splits
from raylab.data.fingerprint import FileDigests, unreadable
from raylab.data.image_file import ImageFile, Reading, open_image, read_size, told_orientation
from raylab.data.layout import SPLITS, Entry
from raylab.data.questions import Answers, SplitSurvey, Survey, ask
from raylab.errors import DataError
from raylab.progress import Progress
from raylab.settled import found_once

LARGE = 2**25
"""Pixels of an image from which on one is decoded at a time, whatever the number of threads."""
_one_large_image = threading.Lock()


class Surveyed(Stored, Protocol):
    """What is asked of a data set (`raylab.data.FileDataset`)."""

    name: str
    classes: ClassMap
    coding: MaskCoding | None
    reading: Reading
    answers: Answers | None

    def image_file(self, entry: Entry) -> ImageFile:
        """An entry's image, which it must have."""
        ...

    def mask_file(self, entry: Entry) -> ImageFile:
        """An entry's mask, which it must have."""
        ...


class FileFacts:
    """What is known of files, each looked at only if it is not known as it is now; may be asked from several threads.

    Args:
        known: by path and kind: bytes, time of modification in nanoseconds, what was found.
        settled: files cannot change (those of a packed set, which have no times of their own).

    Attributes:
        known: the same, with what was found since.
        looked_at: how many files were looked at.
    """

    def __init__(self, known: Mapping[str, Sequence[Any]] | None = None, settled: bool = False) -> None:
        self.known: dict[str, tuple[int, int, Any]] = {
            key: (size, when, found) for key, (size, when, found) in (known or {}).items()
        }
        self.settled = settled
        self.looked_at = 0

    def of(self, key: str, file: ImageFile, look: Callable[[], Any]) -> Any:
        """What is found of a file.

        Args:
            key: path and kind that it is known by.
            file: to be looked at if it has changed.
            look: does it; its result can be stored as JSON.

        Raises:
            DataError: it is missing, or `look` raised it.
        """
        state_of = (lambda: (0, 0)) if self.settled else file.state
        try:
            return found_once(self.known, key, state_of, lambda: self.find(look))
        except OSError as error:
            raise DataError(unreadable(file, error)) from None

    def find(self, look: Callable[[], Any]) -> Any:
        """Look at a file that is not known as it is now."""
        found = look()
        self.looked_at += 1
        return found


def survey_files(
    dataset: Surveyed,
    facts: FileFacts,
    digests: FileDigests,
    decode_images: bool,
    progress: Progress | None,
    whole: bool = True,
) -> Survey:
    """Look at every image and mask of a data set, unpaired ones too, in threads (decoding frees the interpreter).

    Args:
        dataset: to look at.
        facts: of files that are known already, and of those that are looked at.
        digests: of files, likewise; images of one size are told apart by them.
        decode_images: images are decoded, not their headers alone.
        progress: told of every pair, as stage `survey`.
        whole: all files were found, so that the set as a whole can be asked about.

    Returns:
        Problems of files in the order of splits and names; without any, those of the set as a whole.
    """
    work: list[tuple[Split, Entry]] = []
    for split in SPLITS:
        work += [(split, entry) for entry in sorted(dataset.entries(split), key=lambda one: os.fsencode(one.name))]
    survey = Survey(dataset.name, dataset.classes, {split: SplitSurvey() for split in SPLITS})
    deep: list[tuple[int, int]] = []
    look = _Look(dataset, facts, decode_images)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # each holds a decoded image
        found = pool.map(look.at, (entry for _, entry in work))
        for done, ((split, _), pair) in enumerate(zip(work, found, strict=True), 1):
            survey.problems += pair.problems
            _add(survey.splits[split], pair, dataset.coding)
            deep += [pair.deep] if pair.deep else []
            if progress is not None:
                progress("survey", done, len(work))
    if whole and not survey.problems and dataset.coding is not None:
        own, said = dataset.answers, dataset.answers or Answers("")
        copies = about_copies(dataset, digests, said.duplicates, said.file)
        ask(survey, dataset.coding, own, deep, copies)
        if own and (names := in_both_splits(dataset)):
            survey.warnings.append(
                f"{own.uri}: in train and val there are images named {shorten(names)}; if these are the same scenes, "
                "mIoU is measured on what was trained on"
            )
    return survey


@dataclass
class _Pair:
    problems: list[str] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    deep: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Look:
    """How one image and its mask are looked at."""

    dataset: Surveyed
    facts: FileFacts
    decode_images: bool

    def at(self, entry: Entry) -> _Pair:
        """Problems of one image, of its mask, and of the two together."""
        pair = _Pair()
        image, mask, way = None, None, 1
        if entry.image is not None:
            try:
                image, pair.deep = self._image(_key(entry.image, entry.window), self.dataset.image_file(entry))
            except DataError as error:
                pair.problems += error.problems
        if entry.mask is not None:
            try:
                mask, pair.counts, way = self._mask(_key(entry.mask, entry.window), self.dataset.mask_file(entry))
            except DataError as error:
                pair.problems += error.problems
        if image is not None and mask is not None and image != mask:
            line = sizes_differ(self.dataset.image_file(entry), image, self.dataset.mask_file(entry), mask)
            pair.problems.append(line)
        elif image is not None and mask is not None and way != 1:
            pair.problems += self._turned(entry, way)
        return pair

    def _turned(self, entry: Entry, way: int) -> Iterator[str]:
        """A line about a mask that lies otherwise than its image: one drawn on the upright image says nothing of it."""
        # The tiles of an image all tell of the whole file, once.
        image, mask = (file.file if isinstance(file, TileFile) else file
                       for file in (self.dataset.image_file(entry), self.dataset.mask_file(entry)))  # fmt: skip
        with open_image(image, self.dataset.reading, whole=False) as opened:
            if (other := told_orientation(opened)) != way:
                yield (
                    f"{mask}: mask says that it is to be turned (EXIF orientation {way}), its image {image} says "
                    f"{other}; save the mask upright, without EXIF"
                )

    def _image(self, key: str, file: ImageFile) -> tuple[tuple[int, int], tuple[int, int] | None]:
        reading = self.dataset.reading

        def look() -> list[int]:
            size = read_size(file, reading)
            return [*size, *(decode.deep_maximum(file, reading) or (0, 0))]

        height, width, most, largest = self.facts.of(f"image {key}", file, look)
        if self.decode_images:
            with _alone((height, width)):
                decode.image_values(file, reading)
        return (height, width), ((most, largest) if largest else None)

    def _mask(self, key: str, file: ImageFile) -> tuple[tuple[int, int], dict[int, int], int]:
        reading, coding = self.dataset.reading, self.dataset.coding
        if coding is None:
            return read_size(file, reading), {}, 1

        def look() -> list[Any]:
            with _alone(read_size(file, reading)):
                size, counts, way = decode.count_mask(file, coding, reading)
            return [*size, sorted(counts.items()), way]

        height, width, listed, way = self.facts.of(f"{coding.kind} {key}", file, look)
        counts = {int(value): int(pixels) for value, pixels in listed}
        coding.refuse_unknown(counts, str(file))
        return (height, width), counts, way


def _key(path: str, window: Window | None) -> str:
    return path if window is None else f"{path}@{','.join(map(str, window[:4]))}"


def _alone(size: tuple[int, int]) -> Any:
    return _one_large_image if size[0] * size[1] > LARGE else nullcontext()


def _add(split: SplitSurvey, pair: _Pair, coding: MaskCoding | None) -> None:
    if not pair.counts or coding is None:
        return
    split.images += 1
    for value, pixels in pair.counts.items():
        meaning = coding.meaning(value)
        split.pixels[IGNORE if meaning is None else meaning] += pixels
        split.values[value] += pixels
        split.masks[value] += 1


def sizes_differ(image_file: ImageFile, image: Sequence[int], mask_file: ImageFile, mask: Sequence[int]) -> str:
    """A line about a mask that has another (height, width) than its image."""
    return (
        f"{mask_file}: mask is {told_size(mask)}, but its image {image_file} is {told_size(image)} (width x height, "
        "upright); save both at one size"
    )


def told_size(shape: Sequence[int]) -> str:
    """(height, width, ...) as people are told it: width x height."""
    return f"{shape[1]}x{shape[0]}"
