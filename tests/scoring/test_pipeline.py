"""Ray Data: the region table is that of one process, in the order of region_id."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ray.data import DataContext
from safetensors.torch import save

from raylab.config import ComputeConfig
from raylab.data import open_dataset
from raylab.files import Folder
from raylab.models import build_model
from raylab.regions import RegionGrid
from raylab.scoring import parts
from raylab.scoring.pipeline import score
from raylab.scoring.predict import score_in_process, scoring_job
from tests.configs import tiny_run
from tests.progress import Silent

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def test_table_of_two_scorers_equals_that_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Together they hold all CPUs of the session, which what follows on them needs too.
    config = tiny_run(str(tmp_path), compute=ComputeConfig(scorers=2, cpus_per_scorer=2))
    dataset = open_dataset(config.data)
    regions = RegionGrid(dataset.image_sizes("train"), config.regions.size)
    model = build_model(config.model, len(dataset.classes), seed=3).eval()
    store = Folder(str(tmp_path))
    store.write_bytes("model.safetensors", save(dict(model.state_dict())))
    job = scoring_job(config, regions, len(dataset.classes), ("entropy", "margin"), features=True)

    monkeypatch.setattr(parts, "PART", 100)
    monkeypatch.setattr(DataContext.get_current(), "target_max_block_size", 1000)  # as if a batch had many regions
    weights = [("model.safetensors", None)]

    written, cost = score(job, store, weights, "ray", False, Silent())

    plain = score_in_process(job, store, weights, "plain", torch.device("cpu"), Silent())
    assert written == plain
    assert [part.name for part in written] == ["regions-0000000000.parquet", "regions-0000000144.parquet"]
    for part in written:
        assert store.read_bytes(f"ray/{part.name}", part.sha256) == store.read_bytes(f"plain/{part.name}")
    assert cost["peak_memory"] > 0
