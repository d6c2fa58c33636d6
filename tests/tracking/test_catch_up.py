"""`raylab sync`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raylab.cli import main
from raylab.files import Folder
from raylab.report import write_report
from raylab.tracking import MlflowUploader
from tests.configs import resolved_runs
from tests.report.study_on_disk import write_rounds, write_study
from tests.tracking.mlflow_runs import EXPERIMENT, SMALL, UNBOUNDED, begin, check_finished, files, runs_of
from tests.tracking.server import MlflowServer, free_port


def test_all_studies_under_a_root_and_nothing_twice(
    store: Folder, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("small", "other"):
        write_study(store, UNBOUNDED.model_copy(update={"name": name}))
    write_report(store, "small")
    command = ["sync", "--storage", store.uri, "--experiment", EXPERIMENT]
    main(command)
    out = capsys.readouterr().out
    assert "other: 2 runs, " in out
    assert "small: 2 runs, " in out
    assert "values and " in out
    assert f"mlflow ui --backend-store-uri '{database}'" in out

    main(command)
    assert capsys.readouterr().out.count("nothing new") == 2
    main(["sync", "small", *command[1:]])
    out = capsys.readouterr().out
    assert "small: 2 runs, nothing new" in out
    assert "other" not in out


def test_the_experiment_and_address_of_the_study_are_the_default(store: Folder, empty_database: Path) -> None:
    address = f"sqlite:///{store.root}/elsewhere.db"
    Path(f"{store.root}/elsewhere.db").write_bytes(empty_database.read_bytes())
    run = UNBOUNDED.run.model_copy(update={"tracking": address, "experiment": EXPERIMENT})
    config = write_study(store, SMALL.model_copy(update={"run": run}))
    main(["sync", config.name, "--storage", store.uri])
    check_finished(address, config)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nothing"], "error: .*/studies/nothing/study.json is missing; studies there: small"),
        (["--tracking", "localhost:5000"], "error: tracking: localhost:5000 .* write http://localhost:5000"),
        (["--tracking", "{closed}"], r"error: tracking: MLflow at http://.* cannot be reached \(Connection refused\)"),
    ],
)
def test_mistakes_are_one_line(
    args: list[str], message: str, store: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(store, SMALL)
    args = [arg.format(closed=f"http://127.0.0.1:{free_port()}") for arg in args]
    with pytest.raises(SystemExit) as ended:
        main(["sync", *args, "--storage", store.uri])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(message, line)


def test_a_root_without_studies_is_said(store: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sync", "--storage", store.uri])
    assert "no study lies under this storage root" in capsys.readouterr().err


def test_a_step_that_is_missing_before_others_is_told(
    store: Folder, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_study(store, UNBOUNDED)
    (Path(store.root) / f"runs/{resolved_runs(config)[0].label}/round-01/train.json").unlink()
    with pytest.raises(SystemExit):
        main(["sync", "--storage", store.uri, "--experiment", EXPERIMENT])
    assert "round-01/train.json is damaged (it is missing, and later steps follow it)" in capsys.readouterr().err


def test_a_damaged_study_holds_back_no_other(store: Folder, database: str, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = write_study(store, UNBOUNDED)
    config = UNBOUNDED.model_copy(update={"name": "whole", "strategies": ("entropy",), "seeds": (1,)})
    begin(store, config)
    write_rounds(store, resolved_runs(config)[0])
    (Path(store.root) / f"runs/{resolved_runs(damaged)[0].label}/round-01/ledger.parquet").unlink()
    with pytest.raises(SystemExit):
        main(["sync", "--storage", store.uri, "--experiment", EXPERIMENT])
    captured = capsys.readouterr()
    assert "ledger.parquet is damaged (it is missing)" in captured.err
    assert "whole: 1 runs" in captured.out
    assert runs_of(database)[resolved_runs(config)[0].label].info.status == "FINISHED"


def test_a_study_whose_server_was_never_there_is_brought_in_whole(
    store: Folder, running_server: MlflowServer, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(store, UNBOUNDED)
    runs, name = resolved_runs(UNBOUNDED), UNBOUNDED.name
    one = MlflowUploader(f"http://127.0.0.1:{free_port()}", "never there", lambda _: None)
    write_rounds(store, runs[0])
    write_rounds(store, runs[1], stop=1)
    one.mark_failed(runs[1].identity, "out of memory")
    one.sync(store, name, runs)
    assert not one.flush()
    write_report(store, name)

    address = running_server.address
    main(["sync", name, "--storage", store.uri, "--tracking", address, "--experiment", "never there"])
    assert address in capsys.readouterr().out
    found = runs_of(address, "never there")
    assert found[runs[0].label].info.status == "FINISHED"
    assert found[runs[1].label].info.status == "FAILED"
    assert found[runs[1].label].data.tags["raylab.failure"] == "out of memory"
    assert "report/index.html" in files(address, found[name], "report")
