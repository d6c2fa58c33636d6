"""SIGKILL in each stage on Ray, then the same command again: the same regions in the same order as never killed.

The default run has one kill of a study in one process (tests/study/test_local.py); these take minutes.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raylab.config import BudgetConfig, ComputeConfig, RunConfig, StudyConfig
from raylab.files import Folder
from raylab.runs import RunStore
from tests.configs import resolved, resolved_runs, tiny_run

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(900)]

SAME = "the same command goes on to what was never killed"

_PROGRAM = """
import sys
from raylab.config import StudyConfig
from raylab.study import run_study
from tests.faults.test_kill import short_run
run = short_run(sys.argv[1], int(sys.argv[2]))
run_study(StudyConfig(name="kill", run=run, strategies=("entropy+spatial",)))
"""


def short_run(storage: str, workers: int = 0) -> RunConfig:
    """Round 0, its scores, a selection and one more training: every stage once after the draw."""
    return tiny_run(storage, budget=BudgetConfig(initial=12, rounds=(12,)), compute=ComputeConfig(workers=workers))


def start(storage: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _PROGRAM, str(storage), str(workers)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL)


def finish(storage: Path, workers: int) -> None:
    process = start(storage, workers)
    assert process.wait(timeout=400) == 0


def kill_when(storage: Path, workers: int, ready: Callable[[int], bool]) -> None:
    """Start a run and SIGKILL its driver, and with it its whole Ray, as soon as `ready` says so."""
    process = start(storage, workers)
    deadline = time.monotonic() + 400
    while not ready(process.pid):
        assert process.poll() is None, "the run ended before the stage was reached"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def running(name: str, driver: int) -> bool:
    """Whether a process of this title runs below a driver, and not below another Ray of the machine."""
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and name in (entry / "cmdline").read_text()
                and driver in ancestors(int(entry.name))
            ):
                return True
        except OSError:
            continue
    return False


def ancestors(process: int) -> list[int]:
    """The process ids above a process."""
    above = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        above.append(process)
    return above


def run_of(storage: Path) -> tuple[RunConfig, RunStore]:
    run = short_run(str(storage))
    return run, RunStore(Folder(str(storage)), resolved(run))


def stage_reached(stage: str, storage: Path) -> Callable[[int], bool]:
    _, run_store = run_of(storage)
    zeroth, first = (storage / run_store.round(t).prefix for t in (0, 1))
    return {
        "train": lambda _: any((first / "training-0").glob("*/checkpoint_*")),
        "score": lambda driver: (zeroth / "train.json").exists() and running("_Scorer", driver),
        "select": lambda driver: not (first / "select.json").exists() and running("SelectorActor", driver),
    }[stage]


def test_killed_in_every_stage_and_started_again_selects_the_same(
    reference: tuple[Path, float], tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    # Only Ray Train's workers leave checkpoints within a training; they give what training in the run's process gives.
    for stage in ("score", "select", "train"):
        kill_when(tmp_path, 1, stage_reached(stage, tmp_path))
    _, killed = run_of(tmp_path)
    assert killed.done_rounds() < 2
    finish(tmp_path, workers=1)
    _, expected = run_of(reference[0])
    assert killed.ledger(2).equals(expected.ledger(2))
    for t in range(2):
        now, then = killed.round(t).record("train"), expected.round(t).record("train")
        assert now is not None
        assert then is not None
        assert now["losses"] == then["losses"]
        assert now["confusion"] == then["confusion"]
    seen = {"same picks, losses and confusion matrices": 3}
    record_fault(
        "SIGKILL of the driver and its Ray in a training, a scoring and a selection", SAME, {"kills": 3}, seen, 3
    )


_GRID = """
import sys
from raylab.launch import launch
from tests.faults.test_kill import grid
launch([grid(sys.argv[1])], resume="--resume" in sys.argv)
"""


def grid(storage: str) -> StudyConfig:
    """Three strategies and two seeds, each of them a round: six runs."""
    return StudyConfig(
        name="grid", run=short_run(storage), strategies=("random", "entropy", "entropy+spatial"), seeds=(0, 1)
    )


def run_grid(storage: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _GRID, str(storage), *options]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An undisturbed grid, and the seconds it took; the run that is killed in every stage is one of its runs."""
    storage = tmp_path_factory.mktemp("reference")
    start = time.monotonic()
    assert run_grid(storage).wait(timeout=400) == 0
    return storage, time.monotonic() - start


def committed(storage: Path) -> dict[str, tuple[int, int]]:
    """Which file of each step lies there: one that was written again has another inode and time."""
    files = [*storage.glob("runs/*/round-*/*.json"), *storage.glob("round0/*/*.json")]
    return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def test_a_grid_killed_anywhere_and_resumed_is_an_undisturbed_one(
    reference: tuple[Path, float], tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    (undisturbed, whole), killed = reference, tmp_path
    process = run_grid(killed)
    # Anywhere after Ray is up; the number of steps done by then is what the machine made of it.
    moment = random.uniform(0.4, 0.95) * whole
    time.sleep(moment)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = committed(killed)
    print(f"killed after {moment:.1f} of {whole:.1f} s with {len(before)} steps committed")
    assert run_grid(killed, "--resume").wait(timeout=400) == 0

    after = committed(killed)
    assert {path: after[path] for path in before} == before, "a step that was committed was done again"
    for then, now in zip(*(resolved_runs(grid(str(root))) for root in (undisturbed, killed)), strict=True):
        old, new = RunStore(Folder(str(undisturbed)), then), RunStore(Folder(str(killed)), now)
        assert new.finished()
        assert new.ledger(2).equals(old.ledger(2))
        for t in range(2):
            record, expected = new.round(t).record("train"), old.round(t).record("train")
            assert record is not None
            assert expected is not None
            assert (record["miou"], record["confusion"]) == (expected["miou"], expected["confusion"])
    runs = mlflow_runs(killed)
    assert sorted(run.info.status for run in runs) == ["FINISHED"] * (6 + 1)
    seen = {"same picks and mIoU": 1, "runs missing or double in MLflow": 0, "committed steps done again": 0}
    record_fault("SIGKILL of the driver of a grid of six runs, then `--resume`", SAME, {"kills": 1}, seen)


def mlflow_runs(storage: Path) -> list[Any]:
    """The study's runs in MLflow, its parent among them."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{storage}/mlflow.db")
    experiment = client.get_experiment_by_name("raylab")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))
