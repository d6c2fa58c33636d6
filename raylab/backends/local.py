"""The three expensive steps in the calling process: a run without Ray, or one that a trial of Ray computes alone."""

from __future__ import annotations

import time
from typing import Any

import torch

from raylab.backends.selector import RunSelector
from raylab.config import ComputeConfig
from raylab.errors import ResourceError
from raylab.files import Folder
from raylab.progress import Progress, peak_memory
from raylab.regions import Regions
from raylab.runs import ResolvedRun, RoundStore
from raylab.runs.rounds import checkpoints_name, model_name
from raylab.scoring.parts import Written
from raylab.scoring.predict import ScoringJob, score_in_process
from raylab.selection import LocalShards, Selection, array_namespace
from raylab.training.job import TrainingJob
from raylab.training.session import fit_in_process


class LocalBackend:
    """`raylab.loop.Backend` in this process: the same jobs, files and results as on Ray, one after another.

    A training that is stopped goes on after its last checkpoint, as on Ray. `compute.workers`, `compute.scorers`,
    `compute.selectors` and the CPUs they ask for have no effect.

    Args:
        run: whose steps it computes.
        store: of the results.
        device: where it computes; when None that of `device_of`.

    Raises:
        ResourceError: `compute.device` is cuda and there is no GPU.
    """

    def __init__(self, run: ResolvedRun, store: Folder, device: torch.device | None = None) -> None:
        self.run = run
        self.store = store
        self.device = device or device_of(run.config.compute)
        self.selector: RunSelector | None = None

    def train(self, job: TrainingJob, round_store: RoundStore, progress: Progress, member: int = 0) -> dict[str, Any]:
        """See `raylab.loop.Backend.train`."""
        progress("train", 0, job.iterations)
        folder, model = round_store.path(checkpoints_name(member)), round_store.path(model_name(member))
        return fit_in_process(job, self.store, folder, model, self.device, progress)

    def score(
        self, job: ScoringJob, round_store: RoundStore, folder: str, progress: Progress
    ) -> tuple[list[Written], dict[str, Any]]:
        """See `raylab.loop.Backend.score`."""
        start = time.perf_counter()
        progress("score", 0, job.regions.n_regions)
        models = round_store.models(self.run.config.training.ensemble)
        parts = score_in_process(job, self.store, models, folder, self.device, progress)
        return parts, {"seconds": time.perf_counter() - start, "peak_memory": peak_memory()}

    def select(self, regions: Regions, round_index: int, k: int) -> tuple[Selection, dict[str, Any]]:
        """See `raylab.loop.Backend.select`."""
        if self.selector is None:
            shards = LocalShards(regions, self.run.acquisition, 1, array_namespace(self.device.type == "cuda"))
            self.selector = RunSelector(self.run, self.store, regions, shards)
        return self.selector.select(round_index, k)

    def close(self) -> None:
        """Forget the selector's state."""
        self.selector = None


def device_of(compute: ComputeConfig) -> torch.device:
    """The device of a run in this process.

    Raises:
        ResourceError: `device` is cuda and there is no GPU.
    """
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("compute.device: cuda needs a GPU, and torch finds none here; use auto or cpu")
    return torch.device("cpu" if compute.device == "cpu" or not torch.cuda.is_available() else "cuda")
