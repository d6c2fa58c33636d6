"""Small trainings that the tests share."""

from __future__ import annotations

from typing import Any

from raylab.config import ModelConfig, RunConfig
from raylab.data import open_dataset
from raylab.regions import RegionGrid
from raylab.training.job import TrainingJob, training_job
from tests.configs import tiny_run


def job_of(config: RunConfig, labelled: Any) -> TrainingJob:
    dataset = open_dataset(config.data)
    return training_job(
        config, RegionGrid(dataset.image_sizes("train"), config.regions.size), len(dataset.classes), labelled
    )


def job_for(workers: int, labelled: Any, iterations: int = 4) -> TrainingJob:
    """Crops smaller than the images, so that some hold no labelled pixel, on the pre-trained backbone."""
    config = tiny_run(model=ModelConfig(channels=16))
    changes = {"learning_rate": 0.005, "batch_size": 8, "crop": 32, "crop_tries": 1, "iterations": iterations}
    update = {
        "training": config.training.model_copy(update=changes),
        "compute": config.compute.model_copy(update={"workers": workers}),
    }
    return job_of(config.model_copy(update=update), labelled)
