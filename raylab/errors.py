"""Every error a user can meet.

The command line prints the message of a `RaylabError` on one line (or one line a problem) and exits with
status 2; anything else is a bug in raylab and keeps its traceback.
"""

from __future__ import annotations

import atexit
import difflib
import os
import re
import signal
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_MUST_BE = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "tuple": "a list",
    "list": "a list",
    "model": "fields with values",
    "dict": "fields with values",
    "dataclass": "fields with values",
}
"""What a value must be, by the type that pydantic names in the kind of its error."""


class RaylabError(Exception):
    """Base of every error that the user can fix."""

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


class TrainingError(RaylabError):
    """A training diverged: its loss, its weights or what it scored is not finite."""


class ClusterError(RaylabError):
    """Ray does not start, or does not answer where it should be."""


class StoppedError(RaylabError):
    """A study ended before it was done, because a signal asked it to.

    Attributes:
        exit_code: 128 plus the signal's number, as shells have it.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class WeightsError(RaylabError):
    """Pre-trained weights are missing or do not fit the backbone."""


class StoreError(RaylabError):
    """A file is incomplete, or cannot be read or written.

    Attributes:
        reason: the cause alone, for messages that name the file in their own way.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        self.reason = reason
        super().__init__(message)


class NetworkError(StoreError):
    """An object store has not answered for as long as it was asked again."""


class MissingError(StoreError):
    """A file is not there."""


class DamagedError(StoreError):
    """A file is not what was written: its bytes have changed since, or it is another one."""


class ExistsError(StoreError):
    """A file that was to be written where there is none is there already."""


class LeaseLostError(RaylabError):
    """Another process has taken over what this one was doing, since it showed no sign of life; it commits nothing."""


class MismatchError(RaylabError):
    """A run started again differs from the one that lies under the same name."""


class TrackingError(RaylabError):
    """The MLflow tracking address cannot be used."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a message about a name that is unknown.

    Args:
        word: what was given.
        known: what could have been meant.

    Returns:
        `; did you mean 'x'?` for the known word nearest to it, or nothing where none is near.

    Example:
        >>> nearest("camvit", ["camvid", "gta5"])
        "; did you mean 'camvid'?"
        >>> nearest("ade20k", ["camvid", "gta5"])
        ''
    """
    word = word.lower().lstrip("-")
    # Who mistypes a name seldom mistypes its first letter, and without that `gpu` would be near to `cpu`.
    alike = {key: name for name in known if (key := name.lower().lstrip("-"))[:1] == word[:1]}
    begun = [key for key in alike if len(word) > 2 and key.startswith(word)]
    near = begun if len(begun) == 1 else difflib.get_close_matches(word, alike, n=1, cutoff=0.65)
    return f"; did you mean {alike[near[0]]!r}?" if near else ""


def no_such_field(name: str, known: Sequence[str]) -> str:
    """What is wrong with a name that no field has."""
    return f"no such field{nearest(name, known) or '; there are ' * bool(known) + ', '.join(known)}"


def field_of(loc: Sequence[int | str]) -> str:
    """The name of a field for messages, from where pydantic says that it lies.

    Example:
        >>> field_of(("run", "budget", "rounds", 1))
        'run.budget.rounds[1]'
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def what_is_wrong(problem: ErrorDetails) -> str:
    """What pydantic refused in a value, in plain words: what it must be, what was given, the nearest that would do.

    Args:
        problem: one of the `errors()` of pydantic's `ValidationError`.

    Example:
        >>> what_is_wrong({"type": "tuple_type", "loc": ("seeds",), "msg": "Input should be a valid tuple", "input": 3})
        'must be a list (got 3); write [3]'
    """
    kind, value = problem["type"], problem["input"]
    if kind == "value_error":
        return problem["msg"].removeprefix("Value error, ")
    wanted = _MUST_BE.get(re.sub("_(type|parsing|parsing_size|from_float|attributes_type)$", "", kind))
    message = f"must be {wanted}" if wanted else re.sub("^[A-Z][a-z]+ should ", "must ", problem["msg"])
    message = re.sub(" after validation, not .*", "", message)
    shown = textwrap.shorten(repr(value), 80, placeholder=" ...")
    way_out = ""
    if kind == "literal_error":
        way_out = nearest(str(value), re.findall("'([^']+)'", message))
    elif wanted == "a list" and isinstance(value, str | int | float):
        way_out = f"; write [{value}]"
    elif wanted == "fields with values":
        way_out = "; write {field: value}"
    return f"{message} (got {shown}){way_out}"


class CarriedError(Exception):
    """Takes an error unchanged through Ray Data, which adds its advice to the message of whatever is raised.

    Attributes:
        cause: the error.
    """

    def __init__(self, cause: RaylabError) -> None:
        super().__init__(cause)
        self.cause = cause


@contextmanager
def carried() -> Iterator[None]:
    """Raise a `RaylabError` of the block as a `CarriedError`, whose cause `known_cause` finds."""
    try:
        yield
    except RaylabError as error:
        raise CarriedError(error) from None


def known_cause(error: BaseException) -> RaylabError | None:
    """The error that the user can fix inside one that came through Ray or from several workers, if there is one.

    Args:
        error: as it was caught; Ray names what it wraps `cause`, Ray Train `worker_failures` by rank.

    Returns:
        The error as it was raised: its own class and message.
    """
    return next((one for one in causes(error) if isinstance(one, RaylabError) and not hasattr(one, "cause")), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it wraps, the outermost first."""
    yield error
    wrapped = [getattr(error, "cause", None), error.__cause__, getattr(error, "controller_failure", None)]
    wrapped += getattr(error, "worker_failures", {}).values()
    for one in wrapped:
        if isinstance(one, BaseException):
            yield from causes(one)


@contextmanager
def handler_kept(number: signal.Signals) -> Iterator[None]:
    """Undo what a block does to the handler of a signal, as Ray does; only a main thread has handlers to keep."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def exit_cleanly() -> Iterator[None]:
    """Turn a `RaylabError` into its message on the standard error and its exit status, and a warning into a line."""
    seen: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if (line := f"warning: {message}") not in seen:
            seen.add(line)
            print(line, file=sys.stderr)

    warnings.showwarning = show
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except StoppedError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except RaylabError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None


def _terminate(number: int, frame: Any) -> None:
    """What the default action of SIGTERM would do, but for what is to be cleaned up on the way out."""
    raise SystemExit(128 + number)


@contextmanager
def without_teardown() -> Iterator[None]:
    """End the process with the block's status once the exit functions have run, without taking Python down.

    Meant for the outermost frame of a program, before the libraries that start threads are imported.
    """
    status = 1  # of an error that no one caught, whose traceback Python prints before the exit functions run

    def leave() -> None:
        os._exit(_flushed(status))

    # Threads of native libraries (Arrow's, tokio's below obstore) outlive the main one. One that wants Python's lock
    # while the interpreter is being taken down is ended in the middle of a C++ destructor before Python 3.14, and the
    # process aborts with 134 after a right answer (apache/arrow#45017, #49942, python/cpython#87135).
    atexit.register(leave)  # the first one registered runs last
    try:
        yield
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise


def _flushed(status: int) -> int:
    """Write out what was printed; gives the status, or 1 where a success could not be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # whoever read it has had enough
            status = status or 1
        except (OSError, ValueError) as error:
            os.write(2, f"error: the output could not be written ({error})\n".encode())
            status = status or 1
    return status
