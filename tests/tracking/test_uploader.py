"""The thread that sends: with a server that is killed, that stalls, that never answers, or that was never there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from raylab.files import Folder
from raylab.report import write_report
from raylab.tracking import MlflowUploader, uploader
from raylab.tracking.client import Client
from tests.configs import resolved_runs
from tests.report.study_on_disk import write_rounds, write_study
from tests.tracking.mlflow_runs import EXPERIMENT, SMALL, UNBOUNDED, begin, check_finished, files, runs_of
from tests.tracking.server import MlflowServer, free_port
from tests.tracking.silent import failing_server, silent_server

ALL_ONCE = "in the end all is there, once"


def test_what_is_asked_for_is_there_after_a_flush(store: Folder, database: str) -> None:
    lines: list[str] = []
    begin(store, UNBOUNDED)
    one, runs = MlflowUploader(database, EXPERIMENT, lines.append), resolved_runs(UNBOUNDED)
    one.sync(store, UNBOUNDED.name, runs)
    assert one.flush()
    assert {run.info.status for run in runs_of(database).values()} == {"RUNNING"}
    for run in runs:
        write_rounds(store, run)
        one.sync(store, UNBOUNDED.name, runs)
    write_report(store, UNBOUNDED.name)
    one.log_report(store, UNBOUNDED.name)
    check_finished(database, UNBOUNDED)
    assert "report/index.html" in files(database, runs_of(database)[UNBOUNDED.name], "report")
    assert lines == []


def test_a_failure_is_sent_with_its_reason(store: Folder, database: str) -> None:
    begin(store, UNBOUNDED)
    one, runs = MlflowUploader(database, EXPERIMENT), resolved_runs(UNBOUNDED)
    one.mark_failed(runs[0].identity, "out of memory")
    one.sync(store, UNBOUNDED.name, runs)
    assert one.flush()
    assert runs_of(database)[runs[0].label].data.tags["raylab.failure"] == "out of memory"


def test_a_damaged_run_is_said_once_and_by_name(store: Folder, database: str) -> None:
    lines: list[str] = []
    write_study(store, SMALL)
    runs = resolved_runs(SMALL)
    (Path(store.root) / f"runs/{runs[0].label}/round-01/ledger.parquet").unlink()
    one = MlflowUploader(database, EXPERIMENT, lines.append)
    for _ in range(2):
        one.sync(store, SMALL.name, runs)
        assert not one.flush()
    assert sum("all else of small was sent" in line for line in lines) == 1
    assert "ledger.parquet is damaged (it is missing)" in lines[0]
    assert runs_of(database)[runs[1].label].info.status == "FINISHED"


def test_a_server_that_is_not_there_is_said_once_with_the_way_out(store: Folder) -> None:
    lines: list[str] = []
    begin(store, UNBOUNDED)
    address = f"http://127.0.0.1:{free_port()}"
    one = MlflowUploader(address, EXPERIMENT, lines.append)
    for _ in range(3):
        one.sync(store, UNBOUNDED.name, resolved_runs(UNBOUNDED))
        assert not one.flush()
    first, last = lines
    assert first.startswith(f"MLflow at {address} cannot be reached (Connection refused)")
    assert "the study runs on" in first
    for line in lines:
        assert line.endswith(f"raylab sync small --storage '{store.uri}' --tracking {address}")
    assert "does not have everything of small" in last


def test_a_server_that_only_fails_is_said_with_its_error(store: Folder) -> None:
    lines: list[str] = []
    begin(store, UNBOUNDED)
    with failing_server() as address:
        one = MlflowUploader(address, EXPERIMENT, lines.append)
        one.sync(store, UNBOUNDED.name, resolved_runs(UNBOUNDED))
        assert not one.flush()
    assert "503" in lines[0]


def test_nobody_waits_for_a_server_that_never_answers(store: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    # A call outlasts the test: what waited for one would hang.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3600")
    monkeypatch.setattr(uploader, "SERVER_PATIENCE", 1.0)
    lines: list[str] = []
    begin(store, UNBOUNDED)
    with silent_server() as (address, accepted):
        one = MlflowUploader(address, EXPERIMENT, lines.append)
        for run in resolved_runs(UNBOUNDED):
            write_rounds(store, run)
            one.sync(store, UNBOUNDED.name, resolved_runs(UNBOUNDED))
        while not accepted:
            time.sleep(0.01)
        assert not one.flush()
        write_report(store, UNBOUNDED.name)
        one.log_report(store, UNBOUNDED.name)
        assert len(accepted) == 1
        # Looked at while the server keeps silent: when it ends, the call fails, and that is said too.
        (line,) = lines
    assert "does not have everything of small (it takes long to answer)" in line
    assert line.endswith(f"--tracking {address}")


@pytest.mark.slow
def test_a_server_that_is_slow_and_answers_is_waited_for(
    store: Folder, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(method: Callable[..., None]) -> Callable[..., None]:
        return lambda *args: (time.sleep(0.3), method(*args))[1]

    monkeypatch.setattr(Client, "log_points", slowly(Client.log_points))
    monkeypatch.setattr(uploader, "FILE_PATIENCE", 3.0)  # of about five that it takes
    monkeypatch.setattr(uploader, "_LOOK", 1.0)
    one = MlflowUploader(database, EXPERIMENT)
    write_study(store, SMALL)
    one.sync(store, SMALL.name, resolved_runs(SMALL))
    assert one.flush()
    check_finished(database, SMALL)


_ENDS = """
import sys
from raylab.files import Folder
from raylab.tracking import MlflowUploader, uploader
from raylab.tracking.client import Client
from tests.configs import resolved_runs
from tests.tracking.mlflow_runs import UNBOUNDED
uploader.SERVER_PATIENCE = 1.0
one = MlflowUploader(sys.argv[2], "tests", say=print)
one.sync(Folder(sys.argv[1]), UNBOUNDED.name, resolved_runs(UNBOUNDED))
one.flush()
"""


def test_a_process_ends_while_a_server_keeps_it_waiting(store: Folder) -> None:
    begin(store, UNBOUNDED)
    with silent_server() as (address, _):
        done = subprocess.run(
            [sys.executable, "-c", _ENDS, store.uri, address],
            env=dict(os.environ) | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3600"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert "does not have everything" in done.stdout


@pytest.mark.fault
def test_nothing_is_lost_when_the_server_is_killed_and_started_again(
    store: Folder, server: MlflowServer, monkeypatch: pytest.MonkeyPatch, record_fault: Callable[..., None]
) -> None:
    monkeypatch.setattr(uploader, "SERVER_PATIENCE", 300.0)
    lines: list[str] = []
    begin(store, UNBOUNDED)
    name, runs = UNBOUNDED.name, resolved_runs(UNBOUNDED)
    server.start()
    one = MlflowUploader(server.address, EXPERIMENT, lines.append)
    write_rounds(store, runs[0], stop=2)
    one.sync(store, name, runs)
    assert one.flush()
    server.kill()

    write_rounds(store, runs[0])
    one.sync(store, name, runs)
    assert not one.flush()
    write_rounds(store, runs[1])
    one.sync(store, name, runs)
    write_report(store, name)
    one.log_report(store, name)
    assert sum("cannot be reached" in line for line in lines) == 1

    server.start()
    one.sync(store, name, runs)
    assert one.flush()
    assert lines[-1] == f"MLflow at {server.address} is up to date again"
    check_finished(server.address, UNBOUNDED)
    assert "report/index.html" in files(server.address, runs_of(server.address)[name], "report")
    one.sync(store, name, runs)
    assert one.flush()
    check_finished(server.address, UNBOUNDED)
    record_fault(
        "MLflow's server is killed between two uploads, and started again", ALL_ONCE, {"kills": 1}, {"twice": 0}
    )


@pytest.mark.fault
def test_a_server_that_stalls_in_the_middle_makes_nothing_twice(
    store: Folder, running_server: MlflowServer, monkeypatch: pytest.MonkeyPatch, record_fault: Callable[..., None]
) -> None:
    # Also longer than a busy machine takes for a call.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    monkeypatch.setattr(uploader, "_AGAIN", 0.5)
    monkeypatch.setattr(uploader, "SERVER_PATIENCE", 300.0)
    lines: list[str] = []
    server = running_server
    write_study(store, SMALL)
    one = MlflowUploader(server.address, "stalls", lines.append)
    one.sync(store, SMALL.name, resolved_runs(SMALL))
    while not (Path(store.root) / f"studies/{SMALL.name}/mlflow.json").exists():
        time.sleep(0.01)
    server.send(signal.SIGSTOP)
    while not any("no answer in time" in line for line in lines):
        time.sleep(0.1)
    server.send(signal.SIGCONT)
    while lines[-1] != f"MLflow at {server.address} is up to date again":
        time.sleep(0.1)
    assert one.flush()
    check_finished(server.address, SMALL, "stalls")
    record_fault("MLflow's server hangs in the middle of an upload (SIGSTOP)", ALL_ONCE, {"stops": 1}, {"twice": 0})
