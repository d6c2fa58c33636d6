from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from raylab.errors import StoreError
from raylab.files import Folder
from raylab.report import write_report
from raylab.tracking.payload import code_tags
from tests.configs import resolved_runs, resolved_study
from tests.report.study_on_disk import write_rounds, write_study
from tests.tracking.mlflow_runs import (
    EXPERIMENT,
    SMALL,
    UNBOUNDED,
    begin,
    check_finished,
    client_of,
    files,
    points,
    runs_of,
    sender,
)


def test_a_study_becomes_a_parent_with_a_child_a_run(store: Folder, database: str) -> None:
    config = write_study(store, SMALL)
    run = resolved_runs(config)[1]
    sender(database).send(store, config.name, resolved_runs(config))
    check_finished(database, config)

    runs, bound = runs_of(database), resolved_study(SMALL).supervised_folder
    child = runs[run.label]
    assert points(database, child, "miou") == [(20, 0.3), (40, 0.36), (80, 0.42)]
    assert [value for _, value in points(database, child, "annotated_images")][-1] <= 8
    assert points(database, child, "seconds.score") == [(20, 3.0), (40, 3.0)]
    assert points(database, child, "peak_memory_mb.train") == [(20, 900.0), (40, 900.0), (80, 900.0)]
    assert [step for step, _ in points(database, child, "iou.traffic light")] == [20, 40, 80]
    assert points(database, child, "iou.bicycle") == []
    assert points(database, runs[resolved_runs(config)[0].label], "seconds.score") == []
    assert points(database, runs[bound.replace("/", "-")], "miou") == [(432, 0.6)]

    (trained,) = Path(store.root).glob(f"runs/{run.label}/round-02/train.json")
    assert child.info.end_time == int(1000 * trained.stat().st_mtime)

    assert child.data.params["budget.rounds"] == "[20, 40]"
    assert child.data.params["strategy.name"] == "entropy"
    tags = child.data.tags
    assert tags["raylab.identity"] == run.identity
    assert tags["raylab.round0_identity"] == run.round0_identity
    assert len(tags["data_fingerprint"]) == 64
    assert len(tags["raylab.source_sha256"]) == 64


def test_artifacts_lie_beside_the_database(store: Folder, database: str) -> None:
    config = write_study(store, SMALL)
    write_report(store, config.name)
    sender(database).send(store, config.name, resolved_runs(config), report=True)

    runs = runs_of(database)
    child = runs[resolved_runs(config)[0].label]
    assert files(database, child) == {"config.json", "config.yaml", "ledger.parquet"}
    reported = files(database, runs[config.name], "report")
    assert reported >= {"report/index.html", "report/curves.png", "report/points.csv"}
    (ledger,) = (Path(store.root) / "mlartifacts").glob(f"{child.info.run_id}/artifacts/ledger.parquet")
    assert pq.read_table(ledger)["region_id"].to_pylist() != []
    assert pq.read_table(ledger).num_rows == 80


def test_files_that_could_not_be_sent_are_sent_later(
    store: Folder, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_study(store, SMALL)
    one = sender(database)

    def refuse(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(one, "_send_files", refuse)
        with pytest.raises(OSError, match="no space left"):
            one.send(store, config.name, resolved_runs(config))
    one.send(store, config.name, resolved_runs(config))
    check_finished(database, config)
    assert "ledger.parquet" in files(database, runs_of(database)[resolved_runs(config)[0].label])


def test_rounds_are_sent_as_they_come_and_once(store: Folder, database: str) -> None:
    config = UNBOUNDED
    begin(store, config)
    runs = resolved_runs(config)
    one = sender(database)
    one.send(store, config.name, runs)
    assert {run.info.status for run in runs_of(database).values()} == {"RUNNING"}
    write_rounds(store, runs[0], stop=2)
    one.send(store, config.name, runs)
    one.send(store, config.name, runs)
    child = runs_of(database)[runs[0].label]
    assert [step for step, _ in points(database, child, "miou")] == [20, 40]
    assert child.info.status == "RUNNING"
    assert len(child.data.tags["data_fingerprint"]) == 64

    for run in runs:
        write_rounds(store, run)
    # A driver that was started again, and one that was killed before it wrote down what it had sent.
    sender(database).send(store, config.name, runs)
    check_finished(database, config)
    store.delete(f"studies/{config.name}/mlflow.json")
    sender(database).send(store, config.name, runs)
    check_finished(database, config)


def test_a_finished_study_costs_no_further_calls(store: Folder, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_study(store, SMALL)
    write_report(store, config.name)
    one = sender(database)
    one.send(store, config.name, resolved_runs(config), report=True)
    monkeypatch.setattr(one.client, "_client", None)
    one.send(store, config.name, resolved_runs(config), report=True)


def test_a_bound_that_two_studies_share_is_sent_to_both(store: Folder, database: str) -> None:
    one = sender(database)
    # First without the bound, so that its runs are made while it is not finished.
    for config in (UNBOUNDED, SMALL):
        for name in ("small", "other"):
            write_study(store, config.model_copy(update={"name": name}))
            one.send(store, name, resolved_runs(config))
    found = client_of(database).search_runs([client_of(database).get_experiment_by_name(EXPERIMENT).experiment_id])
    assert len(found) == 2 * (1 + 2 + 1)
    assert {run.info.status for run in found} == {"FINISHED"}


def test_a_failed_run_is_shown_until_a_driver_takes_it_up_again(store: Folder, database: str) -> None:
    config = UNBOUNDED
    begin(store, config)
    runs = resolved_runs(config)
    write_rounds(store, runs[0], stop=1)
    write_rounds(store, runs[1])
    sender(database).send(store, config.name, runs, failures={runs[0].label: "out of memory"})
    # What `raylab sync` does is no new start.
    sender(database).send(store, config.name, runs)
    failed = runs_of(database)
    assert failed[runs[0].label].info.status == "FAILED"
    assert failed[runs[0].label].data.tags["raylab.failure"] == "out of memory"
    assert failed[runs[1].label].info.status == "FINISHED"
    assert failed[config.name].info.status == "FAILED"

    again = sender(database)
    again.send(store, config.name, runs, failures={})
    running = runs_of(database)
    assert running[runs[0].label].info.status == "RUNNING"
    assert "raylab.failure" not in running[runs[0].label].data.tags
    write_rounds(store, runs[0])
    again.send(store, config.name, runs, failures={})
    check_finished(database, config)


def test_a_deleted_database_is_filled_again(store: Folder, database: str) -> None:
    config = write_study(store, SMALL)
    sender(database).send(store, config.name, resolved_runs(config))
    (Path(store.root) / "mlflow.db").rename(Path(store.root) / "gone.db")
    # MLflow keeps the engine of an address it has seen, so the new start is a new address.
    again = f"sqlite:///{store.root}/again.db"
    state = store.read_json(f"studies/{config.name}/mlflow.json")
    store.write_json(f"studies/{config.name}/mlflow.json", {again: state[database]})
    sender(again).send(store, config.name, resolved_runs(config))
    check_finished(again, config)


def test_a_damaged_run_does_not_hold_back_the_others(store: Folder, database: str) -> None:
    config = write_study(store, SMALL)
    runs = resolved_runs(config)
    (Path(store.root) / f"runs/{runs[0].label}/round-01/ledger.parquet").unlink()
    with pytest.raises(StoreError, match=r"ledger\.parquet is damaged \(it is missing"):
        sender(database).send(store, config.name, runs)
    assert runs_of(database)[runs[1].label].info.status == "FINISHED"


def test_two_processes_at_once_make_no_run_twice(store: Folder) -> None:
    config = write_study(store, SMALL)
    database = f"sqlite:///{store.root}/new.db"
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=send_all, args=(store.uri, database)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    check_finished(database, config)


def send_all(storage: str, database: str) -> None:
    sender(database).send(Folder(storage), SMALL.name, resolved_runs(SMALL))


def test_the_code_is_identified() -> None:
    assert set(code_tags()) >= {"raylab.source_sha256"}
