"""Ray Train: two workers train as one would, and a training resumes exactly where it was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raylab.config import ComputeConfig, ModelConfig, RunConfig
from raylab.data import open_dataset
from raylab.data.classes import IGNORE
from raylab.files import Folder
from raylab.regions import RegionGrid
from raylab.training.crops import Crops
from raylab.training.job import TrainingJob, training_job
from raylab.training.step import train
from raylab.training.trainer import fit
from tests.configs import tiny_run

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("free_resources")]


class Silent:
    """A `Progress` that takes no note."""

    round_index = 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Nothing."""


def job_of(config: RunConfig, labelled: Any) -> TrainingJob:
    dataset = open_dataset(config.data)
    return training_job(
        config, RegionGrid(dataset.image_sizes("train"), config.regions.size), len(dataset.classes), labelled
    )


def job_for(workers: int, labelled: Any) -> TrainingJob:
    # The pre-trained backbone and a small rate: with random weights each step multiplies a rounding error by a
    # thousand, and after three steps nothing could be said of gradients.
    config = tiny_run(model=ModelConfig(channels=16), compute=ComputeConfig(workers=workers))
    changes = {"learning_rate": 0.005, "batch_size": 8, "crop": 32, "crop_tries": 1}
    return job_of(config.model_copy(update={"training": config.training.model_copy(update=changes)}), labelled)


def fit_with(workers: int, tmp_path: Path, labelled: Any) -> dict[str, Any]:
    store = Folder(str(tmp_path / f"{workers}"))
    return fit(job_for(workers, labelled), store, "training", "model.safetensors", False, Silent())


def unlabelled_shares(job: TrainingJob, workers: int) -> int:
    """How often a worker's whole share of a global batch has no labelled pixel, though the batch has some."""
    crops = Crops(job, np.zeros(3, np.uint8))
    size = job.training.batch_size
    known = np.array([bool((crops[k][1] != IGNORE).any()) for k in range(job.iterations * size)])
    shares = known.reshape(job.iterations, size // workers, workers).any(1)
    return int((shares.any(1) & ~shares.all(1)).sum())


@pytest.mark.parametrize(
    "labelled", [np.arange(0, 192, 5), np.array([40])], ids=["all-workers-labelled", "one-worker-unlabelled"]
)
def test_two_workers_give_the_losses_of_one(tmp_path: Path, labelled: Any) -> None:
    assert bool(unlabelled_shares(job_for(2, labelled), 2)) == (len(labelled) == 1)
    one, two = (fit_with(workers, tmp_path, labelled) for workers in (1, 2))
    assert np.isfinite(two["losses"]).all()
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-3)


def test_training_in_process_equals_one_ray_worker_bitwise(tmp_path: Path) -> None:
    labelled = np.arange(0, 192, 5)
    none, one = (fit_with(workers, tmp_path, labelled) for workers in (0, 1))
    assert none["losses"] == one["losses"]
    assert none["confusion"] == one["confusion"]


@pytest.mark.parametrize("images", [1, 3, 4])
def test_norms_are_measured_whatever_number_of_images_is_labelled(images: int) -> None:
    config = tiny_run()  # batches of three images, 24 regions an image
    training = config.training.model_copy(update={"norm_images": 8, "iterations": 2})
    job = job_of(config.model_copy(update={"training": training}), 24 * np.arange(images))
    trained = train(job, torch.device("cpu"), lambda *_: None)
    assert all(torch.isfinite(tensor).all() for tensor in trained.model.state_dict().values())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_resumed_training_equals_an_uninterrupted_one_bitwise(dropout: float) -> None:
    job = job_of(tiny_run(model=ModelConfig(weights="random", channels=16, dropout=dropout)), np.arange(0, 192, 5))
    states: dict[int, Any] = {}

    def keep(done: int, loss: Any, state: Any) -> None:
        if done == 2:
            states[done] = {key: value for key, value in state().items()}
            states[done]["model"] = {k: v.clone() for k, v in states[done]["model"].items()}
            states[done]["optimiser"] = torch.load(_saved(states[done]["optimiser"]), weights_only=True)

    whole = train(job, torch.device("cpu"), keep)
    torch.manual_seed(99)  # nothing of the process may matter
    resumed = train(job, torch.device("cpu"), lambda *_: None, resume=states[2])
    assert resumed.losses == whole.losses
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def _saved(value: Any) -> Any:
    import io

    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return buffer
