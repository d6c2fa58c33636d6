"""Progress of the runs of a study on Ray: the actor that collects it for the driver, and what posts to it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from raylab.study.events import ProgressEvent
from raylab.study.interrupts import StoppedTask


class ProgressCollector:
    """Collects events of all runs until the driver fetches them."""

    def __init__(self) -> None:
        self.events: list[ProgressEvent] = []
        self.stopping = False

    def stop(self) -> None:
        """Have every task end after its next commit."""
        self.stopping = True

    def is_stopping(self) -> bool:
        """Whether tasks are to end."""
        return self.stopping

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
        if stage == "committed":
            self.check()

    def check(self) -> None:
        """Go on, unless the study was asked to stop.

        Raises:
            StoppedTask: it was.
        """
        with suppress(RayError):  # a collector that is lost stops nobody
            if ray.get(self.collector.is_stopping.remote()):
                raise StoppedTask
