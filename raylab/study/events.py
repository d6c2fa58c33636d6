"""Progress of the runs of a study: the events, and the actor that collects them for the driver."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ProgressEvent:
    """Where a run is.

    Attributes:
        run: label of the run.
        round_index: t.
        stage: see `raylab.progress.Progress`; `done` and `failed` end a run.
        done: units of work done.
        total: units in all.
        note: what else a person would like to see.
    """

    run: str
    round_index: int
    stage: str
    done: int = 0
    total: int = 0
    note: str = ""


class ProgressCollector:
    """Collects events of all runs until the driver fetches them."""

    def __init__(self) -> None:
        self.events: list[ProgressEvent] = []

    def post(self, event: ProgressEvent) -> None:
        """Add an event; a later one of the same stage replaces one that was not fetched yet."""
        last = self.events[-1] if self.events else None
        if last and (last.run, last.round_index, last.stage) == (event.run, event.round_index, event.stage):
            self.events.pop()
        self.events.append(event)

    def fetch(self) -> list[ProgressEvent]:
        """Take all events away, oldest first."""
        events, self.events = self.events, []
        return events


class CollectedProgress:
    """A `Progress` that posts to a collector, at most twice a second within a stage; pickles into workers."""

    def __init__(self, collector: Any, run: str, round_index: int = 0) -> None:
        self.collector = collector
        self.run = run
        self.round_index = round_index
        self.last = 0.0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """See `raylab.progress.Progress`."""
        now = time.monotonic()
        if 0 < done < total and now - self.last < 0.5:
            return
        self.last = now
        self.collector.post.remote(ProgressEvent(self.run, self.round_index, stage, done, total, note))
