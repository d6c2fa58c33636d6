"""The three expensive steps on Ray: what computes asks Ray for what it uses, and waits until it gets it."""

from __future__ import annotations

from typing import Any

import ray
from ray.util import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raylab.backends.devices import ON_DEMAND, Devices
from raylab.backends.selector_actor import SelectorActor
from raylab.files import Folder
from raylab.progress import Progress
from raylab.regions import Regions
from raylab.runs import ResolvedRun, RoundStore
from raylab.runs.rounds import checkpoints_name, model_name
from raylab.scoring.parts import Written
from raylab.scoring.pipeline import score
from raylab.scoring.predict import ScoringJob
from raylab.selection import Selection
from raylab.training.job import TrainingJob
from raylab.training.trainer import fit


class RayBackend:
    """`raylab.loop.Backend` on Ray Train, Ray Data and a selector actor.

    Args:
        run: whose steps it computes.
        store: of the results.
        devices: which of them ask for GPUs.
    """

    def __init__(self, run: ResolvedRun, store: Folder, devices: Devices) -> None:
        self.run = run
        self.store = store
        self.devices = devices
        self.selector: Any = None
        self.room: Any = None

    def train(self, job: TrainingJob, round_store: RoundStore, progress: Progress, member: int = 0) -> dict[str, Any]:
        """See `raylab.loop.Backend.train`."""
        self.close()
        progress("train", 0, job.iterations)
        folder, model = round_store.path(checkpoints_name(member)), round_store.path(model_name(member))
        return fit(job, self.store, folder, model, self.devices.network, progress)

    def score(
        self, job: ScoringJob, round_store: RoundStore, folder: str, progress: Progress
    ) -> tuple[list[Written], dict[str, Any]]:
        """See `raylab.loop.Backend.score`."""
        progress("score", 0, job.regions.n_regions)
        models = round_store.models(self.run.config.training.ensemble)
        return score(job, self.store, models, folder, self.devices.network, progress)

    def select(self, regions: Regions, round_index: int, k: int) -> tuple[Selection, dict[str, Any]]:
        """See `raylab.loop.Backend.select`."""
        if self.selector is None:
            self.selector = self._start_selector(regions)
        result: tuple[Selection, dict[str, Any]] = ray.get(self.selector.select.remote(round_index, k))
        return result

    def close(self) -> None:
        """End the selector, which holds CPUs or GPUs; it takes its state from the ledger when it is asked again."""
        if self.selector is not None:
            ray.kill(self.selector)
            self.selector = None
        if self.room is not None:
            remove_placement_group(self.room)
            self.room = None

    def _start_selector(self, regions: Regions) -> Any:
        use_gpu = self.devices.selection
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        # With several shards it works while they wait, and they while it waits.
        alone = (shards := self.run.config.compute.selectors) == 1
        if not alone:
            # All at once or none: runs that each had some of their shards would wait for each other for ever.
            self.room = placement_group([{"GPU" if use_gpu else "CPU": 1}] * shards, strategy="SPREAD")
        actor = ray.remote(SelectorActor).options(
            num_cpus=1 if alone and not use_gpu else 0,
            num_gpus=1 if alone and use_gpu else 0,
            max_restarts=-1,
            max_task_retries=3,
            # Beside the run, if there is room.
            label_selector=here,
            fallback_strategy=[{"label_selector": ON_DEMAND}, {"label_selector": {}}],
            # Outside the trial's placement group, which reserves nothing for it.
            scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=None),  # type: ignore[arg-type]
        )
        return actor.remote(self.run, self.store, regions, use_gpu, self.room)
