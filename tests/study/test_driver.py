"""Studies on the shared Ray session: what one process gives, and failures that stop no other run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune

from raylab.config import BudgetConfig, ComputeConfig, ModelConfig, RegionConfig, StudyConfig
from raylab.files import Folder
from raylab.launch import launch
from raylab.runs import ResolvedRun, RunStore
from raylab.study import RunFailedError, run_study
from tests.configs import resolved_runs, tiny_run
from tests.studies import Finished, break_last_round

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def study_on(backend: Any, storage: Path) -> StudyConfig:
    """An ensemble of two on the pre-trained backbone, superpixels, a committee's map and features."""
    run = tiny_run(
        str(storage),
        model=ModelConfig(channels=16),
        regions=RegionConfig(size=16, shape="superpixels"),
        budget=BudgetConfig(initial=10, rounds=(10, 10)),
        compute=ComputeConfig(backend=backend, workers=0),
    )
    training = run.training.model_copy(update={"ensemble": 2, "frozen_backbone": True, "norm_images": 8})
    run = run.model_copy(update={"training": training})
    return StudyConfig(name="both", run=run, strategies=("bald+spatial", "entropy+feature"))


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Ray Tune gives of each phase."""
    found: list[Any] = []
    fit = tune.Tuner.fit

    def kept(tuner: Any) -> Any:
        found.append(fit(tuner))
        return found[-1]

    monkeypatch.setattr(tune.Tuner, "fit", kept)
    return found


def test_a_study_on_ray_equals_the_same_in_one_process(tmp_path: Path, tuned: list[Any]) -> None:
    ray, local = (study_on(backend, tmp_path / backend) for backend in ("ray", "local"))
    for config in (ray, local):
        run_study(config, say=lambda _: None)
    shared, runs = (grid.get_dataframe() for grid in tuned)
    assert shared["config/strategy"].tolist() == ["shared round 0"]
    found = runs.set_index("config/strategy")
    assert found.loc["bald+spatial", ["config/tau", "config/seed", "round_index"]].tolist() == [16, 0, 2]
    assert found["training_iteration"].tolist() == [4, 4], "a result a round, and the end"
    for one, other in zip(resolved_runs(ray), resolved_runs(local), strict=True):
        here, there = run_store(one), run_store(other)
        assert here.ledger(3).equals(there.ledger(3))
        results = runs.set_index("config/task").loc[one.identity]
        assert (results["labelled_regions"], results["miou"]) == (30, miou_of(here))
        for t in range(3):
            found, expected = (store.round(t).record("train") for store in (here, there))
            assert found is not None
            assert expected is not None
            assert found["losses"] == expected["losses"]
            assert found["confusion"] == expected["confusion"]
            assert np.count_nonzero(np.sum(found["confusion"], axis=0)) > 2, "one class everywhere would tell nothing"
            models = ("model.safetensors", "model-1.safetensors")
            first, second = (here.store.read_bytes(here.round(t).path(name)) for name in models)
            assert first != second
            assert (first, second) == tuple(there.store.read_bytes(there.round(t).path(name)) for name in models)


def miou_of(rounds: RunStore) -> float:
    record = rounds.round(2).record("train")
    assert record is not None
    return float(record["miou"])


def run_store(run: ResolvedRun) -> RunStore:
    return RunStore(Folder(run.config.storage), run)


def test_a_failing_run_stops_no_other_and_is_listed_at_the_end(finished: Finished, tmp_path: Path, capsys: Any) -> None:
    shutil.copytree(finished.config.run.storage, tmp_path / "copy")
    config = finished.at(tmp_path / "copy", ComputeConfig(workers=0))
    break_last_round(config)
    with pytest.raises(RunFailedError) as caught:
        launch([config])
    assert caught.value.exit_code == 1
    first, last = str(caught.value).splitlines()
    assert first.startswith("entropy+spatial N16 seed 0: ")
    assert "ledger.parquet cannot be written" in first
    assert last == "2 of 3 runs are finished; the same command goes on with the others"
    assert run_store(resolved_runs(config)[0]).finished()
    assert "Report: " in capsys.readouterr().out
