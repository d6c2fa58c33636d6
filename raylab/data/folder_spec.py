"""`dataset.yaml` of a folder data set: its keys, their limits, and what it says about classes and masks."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from raylab.data.base import Split
from raylab.data.classes import IGNORE, ClassMap, Colour, voc_colour
from raylab.data.coding import ColourCoding, IdCoding, MaskCoding, shorten
from raylab.data.duplicates import Meant
from raylab.data.image_file import PLAIN, Reading
from raylab.data.layout import IMAGE_EXTENSIONS, SPLITS, Layout, composed
from raylab.data.questions import Answers
from raylab.data.source import Source, as_text
from raylab.errors import MissingError, StoreError, field_of, nearest, what_is_wrong
from raylab.yaml_text import parse_yaml

FILE_NAME = "dataset.yaml"

MASK_EXTENSIONS = (".png", ".tif", ".tiff", ".bmp", ".webp")

Byte = Annotated[int, Field(strict=True, ge=0, le=255)]
Word = Annotated[int, Field(strict=True, ge=0, le=65535)]


def _with_dot(extension: str) -> str:
    if not re.fullmatch(r"\.\w+", extension):
        raise ValueError(f"{extension!r} is no extension; write {'.' + extension.strip('.* ')!r}")
    return extension


Extension = Annotated[str, AfterValidator(_with_dot)]


def _below(value: str) -> str:
    parts = value.replace("\\", "/").strip("/").removeprefix("./").split("/")
    if value.startswith("/") or not all(parts) or {".", ".."} & set(parts):
        raise ValueError("is no folder below the data set's root; give its path from there")
    return "/".join(parts)


Below = Annotated[str, AfterValidator(_below)]
"""Path of a folder below the root."""
CheckedColour = tuple[Byte, Byte, Byte]


def _told_on_one_line(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError(f"{name!r} is blank or holds a line end or another sign without a shape; give a name in words")
    return name


class ClassEntry(BaseModel):
    """One class. Without a colour it is given one that is still free."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(_told_on_one_line)]
    id: Byte
    colour: CheckedColour | None = None


class FolderSpec(BaseModel):
    """The whole file.

    Attributes:
        classes: in the order of their training ids.
        ignore: id or ids that do not count; 255 if nothing is said and no class has it. A class listed with such
            an id is no training class, but gives the ignored pixels a colour.
        absent: names of classes that may occur in no mask.
        duplicates: images that lie there more than once, byte for byte, are meant: within a split, or across both too.
        coding: whether masks hold ids or are painted with the classes' colours.
        images: folder of the images below the root; `{split}` in it stands for the split's folder.
        masks: folder of the masks, likewise.
        splits: names of the splits' folders, where they are not train and val.
        image_suffix: what an image's name ends with before the extension, beside the name it shares with its mask.
        mask_suffix: the same of masks.
        image_extensions: with the dot; all that are read if nothing is said.
        mask_extensions: likewise.
        bits: that images of more than 8 bits a channel use, where these are fewer than the files can hold.
        range: of such images: values that become 0 and 255; values outside become 0 or 255 too.
        val: for images and masks that lie in no folders by split: the share of the images in the validation split, or
            their names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: list[ClassEntry] = Field(min_length=1)
    ignore: list[Byte] | None = None
    absent: list[str] = []
    duplicates: Meant | None = None
    coding: Literal["ids", "colour"] = "ids"
    images: Below | None = None
    masks: Below | None = None
    splits: dict[Split, Below] = {}
    image_suffix: str = ""
    mask_suffix: str = ""
    image_extensions: list[Extension] = list(IMAGE_EXTENSIONS)
    mask_extensions: list[Extension] = list(MASK_EXTENSIONS)
    bits: Annotated[int, Field(strict=True, ge=9, le=16)] | None = None
    range: tuple[Word, Word] | None = None
    val: float | list[str] | None = None

    @field_validator("masks", mode="before")
    @classmethod
    def _coding_was_here(cls, value: Any) -> Any:
        if value in ("ids", "colour"):
            raise ValueError(f"is the folder of the masks; how they are coded is said by `coding: {value}`")
        return value

    @field_validator("ignore", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("val", mode="before")
    @classmethod
    def _share_or_names(cls, value: Any) -> Any:
        if isinstance(value, list):
            for item in value:
                if not isinstance(item, str):
                    raise ValueError(f"{item!r} is not a name; put it in quotes as it is in the file's name")
        elif value is not None and (not isinstance(value, float) or not 0 < value < 1):
            raise ValueError(f"{value!r} is neither a share between 0 and 1 nor a list of names")
        return value

    @property
    def ignored(self) -> tuple[int, ...]:
        """Ids in the files that do not count."""
        if self.ignore is not None:
            return tuple(dict.fromkeys(self.ignore))
        return () if any(entry.id == IGNORE for entry in self.classes) else (IGNORE,)

    @property
    def training(self) -> list[ClassEntry]:
        """The classes that count, in the order of their training ids."""
        return [entry for entry in self.classes if entry.id not in self.ignored]

    def class_map(self) -> ClassMap:
        """Names and colours by training id."""
        free = _free_colours({entry.colour for entry in self.classes if entry.colour is not None})
        colours = tuple(entry.colour or next(free) for entry in self.training)
        return ClassMap(tuple(entry.name for entry in self.training), colours)

    def mask_coding(self) -> MaskCoding:
        """How to read the masks."""
        if self.coding == "ids":
            return IdCoding(
                tuple(entry.id for entry in self.training),
                self.ignored,
                way_out=f"add them to classes or to ignore in {FILE_NAME}",
                colours_way_out=f"save class ids, or say `coding: colour` in {FILE_NAME}",
                colours={one.id: one.colour for one in self.classes if one.colour is not None},
            )
        unused = [entry.colour for entry in self.classes if entry.id in self.ignored and entry.colour is not None]
        return ColourCoding(
            tuple(entry.colour for entry in self.training if entry.colour is not None),
            tuple(unused),
            way_out=f"add a class with this colour to {FILE_NAME} (with an id listed in ignore, if it does not count)",
            ids_way_out=f"say `coding: ids` in {FILE_NAME} if its values are class ids",
        )

    def layout(self, by_split: bool) -> Layout:
        """Where the files lie.

        Args:
            by_split: where nothing is said, images and masks lie in folders by split.
        """
        inner = "/{split}" if by_split else ""
        return Layout(
            images=self.images or f"images{inner}",
            masks=self.masks or f"masks{inner}",
            image_suffix=self.image_suffix,
            mask_suffix=self.mask_suffix,
            image_extensions=tuple(one.lower() for one in self.image_extensions),
            mask_extensions=tuple(one.lower() for one in self.mask_extensions),
            train=self.splits.get("train", "train"),
            val=self.splits.get("val", "val"),
        )

    def reading(self) -> Reading:
        """How images of more than 8 bits are scaled."""
        if self.range is not None:
            return Reading(low=self.range[0], high=self.range[1])
        return PLAIN if self.bits is None else Reading(high=2**self.bits - 1, clip=False)

    def answers(self, uri: str) -> Answers:
        """What it says of things that look like mistakes.

        Args:
            uri: of the file.
        """
        return Answers(
            uri,
            frozenset(self.absent),
            ignored=self.ignore is not None,
            scaled=self.bits is not None or self.range is not None,
            duplicates=self.duplicates,
        )

    def contradictions(self) -> Iterator[str]:
        """What is wrong between fields, a line each, without the file's name."""
        for field, values in (("name", [one.name for one in self.classes]), ("id", [one.id for one in self.classes])):
            for value in _repeated(values):
                yield f"classes: {field} {value!r} is given twice; give each class its own"
        alike: dict[str, str] = {}
        for name in dict.fromkeys(one.name for one in self.classes):
            if (first := alike.setdefault(composed(name).casefold().strip(), name)) != name:
                yield f"classes: the names {first!r} and {name!r} differ in case or spaces alone; give each its own"
        if isinstance(self.val, list):
            for name in _repeated([composed(one) for one in self.val]):
                yield f"val: {name!r} is named twice; take one out"
        for name in self.absent:
            if name not in (names := [one.name for one in self.training]):
                yield f"absent: {name!r} is no class{nearest(name, names)}; take it out"
        if self.bits is not None and self.range is not None:
            yield "bits, range: both say how images are scaled; take one out"
        if self.range is not None and self.range[0] >= self.range[1]:
            yield f"range: {list(self.range)} is not from a lower to a higher value; correct it"
        if ("{split}" in (self.images or "")) != ("{split}" in (self.masks or "")) and self.images and self.masks:
            yield "images, masks: one has {split} in it, the other has not; give both alike"
        if self.splits and len({self.splits.get(split, split) for split in SPLITS}) < 2:
            yield f"splits: both are the folder {self.splits.get('val', 'val')!r}; give two"
        if not self.training:
            yield "ignore: no class is left; take an id out of ignore"
        if len(self.training) > IGNORE:
            yield f"classes: {len(self.training)} classes, {IGNORE} are the most; ignore one"
        counted = self.training if self.coding == "ids" else self.classes
        for colour in _repeated([one.colour for one in counted if one.colour is not None]):
            painted_so = shorten([repr(one.name) for one in counted if one.colour == colour])
            yield f"classes: {painted_so} have one colour, {list(colour)}; give each its own"
        if self.coding == "colour":
            for entry in self.classes:
                if entry.colour is None:
                    yield f"classes: {entry.name!r} has no colour, which `coding: colour` needs; add colour: [r, g, b]"
            for value in sorted(set(self.ignore or ()) - {one.id for one in self.classes}):
                yield f"ignore: {value} has no colour; add a class with id {value} and the colour of ignored pixels"


def read_spec(source: Source) -> tuple[FolderSpec | None, list[str]]:
    """Read `dataset.yaml`.

    Args:
        source: the data set's root.

    Returns:
        Its content, None if it cannot be used, and a line for each problem of the file.
    """
    path = source.uri_of(FILE_NAME)
    try:
        content = parse_yaml(as_text(source.read_bytes(FILE_NAME)))
    except MissingError:
        other = next((name for name in ("dataset.yml", "Dataset.yaml", "data.yaml") if source.is_file(name)), None)
        found = f"{other} is there: rename it to {FILE_NAME}" if other == "dataset.yml" else (
            f"create it with the key classes (a list of name and id){f' ({other} is there)' if other else ''}"
        )  # fmt: skip
        return None, [f"{path}: the file is missing; {found}"]
    except StoreError as error:
        return None, [str(error)]
    except UnicodeError as error:
        return None, [f"{path}: cannot be read ({error}); save it as UTF-8 text"]
    except ValueError as error:
        return None, [f"{path}: {error}; correct it"]
    if not isinstance(content, dict):
        return None, [f"{path}: no keys found; it needs at least classes (a list of name and id)"]
    try:
        spec = FolderSpec.model_validate(content)
    except ValidationError as error:
        return None, [f"{path}: {_in_words(one)}" for one in error.errors()]
    problems = [f"{path}: {line}" for line in spec.contradictions()]
    return (None if problems else spec), problems


def _in_words(error: Any) -> str:
    """One line for one of pydantic's errors: the field, what is wrong, the way out."""
    field = field_of(error["loc"])
    if error["type"] == "extra_forbidden":
        known = list((FolderSpec if len(error["loc"]) == 1 else ClassEntry).model_fields)
        hint = nearest(str(error["loc"][-1]), known) or f"; known keys: {', '.join(known)}"
        return f"{field}: unknown key{hint}"
    if error["type"] == "missing":
        return f"{field}: the key is missing; add it"
    return f"{field}: {what_is_wrong(error)}"


def _repeated(values: Sequence[Hashable]) -> list[Any]:
    return [value for value in dict.fromkeys(values) if values.count(value) > 1]


def _free_colours(used: set[Colour]) -> Iterator[Colour]:
    """PASCAL VOC's colours, far apart first, without black (ignored pixels) and those taken."""
    for number in range(1, 2 * 256):
        colour = voc_colour(number)
        if colour not in used and colour != (0, 0, 0):
            yield colour
