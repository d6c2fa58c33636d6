from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from raylab.config import StudyConfig
from raylab.errors import TrackingError
from raylab.report import write_report
from raylab.store import Store
from raylab.tracking import Mirror, tracking_uri, ui_command
from raylab.tracking.content import code_tags
from tests.report.study_on_disk import CONFIG, write_rounds, write_study

SMALL = CONFIG.model_copy(update={"strategies": ("random", "entropy"), "seeds": (0,)})
EXPERIMENT = "tests"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "results with spaces"))


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make one, so the tests copy it."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Mirror(str(path), "other")
    return path


@pytest.fixture
def database(store: Store, empty_database: Path) -> str:
    shutil.copy(empty_database, f"{store.root}/mlflow.db")
    return f"sqlite:///{store.root}/mlflow.db"


def client_of(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def runs_of(uri: str) -> dict[str, Any]:
    client = client_of(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs([experiment.experiment_id])
    runs = {run.info.run_name: run for run in found}
    assert len(runs) == len(found), "a run was made twice"
    return runs


def points(uri: str, run: Any, metric: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client_of(uri).get_metric_history(run.info.run_id, metric)]


def begin(store: Store, config: StudyConfig) -> None:
    store.write_json(f"studies/{config.name}/study.json", {"config": config.model_dump(mode="json"), "supervised": []})


def check_finished(uri: str, config: StudyConfig) -> None:
    """A child a run under one parent, every point once."""
    runs = runs_of(uri)
    parent = runs[config.name]
    for run in config.runs():
        child = runs[run.label]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.info.status == "FINISHED"
        assert [step for step, _ in points(uri, child, "miou")] == [20, 40, 80]
    assert parent.info.status == "FINISHED"


def test_a_study_becomes_a_parent_with_a_child_a_run(store: Store, database: str) -> None:
    config = write_study(store, SMALL)
    run = config.runs()[1]
    Mirror(database, EXPERIMENT).sync(store, config.name, config.runs())
    check_finished(database, config)

    runs = runs_of(database)
    child = runs[run.label]
    assert points(database, child, "miou") == [(20, 0.3), (40, 0.36), (80, 0.42)]
    assert [value for _, value in points(database, child, "annotated_images")][-1] <= 8
    assert points(database, child, "seconds.score") == [(20, 3.0), (40, 3.0)]
    assert points(database, child, "peak_memory_mb.train") == [(20, 900.0), (40, 900.0), (80, 900.0)]
    assert [step for step, _ in points(database, child, "iou.traffic light")] == [20, 40, 80]
    assert points(database, child, "iou.bicycle") == []
    assert points(database, runs[config.runs()[0].label], "seconds.score") == []
    assert points(database, runs["supervised-seed0"], "miou") == [(432, 0.6)]

    assert child.data.params["budget.rounds"] == "[20, 40]"
    assert child.data.params["strategy.name"] == "entropy"
    tags = child.data.tags
    assert tags["raylab.identity"] == run.identity()
    assert tags["raylab.round0_identity"] == run.round0_identity()
    assert len(tags["data_fingerprint"]) == 64
    assert len(tags["raylab.source_sha256"]) == 64


def test_artifacts_lie_beside_the_database(store: Store, database: str) -> None:
    config = write_study(store, SMALL)
    mirror = Mirror(database, EXPERIMENT)
    mirror.sync(store, config.name, config.runs())
    write_report(store, config.name)
    mirror.log_report(store, config.name)

    runs, client = runs_of(database), client_of(database)
    child = runs[config.runs()[0].label].info.run_id
    assert {file.path for file in client.list_artifacts(child)} == {"config.json", "config.yaml", "ledger.parquet"}
    reported = {file.path for file in client.list_artifacts(runs[config.name].info.run_id, "report")}
    assert reported >= {"report/index.html", "report/curves.png", "report/points.csv"}
    (ledger,) = (Path(store.root) / "mlartifacts").glob(f"{child}/artifacts/ledger.parquet")
    assert pq.read_table(ledger)["region_id"].to_pylist() != []
    assert pq.read_table(ledger).num_rows == 80


def test_files_that_could_not_be_sent_are_sent_later(
    store: Store, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_study(store, SMALL)
    mirror = Mirror(database, EXPERIMENT)

    def refuse(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(mirror, "_send_files", refuse)
        mirror.sync(store, config.name, config.runs())
    mirror.sync(store, config.name, config.runs())
    check_finished(database, config)
    child = runs_of(database)[config.runs()[0].label].info.run_id
    assert "ledger.parquet" in {file.path for file in client_of(database).list_artifacts(child)}


def test_rounds_are_sent_as_they_come_and_once(store: Store, database: str) -> None:
    config = SMALL.model_copy(update={"supervised": False})
    begin(store, config)
    runs = config.runs()
    mirror = Mirror(database, EXPERIMENT)
    mirror.sync(store, config.name, runs)
    assert {run.info.status for run in runs_of(database).values()} == {"RUNNING"}
    write_rounds(store, runs[0], stop=2)
    mirror.sync(store, config.name, runs)
    mirror.sync(store, config.name, runs)
    child = runs_of(database)[runs[0].label]
    assert [step for step, _ in points(database, child, "miou")] == [20, 40]
    assert child.info.status == "RUNNING"
    assert len(child.data.tags["data_fingerprint"]) == 64

    for run in runs:
        write_rounds(store, run)
    # A driver that was started again, and one that was killed before it wrote down what it had sent.
    Mirror(database, EXPERIMENT).sync(store, config.name, runs)
    check_finished(database, config)
    store.delete(f"studies/{config.name}/mlflow.json")
    Mirror(database, EXPERIMENT).sync(store, config.name, runs)
    check_finished(database, config)


def test_a_finished_study_costs_no_further_calls(store: Store, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_study(store, SMALL)
    mirror = Mirror(database, EXPERIMENT)
    mirror.sync(store, config.name, config.runs())
    monkeypatch.setattr(mirror, "_client", None)
    mirror.sync(store, config.name, config.runs())


def test_a_failed_run_is_shown_until_it_is_taken_up_again(store: Store, database: str) -> None:
    config = SMALL.model_copy(update={"supervised": False})
    begin(store, config)
    runs = config.runs()
    mirror = Mirror(database, EXPERIMENT)
    write_rounds(store, runs[0], stop=1)
    write_rounds(store, runs[1])
    mirror.mark_failed(runs[0], "out of memory")
    mirror.sync(store, config.name, runs)
    failed = runs_of(database)
    assert failed[runs[0].label].info.status == "FAILED"
    assert failed[runs[0].label].data.tags["raylab.failure"] == "out of memory"
    assert failed[runs[1].label].info.status == "FINISHED"
    assert failed[config.name].info.status == "FAILED"

    again = Mirror(database, EXPERIMENT)
    again.sync(store, config.name, runs)
    running = runs_of(database)
    assert running[runs[0].label].info.status == "RUNNING"
    assert "raylab.failure" not in running[runs[0].label].data.tags
    write_rounds(store, runs[0])
    again.sync(store, config.name, runs)
    check_finished(database, config)


def test_a_deleted_database_is_filled_again(store: Store, database: str) -> None:
    config = write_study(store, SMALL)
    Mirror(database, EXPERIMENT).sync(store, config.name, config.runs())
    (Path(store.root) / "mlflow.db").rename(Path(store.root) / "gone.db")
    # MLflow keeps the engine of an address it has seen, so the new start is a new address.
    again = f"sqlite:///{store.root}/again.db"
    state = store.read_json(f"studies/{config.name}/mlflow.json")
    store.write_json(f"studies/{config.name}/mlflow.json", {again: state[database]})
    Mirror(again, EXPERIMENT).sync(store, config.name, config.runs())
    check_finished(again, config)


def test_a_damaged_run_does_not_hold_back_the_others(
    store: Store, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = write_study(store, SMALL)
    runs = config.runs()
    (Path(store.root) / f"runs/{runs[0].label}/round-01/ledger.parquet").unlink()
    mirror = Mirror(database, EXPERIMENT)
    with caplog.at_level(logging.WARNING, "raylab"):
        mirror.sync(store, config.name, runs)
        mirror.sync(store, config.name, runs)
    assert len(caplog.records) == 1
    assert "ledger.parquet is not the file that was committed" in caplog.text
    assert runs_of(database)[runs[1].label].info.status == "FINISHED"


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri("mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri("results") == f"sqlite:///{tmp_path}/results/mlflow.db"
    assert tracking_uri("sqlite:///runs.db") == f"sqlite:///{tmp_path}/runs.db"
    assert tracking_uri("http://host:5000/") == "http://host:5000"
    assert ui_command("mlflow.db").endswith(f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db")
    assert "http://host:5000" in ui_command("http://host:5000/")
    with pytest.raises(TrackingError, match="use sqlite:///"):
        tracking_uri("file:///tmp/mlruns")


def test_addresses_that_cannot_work_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 100)
    (tmp_path / "file").write_text("")
    start = time.monotonic()
    for address in (f"http://127.0.0.1:{free_port()}", str(tmp_path / "text.db"), str(tmp_path / "file/mlflow.db")):
        with pytest.raises(TrackingError, match=r"MLflow cannot be used at .*give another address") as error:
            Mirror(address, EXPERIMENT)
        assert tracking_uri(address) in str(error.value)
        assert "\n" not in str(error.value)
    assert time.monotonic() - start < 15


def test_the_code_is_identified() -> None:
    assert set(code_tags()) >= {"raylab.source_sha256"}


def test_the_command_line_does_not_wait_for_mlflow() -> None:
    code = "import sys, raylab.tracking; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], tuple[str, Callable[[], None]]]]:
    """Starts an MLflow server, always on the same port and database: (address, what kills it)."""
    port, started = free_port(), []
    folder = tmp_path / "server"
    folder.mkdir()

    def start() -> tuple[str, Callable[[], None]]:
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        places = [
            "--backend-store-uri",
            f"sqlite:///{folder}/mlflow.db",
            "--artifacts-destination",
            str(folder / "files"),
        ]
        with open(folder / "log", "ab") as log:
            server = subprocess.Popen(
                [*command, *places], cwd=folder, stdout=log, stderr=log, start_new_session=True, env=dict(os.environ)
            )
        started.append(server)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return f"http://127.0.0.1:{port}", lambda: kill(server)
            time.sleep(0.2)
        pytest.fail(f"no MLflow server: {(folder / 'log').read_text()[-2000:]}")

    yield start
    for server in started:
        kill(server)


def kill(server: subprocess.Popen[bytes]) -> None:
    # The session that was started for it: the workers end with it.
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(10)


@pytest.mark.fault
def test_nothing_is_lost_when_the_server_is_killed(store: Store, serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    config = SMALL.model_copy(update={"supervised": False})
    begin(store, config)
    runs = config.runs()
    address, stop = serve()
    mirror = Mirror(address, EXPERIMENT)
    write_rounds(store, runs[0], stop=2)
    mirror.sync(store, config.name, runs)
    stop()

    write_rounds(store, runs[0])
    with caplog.at_level(logging.WARNING, "raylab"):
        start = time.monotonic()
        mirror.sync(store, config.name, runs)
        write_rounds(store, runs[1])
        mirror.sync(store, config.name, runs)
        write_report(store, config.name)
        mirror.log_report(store, config.name)
        assert time.monotonic() - start < 30
    warnings = [record for record in caplog.records if "could not be brought up to date" in record.message]
    assert len(warnings) == 1
    assert address in warnings[0].message

    serve()
    mirror.sync(store, config.name, runs)
    check_finished(address, config)
    parent = runs_of(address)[config.name].info.run_id
    assert "report/index.html" in {file.path for file in client_of(address).list_artifacts(parent, "report")}
    mirror.sync(store, config.name, runs)
    check_finished(address, config)
