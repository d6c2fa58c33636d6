"""SIGKILL of a study's driver on Ray, then the same command again: what was never killed, and nothing left.

The default run has one kill of a study in one process (tests/study/test_local.py); these take minutes.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from raylab.disk import PARTIAL
from tests.faults.conftest import UndisturbedStudy
from tests.faults.processes import below, left_of
from tests.faults.two_strategies import STEPS, begun, busy, finish, outcome, said, start, statuses

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(3600)]

SAME = "the same command goes on to what was never killed"


def committed(storage: Path) -> dict[str, tuple[int, int]]:
    """Which file of each step lies there: one that was written again has another inode and time."""
    files = [*storage.glob("runs/*/round-*/*.json"), *storage.glob("round0/*/*.json")]
    return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def kill(storage: Path, workers: int) -> bool:
    """Go on with a study and kill its driver at a random time, unless it has ended; gives whether it was killed."""
    before = committed(storage)
    process = start(storage, workers)
    # A time by what was said: how busy the machine is does not decide which part of a study is met.
    lines, seconds = len(said(storage).splitlines()) + random.randint(0, 8), random.uniform(0, 5)
    while process.poll() is None and len(said(storage).splitlines()) < lines:
        time.sleep(0.05)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.wait()
    assert left_of(storage) == []
    after = committed(storage)
    assert {path: after.get(path) for path in before} == before, "a step that was committed was done again"
    print(f"{process.returncode} at {said(storage).splitlines()[-1:]}, {len(after)} steps committed", flush=True)
    assert process.returncode in (0, -9) or busy(storage), said(storage)
    return process.returncode == -9


@pytest.mark.parametrize(("workers", "kills"), [(0, 7), (1, 7), (2, 6)])
def test_killed_at_random_times(
    workers: int,
    kills: int,
    tmp_path: Path,
    undisturbed_study: UndisturbedStudy,
    record_fault: Callable[..., None],
) -> None:
    expected = undisturbed_study(workers)
    roots, done = [tmp_path / "root-0"], 0
    while done < kills:
        if kill(roots[-1], workers):
            done += 1
        elif not busy(roots[-1]):  # it came to its end before its time
            roots.append(tmp_path / f"root-{len(roots)}")
    finish(roots[-1], workers)
    for storage in roots:
        assert outcome(storage) == expected
        assert statuses(storage) == ["FINISHED"] * 3, "missing or double in MLflow"
        assert not list(storage.rglob(f"{PARTIAL}*"))
    again = sum(begun(storage) - STEPS for storage in roots)
    seen = {"studies equal": len(roots), "processes or files left": 0, "committed steps done again": 0}
    fault = "SIGKILL of the driver of a study on Ray, at random times"
    record_fault(fault, SAME, {"kills": kills, f"of them with {workers} workers": kills}, seen, again)


def test_killed_in_every_stage(
    tmp_path: Path, undisturbed_study: UndisturbedStudy, record_fault: Callable[..., None]
) -> None:
    storage = tmp_path / "root"
    checkpoint = "runs/*/round-01/training-0/*/checkpoint_*"  # only Ray Train's workers leave some within a training
    for reached in (
        lambda driver: below(driver, "MapWorker(MapBatches(_Scorer"),
        lambda driver: below(driver, "SelectorActor"),
        lambda _: list(storage.glob(checkpoint)),
    ):
        process = start(storage, 1)
        while not reached(process.pid):
            assert process.poll() is None, said(storage)
            time.sleep(0.02)
        process.kill()
        process.wait()
        assert left_of(storage) == []
    finish(storage, 1)
    assert outcome(storage) == undisturbed_study(1)
    fault = "SIGKILL of the driver in a scoring, a selection and a training"
    record_fault(fault, SAME, {"kills": 3}, {"studies equal": 1}, begun(storage) - STEPS)
