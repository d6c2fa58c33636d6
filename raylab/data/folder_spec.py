"""`dataset.yaml` of a folder data set: its keys, their limits, and what it says about classes and masks."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from raylab.data.classes import IGNORE, ClassMap, Colour, voc_colour
from raylab.data.decode import ColourCoding, IdCoding, MaskCoding
from raylab.data.source import Source
from raylab.errors import MissingError, StoreError, nearest

FILE_NAME = "dataset.yaml"

Byte = Annotated[int, Field(strict=True, ge=0, le=255)]
CheckedColour = tuple[Byte, Byte, Byte]


class ClassEntry(BaseModel):
    """One class. Without a colour it is given one that is still free."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    id: Byte
    colour: CheckedColour | None = None


class FolderSpec(BaseModel):
    """The whole file.

    Attributes:
        classes: in the order of their training ids.
        ignore: id or ids that do not count; 255 if nothing is said and no class has it. A class listed with such
            an id is no training class, but gives the ignored pixels a colour.
        masks: whether masks hold ids or are painted with the classes' colours.
        val: for images/ and masks/ without train and val: the share of the images in the validation split, or
            their names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: list[ClassEntry] = Field(min_length=1)
    ignore: list[Byte] | None = None
    masks: Literal["ids", "colour"] = "ids"
    val: float | list[str] | None = None

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

    def coding(self) -> MaskCoding:
        """How to read the masks."""
        if self.masks == "ids":
            return IdCoding(
                tuple(entry.id for entry in self.training),
                self.ignored,
                way_out=f"add them to classes or to ignore in {FILE_NAME}",
                colours_way_out=f"save class ids, or say `masks: colour` in {FILE_NAME}",
            )
        unused = [entry.colour for entry in self.classes if entry.id in self.ignored and entry.colour is not None]
        return ColourCoding(
            tuple(entry.colour for entry in self.training if entry.colour is not None),
            tuple(unused),
            way_out=f"add a class with this colour to {FILE_NAME} (with an id listed in ignore, if it does not count)",
            ids_way_out=f"say `masks: ids` in {FILE_NAME} if its values are class ids",
        )

    def contradictions(self) -> Iterator[str]:
        """What is wrong between fields, a line each, without the file's name."""
        for field, values in (("name", [one.name for one in self.classes]), ("id", [one.id for one in self.classes])):
            for value in _repeated(values):
                yield f"classes: {field} {value!r} is given twice; give each class its own"
        if not self.training:
            yield "ignore: no class is left; take an id out of ignore"
        if len(self.training) > IGNORE:
            yield f"classes: {len(self.training)} classes, {IGNORE} are the most; ignore one"
        if self.masks == "colour":
            for entry in self.classes:
                if entry.colour is None:
                    yield f"classes: {entry.name!r} has no colour, which `masks: colour` needs; add colour: [r, g, b]"
            for colour in _repeated([one.colour for one in self.classes if one.colour is not None]):
                yield f"classes: colour {list(colour)} is given twice; `masks: colour` needs one each"
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
        content = yaml.safe_load(source.read_bytes(FILE_NAME).decode("utf-8"))
    except MissingError:
        return None, [f"{path}: the file is missing; create it with the key classes (a list of name and id)"]
    except StoreError as error:
        return None, [str(error)]
    except UnicodeDecodeError as error:
        return None, [f"{path}: cannot be read ({error}); save it as UTF-8 text"]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        return None, [f"{path}: {line}not YAML ({getattr(error, 'problem', None) or 'syntax error'}); correct it"]
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
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    if error["type"] == "extra_forbidden":
        known = list((FolderSpec if len(error["loc"]) == 1 else ClassEntry).model_fields)
        hint = nearest(str(error["loc"][-1]), known) or f"; known keys: {', '.join(known)}"
        return f"{field}: unknown key{hint}"
    if error["type"] == "missing":
        return f"{field}: the key is missing; add it"
    message = str(error["msg"]).removeprefix("Value error, ")
    given = (
        ""
        if error["type"] == "value_error" or isinstance(error["input"], list | dict)
        else f" (it is {error['input']!r})"
    )
    return f"{field}: {message}{given}"


def _repeated(values: Sequence[Hashable]) -> list[Any]:
    return [value for value in dict.fromkeys(values) if values.count(value) > 1]


def _free_colours(used: set[Colour]) -> Iterator[Colour]:
    """PASCAL VOC's colours, far apart first, without black (ignored pixels) and those taken."""
    for number in range(1, 2 * 256):
        colour = voc_colour(number)
        if colour not in used and colour != (0, 0, 0):
            yield colour
