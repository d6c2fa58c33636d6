"""What was found in all files of a data set, and what looks like a mistake in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from raylab.data.base import Split
from raylab.data.classes import IGNORE, ClassMap
from raylab.data.coding import MaskCoding, shorten
from raylab.data.duplicates import Meant
from raylab.data.layout import SPLITS

_IGNORED_SHARE = 0.1
"""Of a set's pixels that an id must have, in half of the masks, to look like a class that is ignored by mistake."""
_DARK = 8
"""Images of more than 8 bits whose largest value is below the range's by this factor are hardly told apart once scaled
to 8 bits."""


@dataclass(frozen=True)
class Answers:
    """What dataset.yaml says of things that look like mistakes.

    Attributes:
        uri: of the file; empty where there is none, of a data set of the registry.
        absent: names of classes that may occur in no mask.
        ignored: the ids that do not count are given, not assumed.
        scaled: bits or range of images with more than 8 bits are given.
        duplicates: which images may lie there more than once; None: none.
    """

    uri: str
    absent: frozenset[str] = frozenset()
    ignored: bool = False
    scaled: bool = False
    duplicates: Meant | None = None

    @property
    def file(self) -> str:
        """Its name; empty where there is none."""
        return "dataset.yaml" if self.uri else ""


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


def ask(
    survey: Survey, coding: MaskCoding, own: Answers | None, deep: Sequence[tuple[int, int]], about_files: Iterable[str]
) -> None:
    """Put what looks like a mistake among the problems, or the warnings where no file could say that it is meant.

    Args:
        survey: of all files; problems and warnings are added here.
        coding: of the masks.
        own: answers of the set's owner; None where there is no file to give them in.
        deep: of images with more than 8 bits, the largest value and the largest that the bits can hold.
        about_files: further such lines, without the file that answers.
    """
    # The official coding of a set says what its ids mean, and has no file in which more could be said.
    answers = own or Answers("", ignored=True)
    questions = [
        *_absent(survey, coding, answers),
        *_ignored(survey, coding, answers),
        *_dark(deep, answers),
        *about_files,
    ]
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
        way_out = f". Correct the ids of the classes, or say `{listed}` in {answers.file} if that is meant"
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
                f"{answers.file} if that is meant"
            )


def _dark(deep: Sequence[tuple[int, int]], answers: Answers) -> Iterator[str]:
    """Questions about images with more than 8 bits a channel."""
    if not deep and answers.scaled:
        yield "bits, range: no image has more than 8 bits a channel, for which these are; take them out"
    if not deep or answers.scaled:
        return
    most, largest = max(one for one, _ in deep), max(one for _, one in deep)
    if most * _DARK < largest:
        needed = max(1, most.bit_length())
        way_out = (
            f"; say `bits: {needed}` or `range: [0, {most}]` in {answers.file}, or `range: [0, {largest}]` if they "
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
