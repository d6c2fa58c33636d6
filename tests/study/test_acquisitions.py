"""Every map and every mechanism of an acquisition, one round each, on real CamVid images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from raylab.config import BudgetConfig, ComputeConfig, DataConfig, ModelConfig, RegionConfig, ScoringConfig, StudyConfig
from raylab.files import Folder
from raylab.pool import known_regions
from raylab.runs import RunStore
from raylab.runs.replay import replay_runs
from raylab.scoring.uncertainty import MAPS
from raylab.study import run_study
from tests.configs import resolved_runs, tiny_run


def few_images(camvid: Path, folder: Path) -> Path:
    """A CamVid of every 30th image: links to the real files."""
    for part in ("train", "trainannot", "val", "valannot"):
        (folder / part).mkdir(parents=True)
        for file in sorted((camvid / part).iterdir())[::30]:
            (folder / part / file.name).symlink_to(file)
    return folder


NAMES = (
    *(f"entropy,map={name}" for name in MAPS),
    "entropy-balanced+spatial",
    "entropy+random",
    "core-set",
    "entropy+spatial+feature,distance=linear,set_function=max_sum",
)


def test_one_round_of_each(camvid: Path, tmp_path: Path) -> None:
    data = DataConfig(name="camvid", root=str(few_images(camvid, tmp_path / "camvid")))
    run = tiny_run(
        str(tmp_path / "results"),
        data=data,
        regions=RegionConfig(size=40),
        model=ModelConfig(channels=16, dropout=0.1),
        scoring=ScoringConfig(batch_size=4, pca=8, passes=3),
        budget=BudgetConfig(initial=60, rounds=(40,)),
        compute=ComputeConfig(backend="local"),
    )
    run = run.model_copy(update={"training": run.training.model_copy(update={"iterations": 2})})
    config = StudyConfig(name="all", run=run, strategies=NAMES)
    run_study(config, say=lambda _: None)
    store = Folder(run.storage)
    picks = {}
    for one in resolved_runs(config):
        run_store = RunStore(store, one)
        assert run_store.finished(), one.label
        ledger = run_store.round(1).ledger()
        picks[one.strategy] = tuple(ledger["region_id"].to_pylist())
        assert len(set(picks[one.strategy])) == 40
        assert np.isfinite(ledger["phi"].to_numpy()).all()
    assert len(set(picks.values())) > 0.8 * len(NAMES)
    assert replay_runs(store, resolved_runs(config), None, lambda _: None, known_regions)
