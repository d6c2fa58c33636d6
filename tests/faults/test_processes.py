"""SIGKILL of Ray's processes below a study: they are started again, and the study goes on to the same end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.conftest import UndisturbedStudy
from tests.faults.processes import below, left_of
from tests.faults.two_strategies import STEPS, begun, busy, outcome, said, start, statuses

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(1800)]

TITLES = {
    "training worker": ("RayTrainWorker", 3.0),
    "scorer": ("MapWorker(MapBatches(_Scorer", 3.0),
    "selector": ("SelectorActor", 0.2),
    "process that drives a run": ("ImplicitFunc", 3.0),
}
"""What Ray calls them, and seconds that one is there at least."""


def kill_two(process: subprocess.Popen[str], title: str, seconds: float) -> int:
    """Kill the first two processes of a title below a driver, within some seconds of their start; gives how many."""
    killed: set[int] = set()
    while process.poll() is None and len(killed) < 2:
        for pid in set(below(process.pid, title)) - killed:
            time.sleep(random.uniform(0, seconds))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        time.sleep(0.02)
    return len(killed)


@pytest.mark.parametrize("kind", TITLES)
def test_killed(
    kind: str, tmp_path: Path, undisturbed_study: UndisturbedStudy, record_fault: Callable[..., None]
) -> None:
    storage = tmp_path / "root"
    while (kills := kill_two(process := start(storage, 1), *TITLES[kind])) == 0 and busy(storage):
        pass
    assert process.wait() == 0, said(storage)
    assert kills, said(storage)
    assert "Traceback" not in said(storage)
    assert outcome(storage) == undisturbed_study(1)
    assert statuses(storage) == ["FINISHED"] * 3
    assert left_of(storage) == []
    fault = f"SIGKILL of a {kind}, with the driver alive"
    promise = "started again; the study goes on by itself to the same end"
    record_fault(fault, promise, {"kills": kills}, {"same end": 1}, begun(storage) - STEPS)
