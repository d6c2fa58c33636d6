"""Lines for the person who waits: one when a stage begins or ends, one every ten seconds within it."""

from __future__ import annotations

import time
from collections.abc import Callable

from raylab.study.services import Notice

_EVERY = 10.0


class Console:
    """Turns notices into lines.

    Args:
        name_of: gives a task's name for a person.
        say: takes a line.
    """

    def __init__(self, name_of: Callable[[str], str], say: Callable[[str], None]) -> None:
        self.name_of = name_of
        self.say = say
        self.start = time.monotonic()
        self._said: dict[str, tuple[str, float]] = {}

    def show(self, notice: Notice) -> None:
        """Say a notice, unless the same stage was spoken of less than ten seconds ago."""
        now = time.monotonic()
        key = f"{notice.round_index} {notice.stage}"
        stage, when = self._said.get(notice.run, ("", 0.0))
        ends = notice.done == notice.total
        if stage == key and not ends and now - when < _EVERY:
            return
        self._said[notice.run] = (key, now)
        seconds = int(now - self.start)
        self.say(f"[{seconds // 60:3d}:{seconds % 60:02d}] {self.name_of(notice.run):<32} {self._what(notice)}")

    def _what(self, notice: Notice) -> str:
        if notice.stage in ("done", "failed"):
            return f"{notice.stage} {notice.note}".rstrip()
        counts = f"{notice.done:,}/{notice.total:,}" if notice.total > 1 else ""
        return f"round {notice.round_index}  {notice.stage:<9} {counts:>17}  {notice.note}".rstrip()
