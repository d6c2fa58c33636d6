"""YAML that people wrote, read within bounds: a small file can be deep or large enough to end a process."""

from __future__ import annotations

from typing import Any

import yaml

MOST_CHARACTERS = 4 * 2**20
MOST_LEVELS = 32
MOST_VALUES = 200_000
"""With every alias (`*name`) counted as all that it stands for."""


def parse_yaml(text: str) -> Any:
    """The value that a YAML text holds.

    Args:
        text: of one document.

    Raises:
        ValueError: it is no YAML, or longer, deeper or larger than configurations are; a line that says where.

    Example:
        >>> parse_yaml("classes: [{name: road, id: 0}]")
        {'classes': [{'name': 'road', 'id': 0}]}
        >>> parse_yaml("a: [" * 40)
        Traceback (most recent call last):
        ...
        ValueError: line 1: lists or keys within one another, more than 32 levels deep
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{len(text):,} characters, more than {MOST_CHARACTERS:,}")
    try:
        _check_levels(text)
        value = _loaded(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise ValueError(f"{line}not YAML ({error.problem or error.context or 'syntax error'})") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML ({' '.join(str(error).split()) or 'syntax error'})") from None
    _check_values(value)
    return value


def _loaded(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (ValueError, ArithmeticError, TypeError, AttributeError, LookupError) as error:
        # What PyYAML's constructors raise at impossible dates, numbers and tags.
        raise ValueError(f"not YAML ({' '.join(str(error).split())})") from None


def _check_levels(text: str) -> None:
    level = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        if level > MOST_LEVELS:
            mark = event.start_mark
            line = f"line {mark.line + 1}: " if mark is not None else ""
            raise ValueError(f"{line}lists or keys within one another, more than {MOST_LEVELS} levels deep")


def _check_values(value: Any) -> None:
    """Refuse aliases that stand for too much, or for what holds them."""
    known: dict[int, tuple[int, int]] = {}

    def look(one: Any) -> tuple[int, int]:
        """Values in it, and levels."""
        if not isinstance(one, list | dict):
            return 1, 0
        if id(one) not in known:
            known[id(one)] = MOST_VALUES + 1, 0  # until it is known: what holds itself has no end
            inner = list(map(look, one if isinstance(one, list) else [*one.keys(), *one.values()]))
            known[id(one)] = 1 + sum(size for size, _ in inner), 1 + max((level for _, level in inner), default=0)
        return known[id(one)]

    # An anchor stands before its aliases, so what is looked at first is never deep.
    size, levels = look(value)
    if size > MOST_VALUES or levels > MOST_LEVELS:
        raise ValueError(f"its aliases (`*name`) stand for more than {MOST_VALUES:,} values or {MOST_LEVELS} levels")
