"""What is held never exceeds what there is, first come first served, and a dead holder's share comes back."""

from __future__ import annotations

import time
from typing import Any

import pytest

from raylab.backends.resource_pool import ResourcePool, inside, start
from raylab.study.events import CollectedProgress, ProgressCollector

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("free_resources")]


def _waits(ray: Any, reference: Any) -> bool:
    return not ray.wait([reference], timeout=0.5)[0]


def test_waits_until_what_is_asked_for_is_free(ray_session: Any) -> None:
    resource_pool = start(ResourcePool, 2.0, 0.0)
    with inside(resource_pool, "a", 1.25, 0):
        second = resource_pool.enter.remote("b", 1.0, 0)
        assert _waits(ray_session, second)
    ray_session.get(second, timeout=10)


def test_a_small_request_does_not_overtake_a_large_one(ray_session: Any) -> None:
    resource_pool = start(ResourcePool, 2.0, 0.0)
    with inside(resource_pool, "a", 1.0, 0):
        large = resource_pool.enter.remote("large", 2.0, 0)
        time.sleep(0.2)
        small = resource_pool.enter.remote("small", 0.5, 0)
        assert _waits(ray_session, small)
    ray_session.get(large, timeout=10)
    ray_session.get(resource_pool.leave.remote("large"))
    ray_session.get(small, timeout=10)


def test_a_holder_that_starts_again_gives_back_what_it_held(ray_session: Any) -> None:
    resource_pool = start(ResourcePool, 1.0, 0.0)
    ray_session.get(resource_pool.enter.remote("a", 1.0, 0))
    ray_session.get(resource_pool.enter.remote("a", 1.0, 0), timeout=10)


def test_board_keeps_the_latest_note_of_a_stage(ray_session: Any) -> None:
    collector = start(ProgressCollector)
    progress = CollectedProgress(collector, "run")
    progress("train", 0, 10)
    progress("train", 10, 10, "loss 1.0")
    progress("committed", 1, 1)
    events = ray_session.get(collector.fetch.remote())
    assert [(n.stage, n.done) for n in events] == [("train", 10), ("committed", 1)]
    assert ray_session.get(collector.fetch.remote()) == []
