"""What pydantic refused in a configuration, as lines that name the field and the way out."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from raylab.config.leaves import Positional, options_of
from raylab.errors import field_of, no_such_field, what_is_wrong


def lines_of(error: ValidationError, model: type[BaseModel], partial: bool = False) -> list[str]:
    """A line for each thing that pydantic refused, each once.

    Args:
        error: of reading the configuration.
        model: of the configuration.
        partial: whether what is missing may still be given, and is no problem.
    """
    found = (_line(problem, model) for problem in error.errors() if not (partial and _is_missing(problem)))
    return list(dict.fromkeys(found))


def _line(problem: ErrorDetails, model: type[BaseModel]) -> str:
    loc = problem["loc"]
    field = field_of(loc)
    if _is_missing(problem):
        return f"{_given_as(model, field)} is not given; --help says what it is"
    if problem["type"] == "missing":
        return f"{field_of(loc[:-1])}: must have more values (got {problem['input']!r})"
    if problem["type"] == "extra_forbidden":
        return f"{field}: {no_such_field(str(loc[-1]), _fields(model, loc[:-1]))}"
    return f"{field}: {what_is_wrong(problem)}" if field else what_is_wrong(problem)


def _is_missing(problem: ErrorDetails) -> bool:
    """Whether a field is not given; a list that is too short lacks a value by its index."""
    return problem["type"] == "missing" and isinstance(problem["loc"][-1], str)


def _given_as(model: type[BaseModel], field: str) -> str:
    """What the command line calls a field; only commands have such that must be given."""
    (option,) = (option for option in options_of(model) if option.path == field)
    positional = option.marked(Positional)
    return positional.metavar if positional else option.flag


def _fields(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The fields of a section of the configuration; none where it is no section."""
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return list(model.model_fields)
