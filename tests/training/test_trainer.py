"""Ray Train: a worker trains as the process of a run would, and two share batches and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raylab.files import Folder
from raylab.training.session import fit_in_process
from raylab.training.trainer import fit
from tests.progress import Silent
from tests.training.jobs import job_for

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def fit_with(workers: int, folder: Path) -> tuple[dict[str, Any], bytes]:
    """What a training gives, and its model's file."""
    store, job = Folder(str(folder / f"{workers}")), job_for(workers, np.arange(0, 192, 5))
    if workers:
        record = fit(job, store, "training", "model.safetensors", False, Silent())
    else:
        record = fit_in_process(job, store, "training", "model.safetensors", torch.device("cpu"), Silent())
    return record, store.read_bytes("model.safetensors")


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes]:
    return fit_with(0, tmp_path_factory.mktemp("none"))


def test_one_worker_equals_training_in_process_bitwise(in_process: Any, tmp_path: Path) -> None:
    (none, model), (one, worker_model) = in_process, fit_with(1, tmp_path)
    assert one["losses"] == none["losses"]
    assert one["confusion"] == none["confusion"]
    assert worker_model == model


def test_two_workers_share_batches_and_evaluation(in_process: Any, tmp_path: Path) -> None:
    none, two = in_process[0], fit_with(2, tmp_path)[0]
    # The first loss comes before any update; what updates make of rounding is the processor's (see test_step).
    assert two["losses"][0] == pytest.approx(none["losses"][0], rel=1e-3)
    assert np.isfinite(two["losses"]).all()
    assert np.sum(two["confusion"]) == np.sum(none["confusion"])
