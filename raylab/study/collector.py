"""Progress of the runs of a study on Ray: the actor that collects it for the driver, and what posts to it.

No outcome hangs on it. Its module must be cheap to import: the actor's process imports it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raylab.study.events import ProgressEvent
from raylab.study.interrupts import StoppedTask

_PATIENCE = 10.0
"""Seconds that an answer is waited for."""


class ProgressCollector:
    """Collects events of all runs until the driver fetches them, and knows whether tasks are to end."""

    def __init__(self) -> None:
        self.events: list[ProgressEvent] = []
        self.stopping = False

    def is_stopping(self) -> bool:
        """Whether tasks are to end after their next commit."""
        return self.stopping

    def post(self, event: ProgressEvent) -> None:
        """Add an event; a later one of the same stage replaces one that was not fetched yet, but for a stage's end."""
        last = self.events[-1] if self.events else None
        same = last and (last.run, last.round_index, last.stage) == (event.run, event.round_index, event.stage)
        if last and same and last.done < last.total:
            self.events.pop()
        self.events.append(event)

    def fetch(self, stopping: bool) -> list[ProgressEvent]:
        """Take all events away, oldest first.

        Args:
            stopping: whether tasks are to end; said each time, so that a collector that was started anew knows it.
        """
        self.stopping = stopping
        events, self.events = self.events, []
        return events


@contextmanager
def progress_collector() -> Iterator[Any]:
    """A `ProgressCollector` for the length of a block, on the node of this process: no other is lost without it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(ProgressCollector).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()
    try:
        yield actor
    finally:
        ray.kill(actor)


def fetched(collector: Any, stopping: bool) -> list[ProgressEvent]:
    """What a collector has; nothing where it does not answer."""
    with suppress(RayError):
        events: list[ProgressEvent] = ray.get(collector.fetch.remote(stopping), timeout=_PATIENCE)
        return events
    return []


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
        self._post(stage, done, total, note)
        if stage == "committed":
            self.check()

    def end(self, stage: str, note: str = "") -> None:
        """Post how a run ended, and wait until it is heard: its process may end too."""
        with suppress(RayError):
            ray.get(self._post(stage, 0, 0, note), timeout=_PATIENCE)

    def check(self) -> None:
        """Go on, unless the study was asked to stop.

        Raises:
            StoppedTask: it was.
        """
        with suppress(RayError):
            if ray.get(self.collector.is_stopping.remote(), timeout=_PATIENCE):
                raise StoppedTask

    def _post(self, stage: str, done: int, total: int, note: str) -> Any:
        return self.collector.post.remote(ProgressEvent(self.run, self.round_index, stage, done, total, note))
