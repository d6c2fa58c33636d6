"""What the trials of some studies do: a pre-training, a shared round 0, a run, or a training on all masks.

A task is named by what determines its result, so studies that have one in common name the same.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import ray

from raylab.backends.ray import RayBackend
from raylab.data import open_dataset
from raylab.errors import RaylabError
from raylab.files import Folder
from raylab.loop import Loop, commit_training, labelled_share, pretrained_model
from raylab.plugins import load
from raylab.pool import pool_regions
from raylab.regions import RegionGrid
from raylab.runs import ResolvedRun, RoundStore, RunStore
from raylab.runs.identity import default_facts, facts_of, pretraining_facts, supervised_facts
from raylab.runs.rounds import IDENTITY, same_or_new
from raylab.study.events import CollectedProgress, ProgressEvent
from raylab.study.grid import Grid
from raylab.training.job import TrainingJob, training_job


class Task:
    """What a trial calls; pickles into it.

    Args:
        grid: of the studies.
        store: of the results.
        resource_pool: actor handle of the `ResourcePool`.
        collector: actor handle of the `ProgressCollector`.
        use_gpu: whether workers and scorers get a GPU each.
    """

    def __init__(self, grid: Grid, store: Folder, resource_pool: Any, collector: Any, use_gpu: bool) -> None:
        self.grid = grid
        self.store = store
        self.resource_pool = resource_pool
        self.collector = collector
        self.use_gpu = use_gpu
        self.__name__ = "raylab"

    def __call__(self, trial: dict[str, str]) -> None:
        """Do the task that a trial names, unless it is done."""
        task = trial["task"]
        progress = CollectedProgress(self.collector, task)
        try:
            load(self.grid.plugins)
            # Another driver on this storage root may want the same; who comes second finds it done.
            with self.store.lock(task):
                self._work(task, progress)
            self._post(ProgressEvent(task, 0, "done"))
        except RaylabError as error:
            # The user can fix it, so trying again would not help.
            self._post(ProgressEvent(task, 0, "failed", note=str(error)))
        finally:
            ray.get(self.resource_pool.leave.remote(task))

    def _work(self, task: str, progress: CollectedProgress) -> None:
        if task in self.grid.supervised:
            self._supervised(task, progress)
        elif task in self.grid.pretrainings:
            self._pretraining(task, progress)
        else:
            first = self.grid.firsts.get(task)
            loop = self._loop(first or self.grid.runs[task], task, progress)
            if first:
                self._first_round(loop, task, progress)
            else:
                loop.run()

    def _loop(self, run: ResolvedRun, task: str, progress: CollectedProgress) -> Loop:
        return Loop(run, self.store, RayBackend(run, self.store, self.resource_pool, task, self.use_gpu), progress)

    def _first_round(self, loop: Loop, task: str, progress: CollectedProgress) -> None:
        loop.select(0)
        loop.train(0)
        if not loop.config.budget.rounds:
            return
        sharing = self.grid.sharing(loop.run_store.run)
        for pca in sorted({other.config.pca for other in sharing}):
            alike = [other for other in sharing if other.config.pca == pca]
            needs = [other.acquisition for other in alike]
            maps = sorted({name for a in needs for name in a.maps})
            scorer = self._loop(alike[0], task, progress)
            scorer.score(0, maps, any(a.needs_features for a in needs))

    def _supervised(self, folder: str, progress: CollectedProgress) -> None:
        study = self.grid.supervised[folder]
        run = study.shared
        same_or_new(self.store, f"{folder}/{IDENTITY}", supervised_facts(facts_of(run)), default_facts(run.config))
        dataset = open_dataset(run.config.data)
        regions = pool_regions(run, dataset, self.store, progress)
        start, start_sha256 = pretrained_model(run, self.store), RunStore(self.store, run).start_sha256()
        job = training_job(run.config, regions, len(dataset.classes), None, study.config.supervised_iterations, start)
        everything = labelled_share(regions, np.arange(regions.n_regions))
        self._train_alone(folder, run, job, progress, start_sha256, everything)

    def _pretraining(self, folder: str, progress: CollectedProgress) -> None:
        run = self.grid.pretrainings[folder]
        same_or_new(self.store, f"{folder}/{IDENTITY}", pretraining_facts(facts_of(run)), default_facts(run.config))
        # The same for all seeds, as its folder is.
        config = run.config.model_copy(update={"data": run.config.pretraining.data, "seed": 0})
        dataset = open_dataset(config.data)
        regions = RegionGrid(dataset.image_sizes("train"), 1)
        job = training_job(config, regions, len(dataset.classes), None, config.pretraining.iterations)
        run = dataclasses.replace(run, config=config)
        self._train_alone(folder, run, job, progress, run.inputs.weights, {})

    def _train_alone(
        self,
        folder: str,
        run: ResolvedRun,
        job: TrainingJob,
        progress: CollectedProgress,
        start_sha256: str | None,
        budget: dict[str, Any],
    ) -> None:
        """A training that no selection precedes; its ensemble has one member."""
        job = dataclasses.replace(job, training=job.training.model_copy(update={"ensemble": 1}))
        backend = RayBackend(run, self.store, self.resource_pool, folder, self.use_gpu)
        dataset = open_dataset(run.config.data)
        commit_training(RoundStore(self.store, folder), job, dataset, backend, progress, start_sha256, budget)

    def _post(self, event: ProgressEvent) -> None:
        ray.get(self.collector.post.remote(event))
