"""Lines for the person who waits: one when a stage begins or ends, one every ten seconds within it."""

from __future__ import annotations

import time
from collections.abc import Callable

from raylab.study.events import ProgressEvent
from raylab.study.pace import Pace

_EVERY = 10.0


class Console:
    """Turns events into lines.

    Args:
        name_of: gives a task's name for a person.
        say: takes a line.
    """

    def __init__(self, name_of: Callable[[str], str], say: Callable[[str], None]) -> None:
        self.name_of = name_of
        self.say = say
        self.start = time.monotonic()
        self._said: dict[str, tuple[str, float]] = {}

    def show(self, event: ProgressEvent) -> None:
        """Say an event, unless the same stage was spoken of less than ten seconds ago."""
        now = time.monotonic()
        key = f"{event.round_index} {event.stage}"
        stage, when = self._said.get(event.run, ("", 0.0))
        ends = event.done == event.total
        if stage == key and not ends and now - when < _EVERY:
            return
        self._said[event.run] = (key, now)
        self.say(f"{self._clock()} {self.name_of(event.run):<32} {self._what(event)}")

    def show_pace(self, pace: Pace) -> None:
        """Say how far all is."""
        self.say(f"{self._clock()} {pace.summary}")

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self.start)
        return f"[{seconds // 60:3d}:{seconds % 60:02d}]"

    def _what(self, event: ProgressEvent) -> str:
        if event.stage in ("done", "failed"):
            return f"{event.stage} {event.note}".rstrip()
        counts = f"{event.done:,}/{event.total:,}" if event.total > 1 else ""
        return f"round {event.round_index}  {event.stage:<9} {counts:>17}  {event.note}".rstrip()


class SlowReading:
    """A `Progress` of reading a data set: a line every ten seconds, none where it takes no such time.

    Args:
        name: of the data set.
        say: takes a line.
    """

    round_index = 0

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.name = name
        self.say = say
        self.last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """See `raylab.progress.Progress`."""
        if (now := time.monotonic()) - self.last >= _EVERY:
            self.last = now
            what = "images" if stage == "survey" else "files"
            self.say(f"data: {done:,} of {total:,} {what} of {self.name} read, once, to know them again")
