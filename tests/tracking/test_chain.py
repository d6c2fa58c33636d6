"""A whole study in one process, sent to a real MLflow server over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from raylab.config import BudgetConfig, ComputeConfig, StudyConfig
from raylab.files import Folder
from raylab.launch import launch
from raylab.runs import RunStore
from raylab.tracking import uploader
from tests.configs import resolved_runs, tiny_run
from tests.tracking.mlflow_runs import client_of, files, points, runs_of
from tests.tracking.server import MlflowServer


def test_a_study_is_in_mlflow_as_it_is_in_the_store(
    running_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(uploader, "SERVER_PATIENCE", 300.0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running_server.address)
    run = tiny_run(
        str(tmp_path / "store"),
        experiment="chain",
        budget=BudgetConfig(initial=12, rounds=(12,)),
        compute=ComputeConfig(backend="local"),
    )
    config = StudyConfig(name="chain", run=run, strategies=("random", "entropy+spatial"))
    launch([config])
    assert running_server.address in capsys.readouterr().out

    address, store = running_server.address, Folder(run.storage)
    found = runs_of(address, "chain")
    parent = found.pop("chain")
    assert parent.info.status == "FINISHED"
    assert "report/index.html" in files(address, parent, "report")
    assert set(found) == {run.label for run in resolved_runs(config)}
    for one in resolved_runs(config):
        child, run_store = found[one.label], RunStore(store, one)
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.info.status == "FINISHED"
        trained = [run_store.round(t).record("train") for t in range(2)]
        assert points(address, child, "miou") == [(12, trained[0]["miou"]), (24, trained[1]["miou"])]
        assert [step for step, _ in points(address, child, "seconds.score")] == (
            [] if one == resolved_runs(config)[0] else [12]
        )
        ledger = client_of(address).download_artifacts(child.info.run_id, "ledger.parquet", str(tmp_path))
        assert pq.read_table(ledger).equals(run_store.ledger(2))
