"""A whole study on the shared Ray session: shared round 0, committed steps, MLflow, report, and nothing done twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raylab.config import BudgetConfig, ComputeConfig, StudyConfig
from raylab.errors import MismatchError
from raylab.files import Folder
from raylab.launch import launch
from raylab.runs import RoundStore, RunStore
from raylab.study import RunFailedError, run_studies, run_study
from tests.configs import resolved_runs, resolved_study, tiny_run

pytestmark = [pytest.mark.ray]

STRATEGIES = ("random", "entropy+spatial", "entropy+feature")


def study_config(storage: Path, **changes: Any) -> StudyConfig:
    run = tiny_run(str(storage), compute=ComputeConfig(workers=0))
    return StudyConfig(name="tiny", run=run, strategies=STRATEGIES, supervised=True, **changes)


@pytest.fixture(scope="module")
def finished(ray_session: Any, tmp_path_factory: Any) -> tuple[StudyConfig, list[str]]:
    config = study_config(tmp_path_factory.mktemp("study"))
    lines: list[str] = []
    run_study(config, say=lines.append)
    return config, lines


def files_of(store: Folder, config: StudyConfig) -> dict[str, bytes]:
    root = store.local
    assert root is not None
    return {str(path): path.read_bytes() for path in root.rglob("*.json") if "studies" not in path.parts}


def test_the_bound_is_trained_on_the_whole_pool(finished: Any) -> None:
    config, _ = finished
    store = Folder(config.run.storage)
    record = RoundStore(store, resolved_study(config).supervised_folder).record("train")
    assert record is not None
    assert record["labelled_regions"] == 192
    assert record["labelled_percent"] == 100


@pytest.mark.usefixtures("free_resources")
def test_every_round_of_every_run_is_committed(finished: Any) -> None:
    config, lines = finished
    store = Folder(config.run.storage)
    for run in resolved_runs(config):
        run_store = RunStore(store, run)
        assert run_store.done_rounds() == 3
        picks = run_store.ledger(3)["region_id"].to_numpy()
        assert len(np.unique(picks)) == run.config.budget.total == len(picks)
        record = run_store.round(2).record("train")
        assert record is not None
        assert 0 <= record["miou"] <= 1
        assert record["seconds_train"] > 0
        assert record["peak_memory"] > 0
    assert sum("done" in line for line in lines) == len(STRATEGIES) + 2


def test_round_0_is_trained_once_for_all_strategies(finished: Any) -> None:
    config, _ = finished
    store = Folder(config.run.storage)
    assert len(store.list("round0")) == 1
    first = RunStore(store, resolved_runs(config)[0]).round(0)
    score = first.record("score")
    assert score is not None
    assert score["features"]


def test_ledger_tells_every_term(finished: Any) -> None:
    config, _ = finished
    run = resolved_runs(config)[1]
    ledger = RunStore(Folder(config.run.storage), run).round(1).ledger()
    phi, u, s = (ledger[name].to_numpy() for name in ("phi", "uncertainty", "spatial"))
    np.testing.assert_allclose(phi, u + s)
    assert (np.diff(phi) <= 1e-12).all()
    assert ledger["order"].to_pylist() == list(range(12))


def test_started_again_does_nothing_and_the_same_config_elsewhere_selects_the_same(
    finished: Any, ray_session: Any, tmp_path: Path
) -> None:
    config, _ = finished
    store = Folder(config.run.storage)
    before = files_of(store, config)
    run_study(config, say=lambda _: None)
    assert files_of(store, config) == before

    # With a Ray Train worker, where the other trained in the runs' own processes.
    other = StudyConfig(name="again", run=tiny_run(str(tmp_path)), strategies=STRATEGIES[1:2])
    run_study(other, say=lambda _: None)
    then, now = (RunStore(Folder(c.run.storage), resolved_runs(c)[i]).ledger(3) for c, i in ((config, 1), (other, 0)))
    assert now.equals(then)


def test_another_configuration_under_the_same_name_is_refused(finished: Any, ray_session: Any) -> None:
    config, _ = finished
    training = config.run.training.model_copy(update={"learning_rate": 0.5})
    changed = config.model_copy(update={"run": config.run.model_copy(update={"training": training})})
    with pytest.raises(MismatchError, match=r"run\.training\.learning_rate was 0.05 .* and is 0.5 now"):
        run_study(changed, say=lambda _: None)


def test_a_failing_run_stops_no_other_and_is_listed_at_the_end(
    finished: Any, ray_session: Any, tmp_path: Path, capsys: Any
) -> None:
    config, _ = finished
    shutil.copytree(config.run.storage, tmp_path / "copy")
    config = config.model_copy(update={"run": config.run.model_copy(update={"storage": str(tmp_path / "copy")})})
    store = Folder(config.run.storage)
    random, spatial, _ = (RunStore(store, run) for run in resolved_runs(config))
    for step in ("select", "train"):
        Path(store.uri_of(spatial.round(2).path(f"{step}.json"))).unlink()
    ledger = Path(store.uri_of(spatial.round(2).path("ledger.parquet")))
    ledger.unlink()
    ledger.mkdir()
    Path(store.uri_of(random.round(2).path("train.json"))).unlink()
    with pytest.raises(RunFailedError) as caught:
        launch([config])
    assert caught.value.exit_code == 1
    first, last = str(caught.value).splitlines()
    assert first.startswith("entropy+spatial N16 seed 0: ")
    assert "ledger.parquet cannot be written" in first
    assert last == "2 of 3 runs are finished; the same command goes on with the others"
    assert random.finished()
    assert "Report: " in capsys.readouterr().out


def test_studies_in_one_grid_do_what_they_share_once(ray_session: Any, tmp_path: Path) -> None:
    run = tiny_run(str(tmp_path), budget=BudgetConfig(initial=12, rounds=(12,)), compute=ComputeConfig(workers=0))
    first = StudyConfig(name="first", run=run, strategies=("random", "entropy"))
    second = StudyConfig(name="second", run=run, strategies=("entropy", "margin"))
    lines: list[str] = []
    run_studies([first, second], say=lines.append)
    assert sum(line.endswith("done") for line in lines) == 1 + 3
    store = Folder(str(tmp_path))
    assert len(store.list("runs")) == 3
    assert all(RunStore(store, one).finished() for config in (first, second) for one in resolved_runs(config))


def test_launch_writes_the_report_and_says_where_everything_lies(finished: Any, capsys: Any) -> None:
    config, _ = finished
    launch([config])
    out = capsys.readouterr().out
    page = Path(config.run.storage) / "studies" / "tiny" / "report" / "index.html"
    assert page.exists()
    assert str(page) in out
    assert "mlflow ui" in out
    assert "fully supervised" in out
