"""Two small actors that the runs of a study share: a gate to the machine's CPUs and GPUs, and a notice board."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray


@dataclass(frozen=True)
class Notice:
    """Where a run is.

    Attributes:
        run: label of the run.
        round_index: t.
        stage: `train`, `evaluate`, `score` or `select`; `done` and `failed` end a run.
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


class Gate:
    """Lets as many runs into a stage that holds CPUs or GPUs as fit, in the order in which they ask.

    Without it two runs can each hold half of what either needs, and wait for each other for ever.
    """

    def __init__(self, cpus: float, gpus: float) -> None:
        self.free = {"cpus": cpus, "gpus": gpus}
        self.held: dict[str, dict[str, float]] = {}
        self.queue: list[str] = []
        self.changed = asyncio.Condition()

    async def enter(self, holder: str, cpus: float, gpus: float) -> None:
        """Wait until the amounts are free, and hold them; what the same holder left held is given back first."""
        await self.leave(holder)
        wanted = {"cpus": cpus, "gpus": gpus}
        async with self.changed:
            self.queue = [*(name for name in self.queue if name != holder), holder]
            await self.changed.wait_for(lambda: self.queue[0] == holder and self._fits(wanted))
            self.queue.remove(holder)
            self.held[holder] = wanted
            self._add(wanted, -1)
            self.changed.notify_all()

    async def leave(self, holder: str) -> None:
        """Give back what `holder` holds."""
        async with self.changed:
            if holder in self.queue:
                self.queue.remove(holder)
            if held := self.held.pop(holder, None):
                self._add(held, 1)
            self.changed.notify_all()

    def _fits(self, wanted: dict[str, float]) -> bool:
        # Sums of 0.75 and 0.25 are exact; others may be off by a rounding error.
        return all(self.free[kind] - amount > -1e-9 for kind, amount in wanted.items())

    def _add(self, amounts: dict[str, float], sign: int) -> None:
        for kind, amount in amounts.items():
            self.free[kind] += sign * amount


def start(service: type, *args: Any) -> Any:
    """Start one of these classes as an actor that takes no CPU from the work it serves."""
    return ray.remote(service).options(num_cpus=0).remote(*args)  # type: ignore[attr-defined]


@contextmanager
def inside(gate: Any, holder: str, cpus: float, gpus: float) -> Iterator[None]:
    """Hold CPUs and GPUs of a gate for as long as the block runs."""
    ray.get(gate.enter.remote(holder, cpus, gpus))
    try:
        yield
    finally:
        ray.get(gate.leave.remote(holder))


class Board:
    """Collects notices of all runs until the driver fetches them."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def post(self, notice: Notice) -> None:
        """Add a notice; a later one of the same stage takes the place of one that was not fetched yet."""
        last = self.notices[-1] if self.notices else None
        if last and (last.run, last.round_index, last.stage) == (notice.run, notice.round_index, notice.stage):
            self.notices.pop()
        self.notices.append(notice)

    def fetch(self) -> list[Notice]:
        """Take all notices away, oldest first."""
        notices, self.notices = self.notices, []
        return notices


class BoardProgress:
    """A `Progress` that posts to a board, at most twice a second within a stage; pickles into workers."""

    def __init__(self, board: Any, run: str, round_index: int = 0) -> None:
        self.board = board
        self.run = run
        self.round_index = round_index
        self.last = 0.0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """See `raylab.progress.Progress`."""
        now = time.monotonic()
        if 0 < done < total and now - self.last < 0.5:
            return
        self.last = now
        self.board.post.remote(Notice(self.run, self.round_index, stage, done, total, note))
