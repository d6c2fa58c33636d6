"""The three expensive steps on Ray, each once the resource pool has what it holds."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raylab.backends.resource_pool import inside
from raylab.backends.selector_actor import SelectorActor
from raylab.files import Folder
from raylab.progress import Progress
from raylab.regions import Regions
from raylab.runs import ResolvedRun, RoundStore
from raylab.runs.rounds import checkpoints_name, model_name
from raylab.scoring.pipeline import score
from raylab.scoring.predict import ScoringJob
from raylab.selection import Selection
from raylab.training.job import TrainingJob
from raylab.training.trainer import fit


class RayBackend:
    """`raylab.loop.Backend` on Ray Train, Ray Data and a selector actor that lives as long as the run.

    Args:
        run: whose steps it computes.
        store: of the results.
        resource_pool: actor handle of the study's `ResourcePool`.
        holder: name under which this run holds resources.
        use_gpu: whether workers and scorers get a GPU each.
    """

    def __init__(self, run: ResolvedRun, store: Folder, resource_pool: Any, holder: str, use_gpu: bool) -> None:
        self.run = run
        self.config = run.config
        self.store = store
        self.resource_pool = resource_pool
        self.holder = holder
        self.use_gpu = use_gpu
        self.selector: Any = None

    def train(self, job: TrainingJob, round_store: RoundStore, progress: Progress, member: int = 0) -> dict[str, Any]:
        """See `raylab.loop.Backend.train`."""
        compute = self.config.compute
        progress("wait", 0, 1)
        with inside(self.resource_pool, self.holder, compute.training_cpus, self.use_gpu * max(compute.workers, 1)):
            progress("train", 0, job.iterations)
            model = round_store.path(model_name(member))
            return fit(job, self.store, round_store.path(checkpoints_name(member)), model, self.use_gpu, progress)

    def score(self, job: ScoringJob, round_store: RoundStore, progress: Progress) -> tuple[pa.Table, dict[str, Any]]:
        """See `raylab.loop.Backend.score`."""
        compute = self.config.compute
        progress("wait", 0, 1)
        with inside(self.resource_pool, self.holder, compute.scoring_cpus, self.use_gpu * compute.scorers):
            start = time.perf_counter()
            progress("score", 0, job.regions.n_regions)
            models = round_store.models(self.config.training.ensemble)
            table, cost = score(job, self.store, models, self.use_gpu, progress)
            return table, {"seconds": time.perf_counter() - start, **cost}

    def select(
        self, regions: Regions, round_index: int, table: pa.Table | None, k: int
    ) -> tuple[Selection, dict[str, Any]]:
        """See `raylab.loop.Backend.select`."""
        if self.selector is None:
            self.selector = self._start_selector(regions)
        result: tuple[Selection, dict[str, Any]] = ray.get(self.selector.select.remote(round_index, table, k))
        return result

    def close(self) -> None:
        """End the selector; it takes its state from the ledger when it is asked again."""
        if self.selector is not None:
            ray.kill(self.selector)
            self.selector = None

    def _start_selector(self, regions: Regions) -> Any:
        # With num_gpus=0 Ray hides the GPUs; this lets the selector share one with the workers, who own it.
        env = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"} if self.use_gpu else {}
        actor = ray.remote(SelectorActor).options(
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=3,
            runtime_env={"env_vars": env} if env else None,
            # Outside the trial's placement group, which reserves nothing for it.
            scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=None),  # type: ignore[arg-type]
        )
        return actor.remote(self.run, self.store, regions)
