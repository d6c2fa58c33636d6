"""Ray Data: the region table is that of a plain loop, in the order of region_id, whatever the number of actors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from raylab.scoring.predict import Predictor, scoring_job
from raylab.scoring.reduce import principal_components
from raylab.training.step import image_batches, prepare_process
from tests.configs import tiny_run
from tests.training.test_trainer import Silent

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("free_resources")]


@pytest.mark.parametrize("scorers", [1, 2])
def test_table_equals_that_of_a_plain_loop(tmp_path: Path, scorers: int) -> None:
    config = tiny_run(str(tmp_path), compute=ComputeConfig(scorers=scorers))
    dataset = open_dataset(config.data)
    regions = RegionGrid(dataset.image_sizes("train"), config.regions.size)
    model = build_model(config.model, len(dataset.classes), seed=3).eval()
    store = Folder(str(tmp_path))
    store.write_bytes("model.safetensors", save(dict(model.state_dict())))
    job = scoring_job(config, regions, len(dataset.classes), ("entropy", "margin"), features=True)

    table, cost = score(job, store, [("model.safetensors", None)], False, Silent())

    prepare_process(1)
    predict = Predictor(job, [model], torch.device("cpu"))
    plain: list[Any] = [
        predict(batch, [dataset.read_image("train", i) for i in batch])
        for batch in image_batches(dataset, "train", np.arange(regions.n_images), job.batch_size)
    ]
    maps, features = columns_of(table, regions.n_regions)
    for name in ("entropy", "margin"):
        np.testing.assert_array_equal(maps[name], np.concatenate([t[name].to_numpy() for t in plain]))
    rows = np.concatenate([np.stack(t["feature"].to_numpy()) for t in plain])
    np.testing.assert_allclose(features, principal_components(rows, job.pca), atol=1e-6)
    assert cost["peak_memory"] > 0
