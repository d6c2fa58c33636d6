"""What was found of a file, kept until the file's size or time of modification is another."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import TypeVar

State = tuple[int, int]
"""Bytes of a file, and its time of modification in nanoseconds."""
Found = TypeVar("Found")

SETTLED = 2_000_000_000
"""Nanoseconds. A file changed as recently as this before it was read may change again within one tick of the clock that
dates it, so what was found of it is not kept; object stores date by the second."""


def found_once(
    known: MutableMapping[str, tuple[int, int, Found]],
    key: str,
    state_of: Callable[[], State | None],
    find: Callable[[], Found],
) -> Found:
    """What is known of a file as it is now, or is found, and then kept unless the file is changing.

    Args:
        known: by key: bytes, time of modification, what was found. Changed here; may be shared by threads.
        key: that the file is known by.
        state_of: the file's state, now; None where it has none of its own, so that nothing is kept.
        find: looks at the file.

    Returns:
        What `find` returns, or returned once.

    Example:
        >>> known = {"a.png": (5, 1, "its hash")}
        >>> found_once(known, "a.png", lambda: (5, 1), lambda: "hashed anew")
        'its hash'
        >>> found_once(known, "a.png", lambda: (6, 1), lambda: "hashed anew")
        'hashed anew'
    """
    now, state = time.time_ns(), state_of()
    before = known.get(key)
    if state is not None and before is not None and (before[0], before[1]) == state:
        return before[2]
    found = find()
    if state is not None and state[1] < now - SETTLED and state_of() == state:
        known[key] = (*state, found)
    else:
        known.pop(key, None)
    return found
