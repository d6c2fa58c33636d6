"""Studies without Ray: nothing of it is imported, and every way to end leaves what was committed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from raylab.backends.local import LocalBackend
from raylab.config import BudgetConfig, ComputeConfig, StudyConfig
from raylab.files import Folder
from raylab.runs import RunStore
from raylab.study import RunFailedError, run_study
from tests.configs import resolved_runs, tiny_run
from tests.studies import Finished, break_last_round
from tests.tracking.mlflow_runs import runs_of

_PROGRAM = """
import os, sys
from raylab.cli import main
from raylab.files import Folder

write = Folder.write_bytes

def write_and_end(self, path, data, **options):
    write(self, path, data, **options)
    if path.endswith("round-01/training-0/state.pt"):
        os.kill(os.getpid(), int(sys.argv[2]))

if len(sys.argv) > 2:
    Folder.write_bytes = write_and_end
main(["study", "--config", sys.argv[1]])
print("ray" in sys.modules)
"""
"""A study; with a signal, a process that sends it to itself in the second of two trainings, after a checkpoint."""


def short_study(storage: Path) -> StudyConfig:
    """Round 0, its scores, a selection and one more training: every stage once after the draw."""
    budget, compute = BudgetConfig(initial=12, rounds=(12,)), ComputeConfig(backend="local")
    run = tiny_run(str(storage), budget=budget, compute=compute)
    return StudyConfig(name="short", run=run, strategies=("entropy+spatial",))


def run_program(config: StudyConfig, tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [sys.executable, "-c", _PROGRAM, str(file), *args]
    return subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)


def store_of(config: StudyConfig) -> RunStore:
    """Of the study's only run."""
    (run,) = resolved_runs(config)
    return RunStore(Folder(config.run.storage), run)


def records(store: RunStore) -> list[object]:
    """What decides a finished run: its picks, and what each round's training gave."""
    trained = [store.round(t).record("train") or {} for t in range(2)]
    return [store.ledger(2).to_pylist(), *((one["losses"], one["confusion"]) for one in trained)]


@pytest.mark.fault
def test_killed_in_a_training_and_started_again_gives_what_was_never_killed(tmp_path: Path) -> None:
    killed, undisturbed = short_study(tmp_path / "killed"), short_study(tmp_path / "undisturbed")
    assert run_program(killed, tmp_path, str(int(signal.SIGKILL))).returncode == -signal.SIGKILL
    assert store_of(killed).done_rounds() == 1

    again = run_program(killed, tmp_path)
    assert again.returncode == 0, again.stderr
    assert "round 0  train" not in again.stdout
    assert again.stdout.endswith("False\n"), "Ray was imported"
    run_study(undisturbed, say=lambda _: None)
    assert records(store_of(killed)) == records(store_of(undisturbed))


def test_a_failing_run_stops_no_other_and_is_listed_at_the_end(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.config.run.storage, tmp_path / "copy")
    config = finished.at(tmp_path / "copy")
    break_last_round(config)
    with pytest.raises(RunFailedError, match=r"entropy\+spatial N16 seed 0: .*ledger\.parquet cannot be written"):
        run_study(config, say=lambda _: None)
    random, *_ = resolved_runs(config)
    assert RunStore(Folder(config.run.storage), random).finished()


def test_a_bug_is_raised_as_it_is_and_no_run_stays_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def score(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(LocalBackend, "score", score)
    config = short_study(tmp_path).model_copy(update={"seeds": (0, 1)})
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run_study(config, say=lambda _: None)
    runs = runs_of(f"sqlite:///{tmp_path}/mlflow.db", "raylab")
    statuses = {run.label: runs[run.label].info.status for run in resolved_runs(config)}
    assert list(statuses.values()) == ["FAILED", "KILLED"]
