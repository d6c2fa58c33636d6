"""An actor that the runs of a study share: which of them hold CPUs and GPUs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray


class ResourcePool:
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


@contextmanager
def service(kind: type, *args: Any) -> Iterator[Any]:
    """An actor of a class that takes no CPU from the work it serves; it ends with the block.

    The module of the class must be cheap to import: the actor's process imports it.

    Args:
        kind: the class.
        args: of its constructor.
    """
    actor: Any = ray.remote(kind).options(num_cpus=0).remote(*args)  # type: ignore[attr-defined]
    try:
        yield actor
    finally:
        ray.kill(actor)


@contextmanager
def inside(resource_pool: Any, holder: str, cpus: float, gpus: float) -> Iterator[None]:
    """Hold CPUs and GPUs of a resource pool for as long as the block runs."""
    ray.get(resource_pool.enter.remote(holder, cpus, gpus))
    try:
        yield
    finally:
        ray.get(resource_pool.leave.remote(holder))
