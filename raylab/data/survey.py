"""A data set looked at as a whole: the size of every file, the pixels of every class, and what looks like a mistake.

Decoding every mask takes minutes on a large set, so what is found of a file is kept (by whoever asks, see
`raylab.runs.surveys`) and a file is looked at again only when its size or time of modification is another.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from raylab.data import decode
from raylab.data.bands import Window
from raylab.data.base import Split
from raylab.data.classes import IGNORE, ClassMap
from raylab.data.coding import MaskCoding, shorten
from raylab.data.image_file import ImageFile, Reading, read_size
from raylab.data.layout import SPLITS, Entry
from raylab.errors import DataError
from raylab.progress import Progress
from raylab.settled import found_once

LARGE = 2**25
"""Pixels of an image from which on one is decoded at a time, whatever the number of threads."""
_IGNORED_SHARE = 0.1
"""Of a set's pixels that an id must have, in half of the masks, to look like a class that is ignored by mistake."""
_DARK = 8
"""Images of more than 8 bits whose largest value is below the range's by this factor are hardly told apart once scaled
to 8 bits."""
_one_large_image = threading.Lock()


class Surveyed(Protocol):
    """What is asked of a data set (`raylab.data.FileDataset`)."""

    name: str
    classes: ClassMap
    coding: MaskCoding | None
    reading: Reading
    answers: Answers | None

    def entries(self, split: Split) -> tuple[Entry, ...]:
        """All entries of a split, those without image or mask included."""
        ...

    def image_file(self, entry: Entry) -> ImageFile:
        """An entry's image, which it must have."""
        ...

    def mask_file(self, entry: Entry) -> ImageFile:
        """An entry's mask, which it must have."""
        ...


@dataclass(frozen=True)
class Answers:
    """What dataset.yaml says of things that look like mistakes.

    Attributes:
        uri: of the file; empty where there is none, of a data set of the registry.
        absent: names of classes that may occur in no mask.
        ignored: the ids that do not count are given, not assumed.
        scaled: bits or range of images with more than 8 bits are given.
    """

    uri: str
    absent: frozenset[str] = frozenset()
    ignored: bool = False
    scaled: bool = False


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

        def find() -> Any:
            found = look()
            self.looked_at += 1
            return found

        try:
            return found_once(self.known, key, (lambda: (0, 0)) if self.settled else file.state, find)
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror or error}); restore the file") from None


@dataclass
class SplitSurvey:
    """One split.

    Attributes:
        images: pairs that were looked at.
        pixels: by training id, `IGNORE` for those that do not count.
        values: pixels by value in the files.
        masks: masks that hold a value.
    """

    images: int = 0
    pixels: Counter[int] = field(default_factory=Counter)
    values: Counter[int] = field(default_factory=Counter)
    masks: Counter[int] = field(default_factory=Counter)

    @property
    def labelled(self) -> int:
        """Pixels that count."""
        return sum(self.pixels.values()) - self.pixels[IGNORE]


@dataclass
class Survey:
    """What a look at the whole set found.

    Attributes:
        name: of the data set.
        classes: its classes.
        splits: what was found in each split.
        problems: lines about files that cannot be used, or about the set where its owner must say whether it is meant.
        warnings: lines about what may be meant.
    """

    name: str
    classes: ClassMap
    splits: dict[Split, SplitSurvey]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Pixels of every class and void by split, as aligned text."""
        width = max([len("void"), *map(len, self.classes.names)], default=4)
        head = "".join(f"{f'{split}, {self.splits[split].images:,} images':>34}" for split in SPLITS)
        rows = [*enumerate(self.classes.names), (IGNORE, "void")]
        return [f"{'pixels':<{width}}{head}", *(f"{name:<{width}}{self._cells(class_id)}" for class_id, name in rows)]

    def _cells(self, class_id: int) -> str:
        text = ""
        for split in SPLITS:
            pixels = self.splits[split].pixels
            share = 100 * pixels[class_id] / max(1, sum(pixels.values()))
            text += f"{pixels[class_id]:>24,} {share:>7.2f} %"
        return text


def survey_files(
    dataset: Surveyed, facts: FileFacts, decode_images: bool, progress: Progress | None, whole: bool = True
) -> Survey:
    """Look at every image and mask of a data set, unpaired ones too, in threads (decoding frees the interpreter).

    Args:
        dataset: to look at.
        facts: of files that are known already, and of those that are looked at.
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
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(look.at, (entry for _, entry in work))
        for done, ((split, _), pair) in enumerate(zip(work, found, strict=True), 1):
            survey.problems += pair.problems
            _add(survey.splits[split], pair, dataset.coding)
            deep += [pair.deep] if pair.deep else []
            if progress is not None:
                progress("survey", done, len(work))
    if whole and not survey.problems and dataset.coding is not None:
        _question(survey, dataset, dataset.coding, deep)
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
        image = mask = None
        if entry.image is not None:
            try:
                image, pair.deep = self._image(_key(entry.image, entry.window), self.dataset.image_file(entry))
            except DataError as error:
                pair.problems += error.problems
        if entry.mask is not None:
            try:
                mask, pair.counts = self._mask(_key(entry.mask, entry.window), self.dataset.mask_file(entry))
            except DataError as error:
                pair.problems += error.problems
        if image is not None and mask is not None and image != mask:
            line = sizes_differ(self.dataset.image_file(entry), image, self.dataset.mask_file(entry), mask)
            pair.problems.append(line)
        return pair

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

    def _mask(self, key: str, file: ImageFile) -> tuple[tuple[int, int], dict[int, int]]:
        reading, coding = self.dataset.reading, self.dataset.coding
        if coding is None:
            return read_size(file, reading), {}

        def look() -> list[Any]:
            with _alone(read_size(file, reading)):
                size, counts = decode.count_mask(file, coding, reading)
            return [*size, sorted(counts.items())]

        height, width, listed = self.facts.of(f"{coding.kind} {key}", file, look)
        counts = {int(value): int(pixels) for value, pixels in listed}
        coding.refuse_unknown(counts, str(file))
        return (height, width), counts


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


def _question(survey: Survey, dataset: Surveyed, coding: MaskCoding, deep: Sequence[tuple[int, int]]) -> None:
    """Put what looks like a mistake among the problems, or the warnings where no file could say that it is meant."""
    own = dataset.answers
    # The official coding of a set says what its ids mean, and has no file in which more could be said.
    answers = own or Answers("", ignored=True)
    questions = [*_absent(survey, coding, answers), *_ignored(survey, coding, answers), *_dark(deep, dataset, answers)]
    where = f"{own.uri}: " if own else f"{survey.name}: "
    (survey.problems if own else survey.warnings).extend(f"{where}{line}" for line in questions)
    for split in SPLITS:
        found = survey.splits[split]
        if found.images and not found.labelled:
            survey.problems.append(
                f"{where}no pixel of the {split} split has a class: its masks hold {_held(survey, coding, [split])}; "
                "correct the masks or the ids of the classes"
            )
    other: dict[Split, Split] = {"train": "val", "val": "train"}
    for split in SPLITS:
        one_sided = [name for class_id, name in enumerate(survey.classes.names)
                     if survey.splits[other[split]].pixels[class_id]
                     and not survey.splits[split].pixels[class_id]]  # fmt: skip
        if one_sided:
            survey.warnings.append(f"{where}in the {split} split there is no pixel of {shorten(one_sided)}")


def _absent(survey: Survey, coding: MaskCoding, answers: Answers) -> Iterator[str]:
    occurs = {name for class_id, name in enumerate(survey.classes.names)
              if any(split.pixels[class_id] for split in survey.splits.values())}  # fmt: skip
    absent = [name for name in survey.classes.names if name not in occurs and name not in answers.absent]
    if absent:
        which = f"the class {absent[0]!r} occurs" if len(absent) == 1 else f"{len(absent)} classes occur"
        listed = f"absent: [{shorten([str(name) for name in absent], 30)}]"
        way_out = f". Correct the ids of the classes, or say `{listed}` in {_short(answers)} if that is meant"
        yield f"{which} in no mask; the masks hold {_held(survey, coding, SPLITS)}{way_out * bool(answers.uri)}"
    for name in sorted(answers.absent & occurs):
        yield f"absent: {name!r} occurs in the masks; take it out of absent"


def _ignored(survey: Survey, coding: MaskCoding, answers: Answers) -> Iterator[str]:
    """Questions about ids that have pixels enough for a class, and are ignored only because nothing else is said."""
    if answers.ignored:
        return
    values = sum((split.values for split in survey.splits.values()), Counter[int]())
    masks = sum((split.masks for split in survey.splits.values()), Counter[int]())
    images = sum(split.images for split in survey.splits.values())
    for value, pixels in sorted(values.items()):
        share = pixels / max(1, values.total())
        if coding.meaning(value) == IGNORE and share >= _IGNORED_SHARE and 2 * masks[value] >= images:
            yield (
                f"{coding.told(value)} looks like a class but is ignored: {100 * share:.1f} % of all pixels, in "
                f"{masks[value]} of {images} masks; list it under classes, or say `ignore: [{coding.told(value)}]` in "
                f"{_short(answers)} if that is meant"
            )


def _dark(deep: Sequence[tuple[int, int]], dataset: Surveyed, answers: Answers) -> Iterator[str]:
    """Questions about images with more than 8 bits a channel."""
    if not deep and answers.scaled:
        yield "bits, range: no image has more than 8 bits a channel, for which these are; take them out"
    if not deep or answers.scaled:
        return
    most, largest = max(one for one, _ in deep), max(one for _, one in deep)
    if most * _DARK < largest:
        needed = max(1, most.bit_length())
        way_out = (
            f"; say `bits: {needed}` or `range: [0, {most}]` in {_short(answers)}, or `range: [0, {largest}]` if they "
            "are that dark"
        )
        yield (
            f"{len(deep)} images have more than 8 bits a channel, but no value above {most} of {largest}, of which 8 "
            f"bits would keep {256 * most // largest + 1} steps{way_out * bool(answers.uri)}"
        )


def _held(survey: Survey, coding: MaskCoding, splits: Sequence[Split]) -> str:
    """What masks hold, by value: pixels, masks, and whether it is ignored."""
    values = sum((survey.splits[split].values for split in splits), Counter[int]())
    masks = sum((survey.splits[split].masks for split in splits), Counter[int]())
    ignored = {value for value in values if coding.meaning(value) == IGNORE}
    told = [f"{coding.told(value)} ({'ignored; ' * (value in ignored)}{pixels:,} pixels in {masks[value]:,} masks)"
            for value, pixels in sorted(values.items())]  # fmt: skip
    return shorten(told) or "nothing"


def _short(answers: Answers) -> str:
    return answers.uri.rpartition("/")[2].rstrip(")")


def sizes_differ(image_file: ImageFile, image: Sequence[int], mask_file: ImageFile, mask: Sequence[int]) -> str:
    """A line about a mask that has another (height, width) than its image."""
    return (
        f"{mask_file}: mask is {told_size(mask)}, but its image {image_file} is {told_size(image)} (width x height, "
        "upright); save both at one size"
    )


def told_size(shape: Sequence[int]) -> str:
    """(height, width, ...) as people are told it: width x height."""
    return f"{shape[1]}x{shape[0]}"
