"""Whole studies whose MLflow server is dead, dies, hangs or comes back: no round waits, and all is there, once."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raylab.cli import main
from raylab.config import BudgetConfig, ComputeConfig, StudyConfig
from raylab.files import Folder
from raylab.launch import launch
from raylab.tracking import MlflowUploader, uploader
from tests.configs import tiny_run
from tests.tracking.mlflow_runs import everything
from tests.tracking.server import MlflowServer

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parents[2]
NAME = "faults"
_BEFORE, _AFTER = "before", "after"
_BEGUN, _LATER = "round 0  score", "round 1  train"
_STUDY_ROUNDS, _A_ROUND = 4, 5
"""Rounds of the study, and the seconds that one may take longer."""

CASES = {
    "dead from the start to the end": {_AFTER: "start"},
    "dead at the start, and there later": {_BEGUN: "start"},
    "killed in the middle": {_BEFORE: "start", _BEGUN: "kill", _AFTER: "start"},
    "killed in the middle, and there again": {_BEFORE: "start", _BEGUN: "kill", _LATER: "start"},
    "hanging (SIGSTOP) from the middle": {_BEFORE: "start", _BEGUN: "stop", _AFTER: "continue"},
    "hanging (SIGSTOP) in the middle, and going on": {_BEFORE: "start", _BEGUN: "stop", _LATER: "continue"},
}
"""What is done to the server when: before or after the study, or at a line of its console."""


def drive(storage: str, patience: str) -> None:
    """The study, in a process of its own: says a line, goes on when it is answered, and ends with what MLflow took."""
    uploader.SERVER_PATIENCE = float(patience)
    spent = []
    for name in ("sync", "mark_failed", "flush"):
        method = getattr(MlflowUploader, name)

        def call(*args: Any, _method: Callable[..., Any] = method) -> Any:
            start = time.monotonic()
            try:
                return _method(*args)
            finally:
                spent.append(time.monotonic() - start)

        setattr(MlflowUploader, name, call)

    def say(line: str) -> None:
        # Two threads say lines, and neither may take away the answer of the other.
        os.write(1, (line.replace("\n", " ") + "\n").encode())
        os.read(0, 1)

    run = tiny_run(
        storage, experiment=NAME, budget=BudgetConfig(initial=12, rounds=(12,)), compute=ComputeConfig(backend="local")
    )
    launch([StudyConfig(name=NAME, run=run, strategies=("random", "entropy+spatial"))], say=say)
    say(f"waited {sum(spent)}")


@pytest.mark.parametrize("case", CASES)
def test_a_study_and_its_server(
    case: str, store: Folder, server: MlflowServer, database: str, record_fault: Callable[..., None]
) -> None:
    state = Path(store.root) / f"studies/{NAME}/mlflow.json"

    def act(what: str) -> None:
        if what in ("kill", "stop"):  # in the middle: something was sent, and more is to come
            while not (state.exists() and "0/train" in state.read_text()):
                time.sleep(0.05)
            server.send(signal.SIGKILL if what == "kill" else signal.SIGSTOP)
        elif what == "start":
            server.start()
        else:
            server.send(signal.SIGCONT)

    due = dict(CASES[case])
    later = _AFTER in due
    if _BEFORE in due:
        act(due.pop(_BEFORE))
    command = [sys.executable, "-c", f"from {__name__} import drive; drive(*__import__('sys').argv[1:])"]
    patience = uploader.SERVER_PATIENCE if later else 300
    lines = []
    with subprocess.Popen(
        [*command, store.uri, str(patience)],
        env={**os.environ, "MLFLOW_TRACKING_URI": server.address, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            for key in [key for key in (_BEGUN, _LATER) if key in line and key in due]:
                act(due.pop(key))
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
    waited = float(lines[-1].removeprefix("waited "))
    commands = {line.rpartition("with: ")[2] for line in lines if "bring it in later with: " in line}
    assert len(commands) == later
    for text in commands:
        act(due.pop(_AFTER))
        main(shlex.split(text)[1:])
    assert not due
    main(["sync", NAME, "--storage", store.uri, "--tracking", database])
    assert everything(server.address, NAME) == everything(database, NAME)
    assert waited < _A_ROUND * _STUDY_ROUNDS
    record_fault(
        f"MLflow's server is {case}",
        f"under {_A_ROUND} s a round; in the end all is there, once",
        {"studies": 1, "rounds": _STUDY_ROUNDS},
        {"missing or double": 0, "seconds waited": round(waited)},
    )
