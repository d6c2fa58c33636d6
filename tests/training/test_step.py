"""The training loop: two workers make the step that one makes, and a training resumes exactly where it stopped."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from raylab.config import ModelConfig
from raylab.data.classes import IGNORE
from raylab.models import build_model
from raylab.training.crops import Crops
from raylab.training.job import TrainingJob
from raylab.training.step import prepare_process, torch_settings, train
from tests.configs import tiny_run
from tests.training.jobs import job_for, job_of

LABELLED = {"all-workers-labelled": np.arange(0, 192, 5), "one-worker-unlabelled": np.array([40])}


def labelled_crops(job: TrainingJob) -> list[bool]:
    """Which crops of the first global batch have a labelled pixel."""
    crops = Crops(job, np.zeros(3, np.uint8))
    return [bool((crops[k][1] != IGNORE).any()) for k in range(job.training.batch_size)]


def update_of(job: TrainingJob) -> dict[str, Tensor]:
    """What the first step changes, weights and running statistics of batch norms alike, computed in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        before = build_model(job.model, job.n_classes, job.seed).state_dict()
        after = train(job, torch.device("cpu"), lambda *_: None).model.state_dict()
        return {name: after[name] - value for name, value in before.items() if value.is_floating_point()}
    finally:
        torch.set_default_dtype(torch.float32)


def worker(rank: int, folder: str) -> None:
    """One of two: writes the update of each training, by rank 0."""
    prepare_process(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for name, labelled in LABELLED.items():
        update = update_of(job_for(2, labelled, iterations=1))
        if rank == 0:
            torch.save(update, f"{folder}/{name}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def updates_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    mp.spawn(worker, args=(str(folder),), nprocs=2)
    return folder


@pytest.mark.parametrize("name", LABELLED)
def test_two_workers_make_the_step_of_one(name: str, updates_of_two: Path) -> None:
    job = job_for(1, LABELLED[name], iterations=1)
    known = labelled_crops(job)
    assert any(known)
    assert (any(known[::2]) and any(known[1::2])) == (name == "all-workers-labelled")
    one, two = update_of(job), torch.load(updates_of_two / f"{name}.pt")
    for tensor, update in one.items():
        # Rounding is 1e-16; the tolerance leaves room for what batch norm makes of it on any processor.
        assert (two[tensor] - update).norm() <= 1e-6 * update.norm(), tensor
    assert sum(bool(update.any()) for update in one.values()) > 0.9 * len(one)


@pytest.mark.parametrize("images", [1, 3, 4])
def test_norms_are_measured_whatever_number_of_images_is_labelled(images: int) -> None:
    config = tiny_run()  # batches of three images, 24 regions an image
    training = config.training.model_copy(update={"norm_images": 8, "iterations": 2})
    job = job_of(config.model_copy(update={"training": training}), 24 * np.arange(images))
    trained = train(job, torch.device("cpu"), lambda *_: None)
    assert all(torch.isfinite(tensor).all() for tensor in trained.model.state_dict().values())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_resumed_training_equals_an_uninterrupted_one_bitwise(dropout: float) -> None:
    model = ModelConfig(weights="random", channels=16, dropout=dropout, aspp_dropout=dropout)
    training = tiny_run().training.model_copy(update={"norm_images": 8})
    job = job_of(tiny_run(model=model, training=training), np.arange(0, 192, 5))
    states: dict[int, Any] = {}

    def keep(done: int, loss: Any, state: Any) -> None:
        buffer = io.BytesIO()
        torch.save(state(), buffer)
        states[done] = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)

    whole = train(job, torch.device("cpu"), keep)
    torch.manual_seed(99)  # nothing of the process may matter
    resumed = train(job, torch.device("cpu"), lambda *_: None, resume=states[2])
    assert resumed.losses == whole.losses
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_settings_of_torch_end_with_the_block() -> None:
    before, tiny = torch.get_num_threads(), torch.tensor(1e-310, dtype=torch.float64)
    with suppress(ZeroDivisionError), torch_settings(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
    assert (tiny * 0.5).item() > 0
