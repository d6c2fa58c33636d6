"""What is held never exceeds what there is, first come first served, and a dead holder's share comes back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from raylab.backends.resource_pool import ResourcePool, inside, service
from raylab.study.collector import CollectedProgress, ProgressCollector


async def begun(call: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A call that went as far as it gets without another."""
    task = asyncio.ensure_future(call)
    for _ in range(10):
        await asyncio.sleep(0)
    return task


def test_waits_until_what_is_asked_for_is_free() -> None:
    async def scene() -> None:
        pool = ResourcePool(2.0, 0.0)
        await pool.enter("a", 1.25, 0)
        second = await begun(pool.enter("b", 1.0, 0))
        assert not second.done()
        await pool.leave("a")
        await second

    asyncio.run(scene())


def test_a_small_request_does_not_overtake_a_large_one() -> None:
    async def scene() -> None:
        pool = ResourcePool(2.0, 0.0)
        await pool.enter("a", 1.0, 0)
        large, small = await begun(pool.enter("large", 2.0, 0)), await begun(pool.enter("small", 0.5, 0))
        assert not large.done()
        assert not small.done()
        await pool.leave("a")
        await large
        assert not small.done()
        await pool.leave("large")
        await small

    asyncio.run(scene())


def test_a_holder_that_starts_again_gives_back_what_it_held() -> None:
    async def scene() -> None:
        pool = ResourcePool(1.0, 0.0)
        await pool.enter("a", 1.0, 0)
        assert (await begun(pool.enter("a", 1.0, 0))).done()

    asyncio.run(scene())


@pytest.mark.ray
def test_services_serve_until_the_block_ends_however_it_ends(ray_session: Any) -> None:
    with (
        suppress(ZeroDivisionError),
        service(ResourcePool, 1.0, 0.0) as pool,
        service(ProgressCollector) as collector,
    ):
        with inside(pool, "a", 1.0, 0):
            progress = CollectedProgress(collector, "run")
            progress("train", 0, 10)
            progress("train", 10, 10, "loss 1.0")
            progress("committed", 1, 1)
        events = ray_session.get(collector.fetch.remote())
        # The latest note of a stage replaces those before it that nobody fetched.
        assert [(event.stage, event.done) for event in events] == [("train", 10), ("committed", 1)]
        assert ray_session.get(collector.fetch.remote()) == []
        raise ZeroDivisionError

    def ask_for_long(call: Callable[[], Any]) -> None:
        for _ in range(600):  # an actor is not killed at once
            ray_session.get(call())
            time.sleep(0.05)

    for call in (lambda: pool.leave.remote("a"), collector.fetch.remote):
        with pytest.raises(ray_session.exceptions.RayActorError):
            ask_for_long(call)


def test_a_services_process_imports_nothing_heavy() -> None:
    code = (
        "import sys, raylab.backends.resource_pool, raylab.study.collector;"
        "print(*{'torch', 'mlflow', 'pandas', 'raylab.files', 'raylab.study.run'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
