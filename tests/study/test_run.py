"""A whole study in one process: shared round 0, committed steps, MLflow, report, and nothing done twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raylab.config import BudgetConfig, ComputeConfig, StudyConfig
from raylab.errors import ConfigError, MismatchError
from raylab.files import Folder
from raylab.launch import launch
from raylab.lease import LEASES
from raylab.runs import RoundStore, RunStore
from raylab.study import run_studies, run_study
from tests.configs import resolved_runs, resolved_study, tiny_run
from tests.studies import Finished


def files_of(store: Folder) -> dict[str, bytes]:
    root = store.local
    assert root is not None
    return {str(path): path.read_bytes() for path in root.rglob("*.json") if not {"studies", LEASES} & {*path.parts}}


def test_the_bound_is_trained_on_the_whole_pool(finished: Finished) -> None:
    record = RoundStore(finished.store, resolved_study(finished.config).supervised_folder).record("train")
    assert record is not None
    assert record["labelled_regions"] == 192
    assert record["labelled_percent"] == 100


def test_every_round_of_every_run_is_committed(finished: Finished) -> None:
    for run in resolved_runs(finished.config):
        run_store = RunStore(finished.store, run)
        assert run_store.done_rounds() == 3
        picks = run_store.ledger(3)["region_id"].to_numpy()
        assert len(np.unique(picks)) == run.config.budget.total == len(picks)
        record = run_store.round(2).record("train")
        assert record is not None
        assert 0 <= record["miou"] <= 1
        assert record["seconds_train"] > 0
        assert record["peak_memory"] > 0
    assert sum("done" in line for line in finished.lines) == len(finished.config.strategies) + 2


def test_round_0_is_trained_once_for_all_strategies(finished: Finished) -> None:
    assert len(finished.store.list("round0")) == 1
    score = RunStore(finished.store, resolved_runs(finished.config)[0]).scores(0).record("score")
    assert score is not None
    assert score["features"]


def test_ledger_tells_every_term(finished: Finished) -> None:
    ledger = RunStore(finished.store, resolved_runs(finished.config)[1]).round(1).ledger()
    phi, u, s = (ledger[name].to_numpy() for name in ("phi", "uncertainty", "spatial"))
    np.testing.assert_allclose(phi, u + s)
    assert (np.diff(phi) <= 1e-12).all()
    assert ledger["order"].to_pylist() == list(range(12))


def test_started_again_does_nothing(finished: Finished) -> None:
    before = files_of(finished.store)
    run_study(finished.config, say=lambda _: None)
    assert files_of(finished.store) == before


def test_another_configuration_under_the_same_name_is_refused(finished: Finished) -> None:
    training = finished.config.run.training.model_copy(update={"learning_rate": 0.5})
    run = finished.config.run.model_copy(update={"training": training})
    with pytest.raises(MismatchError, match=r"run\.training\.learning_rate was 0.05 .* and is 0.5 now"):
        run_study(finished.config.model_copy(update={"run": run}), say=lambda _: None)


def test_studies_of_several_backends_do_not_run_together() -> None:
    with pytest.raises(ConfigError, match=r"compute\.backend: studies that run together take the same"):
        run_studies([StudyConfig(run=tiny_run(compute=ComputeConfig(backend=name))) for name in ("ray", "local")])


def test_studies_in_one_grid_do_what_they_share_once(tmp_path: Path) -> None:
    compute = ComputeConfig(backend="local")
    run = tiny_run(str(tmp_path), budget=BudgetConfig(initial=12, rounds=(12,)), compute=compute)
    first = StudyConfig(name="first", run=run, strategies=("random", "entropy"))
    second = StudyConfig(name="second", run=run, strategies=("entropy", "margin"))
    lines: list[str] = []
    run_studies([first, second], say=lines.append)
    assert sum(line.endswith("done") for line in lines) == 1 + 3
    store = Folder(str(tmp_path))
    assert len(store.list("runs")) == 3
    assert all(RunStore(store, one).finished() for config in (first, second) for one in resolved_runs(config))


def test_launch_writes_the_report_and_says_where_everything_lies(
    finished: Finished, tmp_path: Path, capsys: Any
) -> None:
    shutil.copytree(finished.config.run.storage, tmp_path / "copy")
    launch([finished.at(tmp_path / "copy")])
    out = capsys.readouterr().out
    page = tmp_path / "copy/studies/tiny/report/index.html"
    assert page.exists()
    assert str(page) in out
    assert "mlflow ui" in out
    assert "fully supervised" in out


def test_strategies_that_are_left_out_are_told_and_stay(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.config.run.storage, tmp_path / "copy")
    config = finished.at(tmp_path / "copy").model_copy(update={"strategies": ("random",)})
    lines: list[str] = []
    run_study(config, say=lines.append)
    assert sum(line.startswith("tiny: runs of entropy+spatial, entropy+feature are not among") for line in lines) == 1
    lines.clear()
    run_study(finished.at(tmp_path / "copy"), say=lines.append)
    assert not any("are not among" in line or "train" in line for line in lines)
