"""Ray Data: the region table is that of one process, in the order of region_id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from raylab.config import ComputeConfig
from raylab.data import open_dataset
from raylab.files import Folder
from raylab.models import build_model
from raylab.regions import RegionGrid
from raylab.regions.table import columns_of
from raylab.scoring.pipeline import score
from raylab.scoring.predict import score_in_process, scoring_job
from tests.configs import tiny_run
from tests.progress import Silent

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def test_table_of_two_scorers_equals_that_of_one_process(tmp_path: Path) -> None:
    config = tiny_run(str(tmp_path), compute=ComputeConfig(scorers=2))
    dataset = open_dataset(config.data)
    regions = RegionGrid(dataset.image_sizes("train"), config.regions.size)
    model = build_model(config.model, len(dataset.classes), seed=3).eval()
    store = Folder(str(tmp_path))
    store.write_bytes("model.safetensors", save(dict(model.state_dict())))
    job = scoring_job(config, regions, len(dataset.classes), ("entropy", "margin"), features=True)

    table, cost = score(job, store, [("model.safetensors", None)], False, Silent())

    plain = score_in_process(job, store, [("model.safetensors", None)], torch.device("cpu"), Silent())
    maps, features = columns_of(table, regions.n_regions)
    plain_maps, plain_features = columns_of(plain, regions.n_regions)
    for name in ("entropy", "margin"):
        np.testing.assert_array_equal(maps[name], plain_maps[name])
    np.testing.assert_array_equal(features, plain_features)
    assert cost["peak_memory"] > 0
