"""A small study of two strategies whose driver is a process of its own, on Ray or in that process alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from raylab.config import BudgetConfig, ComputeConfig, StudyConfig
from raylab.files import Folder
from raylab.runs import RunStore
from tests.configs import resolved_runs, tiny_run
from tests.faults.processes import marked

STEPS = 7
"""A draw, a training and a scoring that are shared; a selection and a training of each strategy."""
_BEGUN = re.compile(r"round \d+  (?:select|train +0/\d+|score +0/\d+)\n")
_BUSY = "Ray cannot start: The current node timed out during startup"
_PROGRAM = """
import sys
from raylab.errors import exit_cleanly
from raylab.launch import launch
from tests.faults.two_strategies import study
with exit_cleanly():
    launch([study(sys.argv[1], int(sys.argv[2]), sys.argv[3])])
"""


def study(storage: Path | str, workers: int = 0, backend: Any = "ray", takeover: float = 60) -> StudyConfig:
    """Both share round 0 and its scores; each has a selection and a training more."""
    compute = ComputeConfig(backend=backend, workers=workers, takeover=takeover)
    run = tiny_run(str(storage), budget=BudgetConfig(initial=12, rounds=(12,)), compute=compute)
    return StudyConfig(name="two", run=run, strategies=("random", "entropy+spatial"))


def start(storage: Path, workers: int = 0, backend: str = "ray", **env: str) -> subprocess.Popen[str]:
    """Begin the study or go on with it; what it says is added to a file beside its root."""
    with open(_said(storage), "a", encoding="utf-8") as file:
        command = [sys.executable, "-c", _PROGRAM, str(storage), str(workers), backend]
        return subprocess.Popen(command, stdout=file, stderr=file, text=True, env=marked(storage) | env)


def finish(storage: Path, workers: int = 0, backend: str = "ray") -> None:
    """Go on with the study to its end."""
    process = start(storage, workers, backend)
    if process.wait() and busy(storage):
        process = start(storage, workers, backend)
    assert process.wait() == 0, said(storage)


def said(storage: Path) -> str:
    """All that the study's drivers have said."""
    return _said(storage).read_text(encoding="utf-8")


def busy(storage: Path) -> bool:
    """Whether the last driver ended since the machine had no time to start Ray within Ray's limit: no one's fault."""
    return _BUSY in "".join(said(storage).splitlines()[-1:])


def begun(storage: Path) -> int:
    """Steps that the study's drivers began, those that they began again among them."""
    return begun_in(said(storage))


def begun_in(text: str) -> int:
    """The same in what a driver said."""
    return len(_BEGUN.findall(text))


def outcome(storage: Path) -> list[Any]:
    """Picks of both runs; losses and confusion matrices of their rounds."""
    return outcome_of(study(storage))


def outcome_of(config: StudyConfig) -> list[Any]:
    """The same of a study that may lie in a bucket."""
    found: list[Any] = []
    for run in resolved_runs(config):
        store = RunStore(Folder(config.run.storage), run)
        trained = [store.round(t).record("train") or {} for t in range(2)]
        found += [store.ledger(2).to_pylist(), *((one["losses"], one["confusion"]) for one in trained)]
    return found


def statuses(storage: Path) -> list[str]:
    """Of the study's runs in MLflow, its parent's among them."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{storage}/mlflow.db")
    experiment = client.get_experiment_by_name("raylab")
    assert experiment is not None
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


def _said(storage: Path) -> Path:
    return storage.with_suffix(".said")
