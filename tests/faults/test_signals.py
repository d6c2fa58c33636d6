"""SIGINT and SIGTERM while a study runs, and SIGKILL of its driver: told, resumable, and nothing left behind."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raylab.files import Folder
from raylab.runs import RoundStore, RunStore, stored_study
from tests.faults.processes import left_of, marked

pytestmark = pytest.mark.fault
STRATEGIES = ("random", "entropy+spatial")
SHARED, BOUND = "shared round 0 N16 seed 0        ", "fully supervised                 "
PHASES = {
    "round 0": (SHARED, "round 0  "),
    "the bound on all masks": (BOUND, "round 0  "),
    "later rounds": ("entropy+spatial N16 seed 0       ", "round 1  "),
}
"""How a line of the console begins in each."""


@dataclass(frozen=True)
class Case:
    """Where a signal comes; what has 0 seconds of grace is given up."""

    backend: str
    number: signal.Signals
    phase: str
    stage: str
    grace: float = 60

    @property
    def line(self) -> str:
        return "".join(PHASES[self.phase]) + self.stage

    def __str__(self) -> str:
        return f"{self.backend}-{self.number.name}-{self.phase}-{self.stage}-{self.grace}"


INT, TERM = signal.SIGINT, signal.SIGTERM
OFTEN = [
    Case("local", INT, "round 0", "train"),
    Case("local", TERM, "round 0", "score"),
    Case("local", TERM, "later rounds", "train", 0),
]
"""Those of the default run."""
SELDOM = [
    *(
        Case("local", number, phase, stage)
        for phase, stages in (
            ("round 0", ("select", "train", "score")),
            ("the bound on all masks", ("train",)),
            ("later rounds", ("select", "train", "score")),
        )
        for stage in stages
        for number in (INT, TERM)
    ),
    Case("local", INT, "round 0", "train", 0),
    Case("local", INT, "the bound on all masks", "train", 0),
    Case("ray", INT, "round 0", "train"),
    Case("ray", TERM, "round 0", "score"),
    Case("ray", INT, "the bound on all masks", "train"),
    Case("ray", INT, "later rounds", "score"),
    Case("ray", TERM, "later rounds", "train", 0),
]
CASES = [*OFTEN, *(pytest.param(case, marks=pytest.mark.slow) for case in SELDOM if case not in OFTEN)]


def command(storage: Path, backend: str, grace: float) -> list[str]:
    options = {
        "name": "s",
        "run.storage": storage,
        "run.compute.backend": backend,
        "run.compute.grace": grace,
        "run.training.iterations": 12,
        "run.training.batch-size": 2,
        "run.training.crop": 64,
        "run.model.weights": "random",
        "run.model.channels": 16,
        "run.data.synthetic.train-images": 8,
        "run.data.synthetic.val-images": 2,
        "run.data.synthetic.height": 64,
        "run.data.synthetic.width": 96,
        "run.regions.size": 16,
        "run.budget.initial": 12,
    }
    given = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    lists = ["--run.budget.rounds", "12", "12", "--strategies", *STRATEGIES]
    return [sys.executable, "-m", "raylab", "study", *given, *lists, "--supervised"]


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
    """What a study gave: picks, losses and confusion of every round and of the bound, and MLflow's statuses."""
    store = Folder(str(storage))
    study = stored_study(store, "s")
    runs = {run.strategy: RunStore(store, run) for run in study.runs}
    bound = RoundStore(store, study.supervised_folder).record("train") or {}
    found: dict[str, Any] = {"bound": (bound["losses"], bound["confusion"])}
    for name, run in runs.items():
        trained = [run.round(t).record("train") or {} for t in range(3)]
        found[name] = [run.ledger(3).to_pylist(), *((one["losses"], one["confusion"]) for one in trained)]
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


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_first_signal(
    case: Case, tmp_path: Path, undisturbed: dict[str, Any], record_fault: Callable[..., None]
) -> None:
    process = start(tmp_path, case.backend, case.grace)
    wait_for(process, case.line)
    process.send_signal(case.number)
    _, err = process.communicate()
    assert process.returncode == 128 + case.number, err
    first, *_, state, way_on = err.splitlines()
    assert first.startswith(f"{case.number.name}: stopping after what is committed within {case.grace} s")
    assert state.startswith(f"Stopped by {case.number.name}: ")
    assert "of 2 runs are finished" in state
    assert way_on.startswith("Go on with: ")
    assert statuses(tmp_path) <= {"KILLED", "FINISHED"}
    assert "KILLED" in statuses(tmp_path)
    assert left_of(tmp_path) == []
    assert go_on(tmp_path, case.backend) == undisturbed
    record_fault(
        f"SIGINT or SIGTERM in {case.phase}",
        "stops after a commit, 130 or 143; says what is done and how to go on; KILLED in MLflow; no process after 10 s",
        {f"{case.number.name} at {case.stage} on {case.backend}": 1},
        {"same end": 1},
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
