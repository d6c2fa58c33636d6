"""SIGINT and SIGTERM while studies run: the first stops them after what can be committed, the second at once."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedTask(BaseException):
    """Ends a task between two steps, since the study was asked to stop; no error, so that nothing handles it as one."""


class Interrupts:
    """Whether somebody asked the studies to stop.

    Args:
        grace: seconds from the first signal until what is not committed is given up.

    Attributes:
        number: of the first signal; None as long as there was none.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.number: int | None = None
        self._deadline = 0.0

    @property
    def requested(self) -> bool:
        """Whether to stop after the next commit."""
        return self.number is not None

    @property
    def overdue(self) -> bool:
        """Whether to stop now."""
        return self.requested and time.monotonic() > self._deadline

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM for the length of a block; outside the main thread they stay as they are."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise SystemExit(128 + number)
        self.number, self._deadline = number, time.monotonic() + self.grace
        line = (
            f"{signal.Signals(number).name}: stopping after what is committed within {self.grace:g} s; again: at once\n"
        )
        os.write(2, line.encode())  # print is not for handlers of signals


def this_command() -> str:
    """The command line of this process, as a person would type it again."""
    program, *args = sys.argv
    name = Path(program).name
    if name == "__main__.py":
        start = ["python", "-m", Path(program).parent.name]
    else:
        start = ["python", program] if name.endswith(".py") else [name]
    return shlex.join([*start, *args])
