"""Lines for the person who waits: one when a stage begins or ends, one every ten seconds within it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from raylab.config import RunConfig
from raylab.study.services import Notice

_EVERY = 10.0


class Console:
    """Turns notices into lines.

    Args:
        runs: by label.
        say: takes a line.
    """

    def __init__(self, runs: Mapping[str, RunConfig], say: Callable[[str], None]) -> None:
        self.runs = runs
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

    def name_of(self, task: str) -> str:
        """A task as a person would call it."""
        label = task.removeprefix("round0:")
        if label not in self.runs:
            return {"supervised": "fully supervised", "pretrained": "pre-training"}.get(task.partition("/")[0], task)
        run = self.runs[label]
        place = f"N{run.regions.size} seed {run.seed}"
        return f"all strategies {place}" if task != label else f"{run.strategy.label} {place}"

    def _what(self, notice: Notice) -> str:
        if notice.stage in ("done", "failed"):
            return f"{notice.stage} {notice.note}".rstrip()
        counts = f"{notice.done:,}/{notice.total:,}" if notice.total > 1 else ""
        return f"round {notice.round_index}  {notice.stage:<9} {counts:>17}  {notice.note}".rstrip()
