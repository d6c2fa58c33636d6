"""SIGKILL between any two operations on files of a run, then the same again: what was never killed."""

from __future__ import annotations

import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raylab.backends.local import LocalBackend
from raylab.config import BudgetConfig, RunConfig, StudyConfig
from raylab.disk import PARTIAL
from raylab.files import Folder
from raylab.loop import Loop
from raylab.runs import ResolvedRun, RunStore, resolve_study
from raylab.runs.inputs import read_inputs
from raylab.runs.studies import begin_study
from raylab.runs.verify import verify_study
from tests.configs import resolved, tiny_run

pytestmark = pytest.mark.fault

STEPS = 5
"""Select and train of two rounds, and a scoring between them."""
_CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.rmdir", "shutil.rmtree"}


def config_of(storage: Path) -> RunConfig:
    config = tiny_run(str(storage), budget=BudgetConfig(initial=12, rounds=(12,)))
    return config.model_copy(update={"training": config.training.model_copy(update={"iterations": 2})})


def run_of(storage: Path) -> tuple[RunStore, ResolvedRun]:
    run = resolved(config_of(storage))
    return RunStore(Folder(str(storage)), run), run


class Begun:
    """A progress that writes down, outside of the storage root, which steps were begun."""

    def __init__(self, file: Path) -> None:
        self.file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.round_index = 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if done == 0 and stage in ("select", "train", "score"):
            os.write(self.file, f"{self.round_index} {stage}\n".encode())


def go_on(storage: Path, begun: Path) -> None:
    config = config_of(storage)
    store = Folder(str(storage))
    study = resolve_study(StudyConfig(name="killed", run=config, strategies=("entropy+spatial",)), read_inputs(config))
    begin_study(store, study)
    (run,) = study.runs
    Loop(run, store, LocalBackend(run, store), Begun(begun)).run()


def killed_before(operation: int, storage: Path, begun: Path) -> bool:
    """Go on in a child that dies before its n-th operation that changes a file below the root; False where it finished.

    A fork of this process has all modules, so that the kill lies in what touches files.
    """
    child = os.fork()
    if child == 0:
        try:
            _die_before(operation, f"{storage}/")
            go_on(storage, begun)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def _die_before(operation: int, root: str) -> None:
    left = operation

    def count(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in _CHANGES or not str(args[0]).startswith(root):
            return
        if event == "open" and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def result(storage: Path) -> list[Any]:
    """What a finished run says; every file that it committed is compared with its hash before."""
    assert not verify_study(Folder(str(storage)), "killed").damages
    store, _ = run_of(storage)
    assert store.finished()
    trained = [store.round(t).record("train") or {} for t in range(2)]
    return [store.ledger(2).to_pylist(), *((one["losses"], one["confusion"]) for one in trained)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    go_on(folder / "root", folder / "begun")
    return result(folder / "root")


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_between_operations_on_files(
    undisturbed: list[Any], tmp_path: Path, kills: int, record_fault: Callable[..., None]
) -> None:
    rng, killed, roots, again = random.Random(kills), 0, 0, 0
    while killed < kills:
        roots += 1
        root, begun = tmp_path / f"root-{roots}", tmp_path / f"begun-{roots}"
        while killed < kills and killed_before(rng.randint(1, 40), root, begun):
            killed += 1
        go_on(root, begun)
        assert result(root) == undisturbed
        assert not [path for path in root.rglob(f"{PARTIAL}*")]
        again += len(begun.read_text().splitlines()) - STEPS
    fault = "SIGKILL before a random operation on a file (open, rename, link, remove)"
    seen = {"studies equal": roots, "studies unequal": 0, "files half written left": 0}
    record_fault(fault, "whole steps; the same in the end", {"kills": killed, "studies": roots}, seen, again)
