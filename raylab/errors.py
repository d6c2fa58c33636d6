"""Every error a user can meet.

The command line prints the message of a `RaylabError` on one line (or one line a problem) and exits with
status 2; anything else is a bug in raylab and keeps its traceback.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class RaylabError(Exception):
    """Base of every error that is the user's to mend."""

    exit_code = 2


class ConfigError(RaylabError):
    """A field of the configuration is unknown or has a value that cannot work."""


class DataError(RaylabError):
    """One or more problems of a data set, all of them found in one pass.

    Attributes:
        problems: one line each, naming the file and the way out.
    """

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class BudgetError(RaylabError):
    """The budget asks for more regions than the pool holds."""


class ResourceError(RaylabError):
    """The machine or cluster has fewer CPUs or GPUs than the run would hold at once."""


class WeightsError(RaylabError):
    """Pre-trained weights are missing or do not fit the backbone."""


class StoreError(RaylabError):
    """A result under the storage root is missing, incomplete or not readable."""


class MismatchError(RaylabError):
    """A run started again differs from the one that lies under the same name."""


class TrackingError(RaylabError):
    """The MLflow tracking address cannot be used."""


@contextmanager
def exit_cleanly() -> Iterator[None]:
    """Turn a `RaylabError` into its message on the standard error and its exit status, and a warning into a line."""
    seen: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if (line := f"warning: {message}") not in seen:
            seen.add(line)
            print(line, file=sys.stderr)

    warnings.showwarning = show
    try:
        yield
    except RaylabError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
