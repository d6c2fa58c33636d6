"""SIGINT and SIGTERM while a study runs, and SIGKILL of its driver: told, resumable, and nothing left behind."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raylab.files import Folder
from raylab.runs import RunStore, stored_study
from tests.faults.processes import left_of, marked

pytestmark = pytest.mark.fault
STRATEGIES = ("random", "entropy+spatial")
CASES = [
    pytest.param(backend, number, phase, grace, marks=[] if backend == "local" else [pytest.mark.slow])
    for backend in ("local", "ray")
    for number, phase, grace in (
        (signal.SIGINT, "all strategies N16 seed 0        round 0  train", 60),
        (signal.SIGTERM, "round 0  score", 60),
        (signal.SIGTERM, "round 1  train", 0),
    )
]


def command(storage: Path, backend: str, grace: float) -> list[str]:
    options = {
        "name": "s",
        "run.storage": storage,
        "run.compute.backend": backend,
        "run.compute.grace": grace,
        "run.training.iterations": 12,
        "run.data.synthetic.train-images": 8,
        "run.data.synthetic.val-images": 2,
        "run.budget.initial": 20,
        "run.budget.rounds": 20,
    }
    given = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    return [sys.executable, "-m", "raylab", "study", *given, "--strategies", *STRATEGIES]


def start(storage: Path, backend: str, grace: float = 60) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command(storage, backend, grace), stdout=pipe, stderr=pipe, text=True, env=marked(storage))


def wait_for(process: subprocess.Popen[str], phase: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if phase in line:
            return
    raise AssertionError(f"{phase!r} was never said: {process.stderr.read() if process.stderr else ''}")


def outcome(storage: Path) -> dict[str, Any]:
    """What a study gave: picks, losses and confusion of every round, and MLflow's statuses."""
    store = Folder(str(storage))
    runs = {run.strategy: RunStore(store, run) for run in stored_study(store, "s").runs}
    found: dict[str, Any] = {}
    for name, run in runs.items():
        trained = [run.round(t).record("train") or {} for t in range(2)]
        found[name] = [run.ledger(2).to_pylist(), *((one["losses"], one["confusion"]) for one in trained)]
    return {**found, "mlflow": statuses(storage)}


def statuses(storage: Path) -> set[str]:
    with sqlite3.connect(storage / "mlflow.db") as database:
        return {status for (status,) in database.execute("select status from runs")}


def go_on(storage: Path, backend: str) -> dict[str, Any]:
    again = start(storage, backend)
    out, err = again.communicate()
    assert again.returncode == 0, out + err
    return outcome(storage)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return go_on(tmp_path_factory.mktemp("undisturbed"), "local")


@pytest.mark.parametrize(("backend", "number", "phase", "grace"), CASES)
def test_the_first_signal(
    backend: str,
    number: signal.Signals,
    phase: str,
    grace: float,
    tmp_path: Path,
    undisturbed: dict[str, Any],
    record_fault: Callable[..., None],
) -> None:
    process = start(tmp_path, backend, grace)
    wait_for(process, phase)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 128 + number, err
    first, *_, state, way_on = err.splitlines()
    assert first.startswith(f"{number.name}: stopping after what is committed within {grace} s")
    assert state.startswith(f"Stopped by {number.name}: ")
    assert "of 2 runs are finished" in state
    assert way_on.startswith("Go on with: ")
    assert statuses(tmp_path) <= {"KILLED", "FINISHED"}
    assert left_of(tmp_path) == []
    assert go_on(tmp_path, backend) == undisturbed
    done = {f"{number.name} on {backend}": 1}
    record_fault(
        "SIGINT or SIGTERM", "stops after a commit, 130 or 143; KILLED in MLflow; goes on", done, {"same end": 1}
    )


@pytest.mark.parametrize("backend", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_the_second_signal_stops_at_once(backend: str, tmp_path: Path, record_fault: Callable[..., None]) -> None:
    process = start(tmp_path, backend)
    wait_for(process, "round 0  train")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, ""), first + err
    assert left_of(tmp_path) == []
    record_fault("SIGINT twice", "at once, with status 130 and no traceback", {f"on {backend}": 1}, {"at once": 1})


@pytest.mark.slow
def test_a_killed_driver_leaves_nothing(
    tmp_path: Path, undisturbed: dict[str, Any], record_fault: Callable[..., None]
) -> None:
    process = start(tmp_path, "ray")
    wait_for(process, "round 0  train")
    process.kill()
    process.communicate()
    assert left_of(tmp_path) == []
    assert go_on(tmp_path, "ray") == undisturbed
    record_fault("SIGKILL of the driver", "no process after 10 s; goes on", {"kills": 1}, {"processes left": 0})
