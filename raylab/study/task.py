"""What is to be done for some studies: a pre-training, a shared round 0, a run, or a training on all masks.

A task is named by what determines its result, so studies that have one in common name the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from raylab.data import open_dataset
from raylab.files import Folder
from raylab.lease import leased
from raylab.loop import Backend, Loop, commit_training, labelled_share, pretrained_model
from raylab.pool import pool_regions
from raylab.progress import Progress
from raylab.regions import RegionGrid
from raylab.runs import ResolvedRun, RoundStore, RunStore
from raylab.runs.identity import default_facts, facts_of, pretraining_facts, supervised_facts
from raylab.runs.rounds import IDENTITY, same_or_new
from raylab.study.grid import Grid
from raylab.training.job import TrainingJob, training_job


class Tasks:
    """Does the tasks of some studies, and ends what it started for each.

    Args:
        grid: of the studies.
        store: of the results.
        backend_of: gives a run's backend.
    """

    def __init__(self, grid: Grid, store: Folder, backend_of: Callable[[ResolvedRun], Backend]) -> None:
        self.grid = grid
        self.store = store
        self.backend_of = backend_of

    def do(self, task: str, progress: Progress) -> None:
        """Do a task, unless it is done.

        Args:
            task: its name.
            progress: told of every step.

        Raises:
            LeaseLostError: this process showed no sign of life for so long that another one has taken the task over.
            RaylabError: another error that the user can fix.
        """
        # Another driver on this storage root may want the same; who comes second finds it done.
        with leased(self.store, task, self.grid.takeover, progress) as lease:
            Tasks(self.grid, self.store.fenced(lease.check), self.backend_of)._do(task, progress)

    def _do(self, task: str, progress: Progress) -> None:
        if task in self.grid.supervised:
            self._supervised(task, progress)
        elif task in self.grid.pretrainings:
            self._pretraining(task, progress)
        elif task in self.grid.firsts:
            self._first_round(self.grid.firsts[task], progress)
        else:
            with self._loop(self.grid.runs[task], progress) as loop:
                loop.run()

    @contextmanager
    def _loop(self, run: ResolvedRun, progress: Progress) -> Iterator[Loop]:
        with closing(self.backend_of(run)) as backend:
            yield Loop(run, self.store, backend, progress)

    def _first_round(self, run: ResolvedRun, progress: Progress) -> None:
        with self._loop(run, progress) as loop:
            loop.select(0)
            loop.train(0)
        for other, maps, features in self.grid.first_scores(run):
            with self._loop(other, progress) as loop:
                loop.score(0, maps, features)

    def _supervised(self, folder: str, progress: Progress) -> None:
        study = self.grid.supervised[folder]
        run, iterations = study.shared, study.config.supervised_iterations
        same_or_new(
            self.store, f"{folder}/{IDENTITY}", supervised_facts(facts_of(run), iterations), default_facts(run.config)
        )
        dataset = open_dataset(run.config.data)
        regions = pool_regions(run, dataset, self.store, progress)
        start, start_sha256 = pretrained_model(run, self.store), RunStore(self.store, run).start_sha256()
        job = training_job(run.config, regions, len(dataset.classes), None, iterations, start)
        everything = labelled_share(regions, np.arange(regions.n_regions))
        self._train_alone(folder, run, job, progress, start_sha256, everything)

    def _pretraining(self, folder: str, progress: Progress) -> None:
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
        progress: Progress,
        start_sha256: str | None,
        budget: dict[str, Any],
    ) -> None:
        """A training that no selection precedes; its ensemble has one member."""
        job = dataclasses.replace(job, training=job.training.model_copy(update={"ensemble": 1}))
        dataset = open_dataset(run.config.data)
        with closing(self.backend_of(run)) as backend:
            commit_training(RoundStore(self.store, folder), job, dataset, backend, progress, start_sha256, budget)
