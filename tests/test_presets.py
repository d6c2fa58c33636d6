"""The presets: the paper's own protocol runs as it stands, on one image of its size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raylab.config import ComputeConfig, DataConfig, PretrainingConfig, RunConfig, SyntheticConfig
from raylab.config.load import presets, read_preset
from raylab.data import open_dataset
from raylab.regions import RegionGrid
from raylab.scoring.predict import Predictor, scoring_job
from raylab.training.job import training_job
from raylab.training.step import prepare_process, train

SCENES = DataConfig(synthetic=SyntheticConfig(train_images=2, val_images=1, height=1024, width=2048))


@pytest.mark.slow  # 3 GB for each
@pytest.mark.parametrize("name", ["cityscapes", "cityscapes-fpn"])
def test_one_step_at_513_and_one_image_of_cityscapes_size(name: str) -> None:
    config = read_preset(RunConfig, name)
    assert (config.training.crop, config.training.batch_size, config.training.epochs) == (513, 16, 100)
    config = config.model_copy(
        update={
            "data": SCENES,
            "model": config.model.model_copy(update={"weights": "random"}),
            "training": config.training.model_copy(update={"iterations": 1, "batch_size": 2}),
            "pretraining": PretrainingConfig(),
            "compute": ComputeConfig(workers=0, threads=2),
        }
    )
    dataset = open_dataset(SCENES)
    regions = RegionGrid(dataset.image_sizes("train"), config.regions.size)
    prepare_process(config.compute.threads)
    trained = train(
        training_job(config, regions, 19, np.arange(regions.n_regions)), torch.device("cpu"), lambda *_: None
    )
    assert 1 < trained.losses[0] < 6
    job = scoring_job(config, regions, 19, ("entropy",), features=True)
    table = Predictor(job, [trained.model], torch.device("cpu"))([0], [dataset.read_image("train", 0)])
    assert len(table) == 8 * 16
    assert table.schema.field("feature").type.list_size == 256
    assert 0 < table["entropy"].to_numpy().mean() < np.log(19)


def test_regions_of_the_papers_pools() -> None:
    sizes = [(1024, 2048)] * 2975
    assert RegionGrid(sizes, read_preset(RunConfig, "cityscapes").regions.size).n_regions == 380_800
    assert read_preset(RunConfig, "cityscapes").budget.total == 32_000
    assert read_preset(RunConfig, "cityscapes-fpn").budget.total == 16_000


def test_the_papers_two_data_sets_differ_in_the_region_and_the_rate() -> None:
    first, second = read_preset(RunConfig, "cityscapes"), read_preset(RunConfig, "voc2012")
    assert (first.regions.size, second.regions.size) == (128, 32)
    assert (first.training.learning_rate, second.training.learning_rate) == (0.01, 0.007)
    assert first.model == second.model


def test_every_preset_is_read_and_described() -> None:
    for name, line in presets().items():
        assert read_preset(RunConfig, name).data.name in name.replace("-fpn", "")
        assert len(line) > 20
