"""The leaves of a configuration as options: what each is called on the command line, takes and means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Positional:
    """Marks a field that is given by its position on the command line.

    Attributes:
        metavar: what the help calls it.
    """

    metavar: str


@dataclass(frozen=True)
class Repeated:
    """Marks a field that gains one value each time its option is given."""


@dataclass(frozen=True)
class Option:
    """A leaf of a configuration.

    Attributes:
        path: its way through the sections, such as `run.training.epochs`.
        field: of the model.
        default: its value where it is not given.
        on_scenes: the same on generated scenes.
    """

    path: str
    field: FieldInfo
    default: Any
    on_scenes: Any

    @property
    def flag(self) -> str:
        """The option's name on the command line."""
        return "--" + self.path.replace("_", "-")

    @property
    def off(self) -> str:
        """The name that sets a switch to False."""
        section, dot, name = self.path.rpartition(".")
        return f"--{section}{dot}no-{name}".replace("_", "-")

    @property
    def section(self) -> str:
        """The dotted name of its section; empty at the top."""
        return self.path.rpartition(".")[0]

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types it may have, `None` left out."""
        return tuple(kind for kind in _parts(self.field.annotation) if kind is not NoneType)

    @property
    def is_switch(self) -> bool:
        """Whether it is True or False."""
        return self.kinds == (bool,)

    @property
    def several(self) -> int | Literal["*"] | None:
        """How many words it takes: a number, any number, or None for one."""
        kind = self.kinds[0]
        if get_origin(kind) is not tuple:
            return None
        return "*" if Ellipsis in get_args(kind) else len(get_args(kind))

    @property
    def metavar(self) -> str:
        """What the help calls its value."""
        return "|".join(_metavar(_element(kind)) for kind in self.kinds)

    @property
    def choices(self) -> list[str]:
        """The words it may be; empty where it may be any."""
        return [str(value) for kind in self.kinds if get_origin(kind) is Literal for value in get_args(kind)]

    @property
    def help(self) -> str:
        """Its description and its default, and that on generated scenes where it is another."""
        default, on_scenes = _shown(self.default), _shown(self.on_scenes)
        known = [f"default: {default}"] * bool(default and not self.field.is_required())
        known += [f"on generated scenes: {on_scenes}"] * (on_scenes != default)
        return " ".join([*(self.field.description or "").split(), *([f"({'; '.join(known)})"] if known else [])])

    def value(self, words: Any) -> Any:
        """What the words of the command line say, as far as it can be told without the configuration's own checks."""
        if isinstance(words, list):
            return [self.value(word) for word in words]
        if words == "None" and NoneType in _parts(self.field.annotation):
            return None
        for kind in self.kinds:
            for known in get_args(kind) if get_origin(kind) is Literal else ():
                if words == str(known):
                    return known
            if _element(kind) in (int, float):
                with suppress(ValueError):
                    return _element(kind)(words)
        return words

    def marked(self, marker: type) -> Any:
        """The marker of that type that the field carries, or None."""
        return next((found for found in self.field.metadata if isinstance(found, marker)), None)


def options_of(
    model: type[BaseModel],
    default: BaseModel | None = None,
    on_scenes: BaseModel | None = None,
    section: str = "",
) -> Iterator[Option]:
    """Every leaf of a configuration, top first.

    Args:
        model: of the configuration.
        default: its values where nothing is given; None takes the model's.
        on_scenes: the same on generated scenes; None where they are no others.
        section: where the model lies in the whole.
    """
    inner = []
    for name, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True) if default is None else getattr(default, name)
        other = value if on_scenes is None else getattr(on_scenes, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner.append((field.annotation, value, other, f"{section}{name}."))
        else:
            yield Option(f"{section}{name}", field, value, other)
    for kind, value, other, path in inner:
        yield from options_of(kind, value, other, path)


def sections_of(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    """The dotted name and the first line of the description of every section."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield f"{path}{name}", (field.annotation.__doc__ or "").strip().splitlines()[0]
            yield from sections_of(field.annotation, f"{path}{name}.")


def _parts(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type there is."""
    if get_origin(kind) is Annotated:
        return _parts(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return tuple(part for member in get_args(kind) for part in _parts(member))
    return (kind,)


def _element(kind: Any) -> Any:
    """The type of one word: of a tuple, that of its members."""
    return _parts(get_args(kind)[0])[0] if get_origin(kind) is tuple else kind


def _shown(value: Any) -> str:
    """A default as the command line takes it; nothing for one that is not set."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "{" + ",".join(str(value) for value in get_args(kind)) + "}"
    return {int: "INT", float: "NUMBER", str: "TEXT"}.get(kind, getattr(kind, "__name__", "VALUE").upper())
