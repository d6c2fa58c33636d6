"""Names that people give to studies and runs: each is a folder, a word of a command line and a line of a report."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator

LONGEST = 200
"""Bytes; file systems take 255, and files beside a folder may be named after it."""
_RESERVED = {"con", "prn", "aux", "nul", *(f"{device}{i}" for device in ("com", "lpt") for i in range(1, 10))}
"""Names that Windows, and file servers for it, give to no file, whatever their suffix."""


def check_name(name: str) -> str:
    """The name, if it can be that of a study or run on every file system and object store.

    Args:
        name: that a person gave.

    Raises:
        ValueError: it cannot; the message says why.

    Example:
        >>> check_name("camvid, 3 seeds")
        'camvid, 3 seeds'
        >>> check_name("../camvid")
        Traceback (most recent call last):
        ...
        ValueError: '../camvid' cannot be a name: it holds '/'; use letters and digits, and - _ + , = . between them
    """
    if problem := _problem(name):
        shown = name if len(name) <= 60 else f"{name[:60]}..."
        raise ValueError(f"{shown!r} cannot be a name: {problem}; use letters and digits, and - _ + , = . between them")
    return name


def is_name(name: str) -> bool:
    """Whether a name can be that of a study or run."""
    return not _problem(name)


def _problem(name: str) -> str:
    if not name.strip():
        return "it is empty"
    for letter in name:
        if letter in "/\\" or unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            return f"it holds {letter!r}"
    if name[0] in ".-~" or name[-1] == "." or name != name.strip():
        return "it begins with one of . - ~, ends with a dot, or has spaces around it"
    if len(name.encode()) > LONGEST:
        return f"it has {len(name.encode())} bytes, more than {LONGEST}"
    if name.partition(".")[0].lower() in _RESERVED:
        return "some file systems reserve it"
    return ""


Name = Annotated[str, AfterValidator(check_name)]
"""The name of a study or run."""
NameOrEmpty = Annotated[str, AfterValidator(lambda name: name and check_name(name))]
"""The same, where nothing stands for a name that is made later."""
