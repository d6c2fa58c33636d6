"""A run of two rounds in one process, and children that meet a fault in the middle of it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raylab.backends.local import LocalBackend
from raylab.config import BudgetConfig, RunConfig, StudyConfig
from raylab.errors import exit_cleanly
from raylab.files import Folder
from raylab.loop import Loop
from raylab.runs import RunStore, resolve_study
from raylab.runs.inputs import read_inputs
from raylab.runs.studies import begin_study
from raylab.runs.verify import verify_study
from tests.configs import resolved, tiny_run

STEPS = 5
"""Select and train of two rounds, and a scoring between them."""
_CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.rmdir", "shutil.rmtree"}


def config_of(storage: Path) -> RunConfig:
    config = tiny_run(str(storage), budget=BudgetConfig(initial=12, rounds=(12,)))
    return config.model_copy(update={"training": config.training.model_copy(update={"iterations": 2})})


def store_of(storage: Path) -> RunStore:
    return RunStore(Folder(str(storage)), resolved(config_of(storage)))


class Begun:
    """A progress that writes down, outside of the storage root, which steps were begun."""

    def __init__(self, file: Path) -> None:
        self.file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.round_index = 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if done == 0 and stage in ("select", "train", "score"):
            os.write(self.file, f"{self.round_index} {stage}\n".encode())


def go_on(storage: Path, begun: Path) -> None:
    """Begin the study or go on with it, to its end."""
    config = config_of(storage)
    store = Folder(str(storage))
    study = resolve_study(StudyConfig(name="short", run=config, strategies=("entropy+spatial",)), read_inputs(config))
    begin_study(store, study)
    (run,) = study.runs
    Loop(run, store, LocalBackend(run, store), Begun(begun)).run()


def go_on_in_child(storage: Path, begun: Path, operation: int, fault: Callable[[], None], writes: bool = False) -> int:
    """Go on in a child where something happens before its n-th operation that changes a file below the root.

    Args:
        storage: the root.
        begun: file for the steps that were begun.
        operation: n, from 1.
        fault: what happens.
        writes: count only the opening of files for writing.

    Returns:
        The child's exit status, as the command line gives it; minus the signal that killed it. What it said lies
        beside `begun`.
    """
    # A fork has all modules already, so that the fault lies in what touches files.
    child = os.fork()
    if child == 0:
        try:
            sys.stderr = open(f"{begun}.stderr", "w")  # noqa: SIM115
            _before(operation, f"{storage}/", fault, {"open"} if writes else _CHANGES)
            with exit_cleanly():
                go_on(storage, begun)
            os._exit(0)
        except SystemExit as stop:
            sys.stderr.flush()
            os._exit(int(stop.code or 0))
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def said(begun: Path) -> str:
    return Path(f"{begun}.stderr").read_text()


def _before(operation: int, root: str, fault: Callable[[], None], events: set[str]) -> None:
    left = operation

    def count(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in events or not str(args[0]).startswith(root):
            return
        if event == "open" and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        left -= 1
        if left == 0:
            fault()

    sys.addaudithook(count)


def result(storage: Path) -> list[Any]:
    """What a finished run says; every file that it committed is compared with its hash before."""
    assert not verify_study(Folder(str(storage)), "short").damages
    store = store_of(storage)
    assert store.finished()
    trained = [store.round(t).record("train") or {} for t in range(2)]
    return [store.ledger(2).to_pylist(), *((one["losses"], one["confusion"]) for one in trained)]
