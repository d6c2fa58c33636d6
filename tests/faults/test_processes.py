"""SIGKILL of one of Ray's processes below a study: it is started again, and the study goes on to the same end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raylab.config import ComputeConfig, StudyConfig
from raylab.study import run_study
from tests.faults.test_kill import ancestors, run_of, short_run, start

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(900)]


def outcome(storage: Path) -> list[Any]:
    _, store = run_of(storage)
    trained = [store.round(t).record("train") or {} for t in range(2)]
    return [store.ledger(2).to_pylist(), *((one["losses"], one["confusion"]) for one in trained)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The same run in one process, where nothing happens to it."""
    storage = tmp_path_factory.mktemp("undisturbed")
    run = short_run(str(storage)).model_copy(update={"compute": ComputeConfig(backend="local")})
    run_study(StudyConfig(name="kill", run=run, strategies=("entropy+spatial",)), say=lambda _: None)
    return outcome(storage)


def below(driver: int, name: str) -> list[int]:
    """Processes of a title that a driver's Ray started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "cmdline").read_text().startswith(f"ray::{name}") and driver in ancestors(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill_one(storage: Path, name: str, workers: int) -> int:
    """Start a run, kill the first process of a title, and wait for the run's exit status."""
    process = start(storage, workers)
    deadline = time.monotonic() + 400
    while not (found := below(process.pid, name)):
        assert process.poll() is None, f"no process {name} was seen"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(found[0], signal.SIGKILL)
    return process.wait(timeout=400)


def test_a_training_worker(expected: list[Any], tmp_path: Path, record_fault: Callable[..., None]) -> None:
    assert kill_one(tmp_path, "RayTrainWorker", workers=1) == 0
    assert outcome(tmp_path) == expected
    fault = "SIGKILL of a training worker, with the driver alive"
    record_fault(fault, "started again; the study goes on by itself to the same end", {"kills": 1}, {"same end": 1}, 1)
