"""Some runs of a study fail: the others finish, the failures are listed, and the same command goes on after the repair.

The runs fail in a plugin's architecture, in those seeds that a file names, as long as the file is there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raylab.config import BudgetConfig, ComputeConfig, ModelConfig, StudyConfig, TrainingConfig
from raylab.files import Folder
from raylab.runs import RunStore
from tests.configs import resolved_runs, tiny_run
from tests.faults.processes import left_of, marked

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(1800)]

PLUGIN = """
import os
import time
from pathlib import Path

import torch
from raylab.models import register_model
from raylab.models.deeplab import DeepLabV3Plus


def failing(config, n_classes):
    model = DeepLabV3Plus(config, n_classes)
    file = Path(os.environ["RAYLAB_TEST_FAILURES"])
    if file.exists() and str(torch.initial_seed()) in file.read_text().split():
        {failure}
    return model


register_model("{name}", failing)
"""
DIVERGES = "next(model.parameters()).data.fill_(float('nan'))"
LEAKS = """blocks = []
        for _ in range(64):
            blocks.append(torch.ones(2**26))  # 256 MB
            time.sleep(0.1)"""
MEMORY = 5 * 2**30
"""What a study may use before Ray kills one of its processes; its own Ray takes about 3 GB."""
_PROGRAM = """
import sys
from raylab.errors import exit_cleanly
from raylab.launch import launch
from tests.faults.test_failing_runs import study
with exit_cleanly():
    launch([study(sys.argv[1], sys.argv[2], int(sys.argv[3]))])
"""


def study(storage: Path | str, backend: Any, seeds: int) -> StudyConfig:
    """One training in each of some runs that share nothing."""
    run = tiny_run(
        str(storage),
        plugins=(f"{storage}.py",),
        model=ModelConfig(architecture=Path(storage).name, weights="random", channels=16),
        training=TrainingConfig(iterations=1, batch_size=2, crop=64, learning_rate=0.05, crop_tries=1),
        budget=BudgetConfig(initial=12, rounds=()),
        compute=ComputeConfig(backend=backend, workers=0),
    )
    return StudyConfig(name="many", run=run, strategies=("random",), seeds=tuple(range(seeds)))


class Runs:
    """A study whose runs of some seeds fail."""

    def __init__(self, storage: Path, backend: str, seeds: int, failure: str, failing: set[int]) -> None:
        self.storage, self.backend, self.seeds = storage, backend, seeds
        self.failures = storage.with_suffix(".failures")
        self.failures.write_text(" ".join(map(str, failing)))
        storage.with_suffix(".py").write_text(PLUGIN.format(failure=failure, name=storage.name))

    def run(self, **env: str) -> subprocess.CompletedProcess[str]:
        """Begin the study or go on with it."""
        return subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(self.storage), self.backend, str(self.seeds)],
            env=marked(self.storage) | {"RAYLAB_TEST_FAILURES": str(self.failures)} | env,
            capture_output=True,
            text=True,
            check=False,
        )

    def repair(self) -> None:
        self.failures.unlink()

    def finished(self) -> set[int]:
        """Seeds of the runs that are."""
        os.environ["RAYLAB_TEST_FAILURES"] = str(self.failures)
        runs = resolved_runs(study(self.storage, self.backend, self.seeds))
        return {run.config.seed for run in runs if RunStore(Folder(str(self.storage)), run).finished()}


@pytest.mark.parametrize("backend", ["local", "ray"])
def test_two_of_twenty_runs(backend: str, tmp_path: Path, record_fault: Callable[..., None]) -> None:
    runs = Runs(tmp_path / f"root_{backend}", backend, 20, DIVERGES, {3, 11})
    first = runs.run()
    assert first.returncode == 1, first.stderr
    *failures, last = first.stderr.splitlines()
    assert [line.partition(": the")[0] for line in failures] == [
        f"error: shared round 0 N16 seed {seed}" for seed in (3, 11)
    ]
    assert all("lower training.learning_rate" in line for line in failures)
    assert last == "error: 18 of 20 runs are finished; the same command goes on with the others"
    assert runs.finished() == set(range(20)) - {3, 11}

    runs.repair()
    second = runs.run()
    assert second.returncode == 0, second.stderr
    assert len(re.findall("committed +mIoU", second.stdout)) == 2, second.stdout
    assert runs.finished() == set(range(20))
    promise = "the others finish; listed with reasons, status 1; the same command goes on with them after the repair"
    seen = {"finished at first": 18, "listed": 2, "in the end": 20}
    record_fault("2 of 20 runs fail", promise, {f"studies on {backend}": 1}, seen)


def test_killed_for_memory(tmp_path: Path, record_fault: Callable[..., None]) -> None:
    runs = Runs(tmp_path / "root_memory", "ray", 3, LEAKS, {1})
    lines = Path("/proc/meminfo").read_text().splitlines()
    kilobytes = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    threshold = 1 - (kilobytes["MemAvailable"] - MEMORY / 1024) / kilobytes["MemTotal"]
    assert threshold < 1, "too little memory is free for this test"
    first = runs.run(RAY_memory_usage_threshold=f"{threshold:.3f}", RAY_memory_monitor_refresh_ms="100")
    assert first.returncode == 1, first.stderr
    assert "Traceback" not in first.stderr
    errors = [line for line in first.stderr.splitlines() if line.startswith("error: ")]
    reason, last = errors
    assert reason.startswith(
        "error: shared round 0 N16 seed 1: a process of it was killed because the machine has no mo"
    )
    assert "lower concurrent_runs" in reason
    assert last == "error: 2 of 3 runs are finished; the same command goes on with the others"
    assert left_of(runs.storage) == []

    runs.repair()
    second = runs.run()
    assert second.returncode == 0, second.stderr
    assert runs.finished() == {0, 1, 2}
    promise = "one line names it and the way out, status 1; the others finish; the same command goes on with it"
    record_fault("Ray kills a run for memory", promise, {"runs of three": 1}, {"finished at first": 2, "in the end": 3})
