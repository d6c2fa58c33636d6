"""What the trials of some studies do: a pre-training, a shared round 0, a run, or a training on all masks.

A task is named by what determines its result, so studies that have one in common name the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray

from raylab.config import RunConfig, StudyConfig
from raylab.data import open_dataset
from raylab.errors import RaylabError
from raylab.loop import Loop, commit_training, labelled_share, pool_regions, pretrained_folder, pretrained_model
from raylab.regions import RegionGrid
from raylab.store import RoundStore, Store
from raylab.store.rounds import same_or_new
from raylab.study.services import BoardProgress, Notice
from raylab.study.stages import RayStages
from raylab.training.job import TrainingJob, training_job

_ROUND0 = "round0:"
"""Before the identity of a round 0: the task of computing it."""


def supervised_folder(config: StudyConfig) -> str:
    """Where the fully supervised bound of the first seed lies."""
    key = config.run.model_copy(update={"seed": config.seeds[0]}).supervised_identity()
    return f"supervised/{key}-{config.supervised_iterations or 'as-round'}"


class Grid:
    """The tasks of some studies, each once.

    Args:
        configs: of the studies.

    Attributes:
        runs: by label.
        pretrainings: configuration of a run, by the folder of the model that it starts from.
        firsts: a run of each shared round 0, by the task that computes it.
        supervised: a study of each training on all masks, by its folder.
    """

    def __init__(self, configs: Sequence[StudyConfig]) -> None:
        self.runs = {run.label: run for config in configs for run in config.runs()}
        starts = [*self.runs.values(), *(config.run for config in configs if config.supervised)]
        self.pretrainings = {pretrained_folder(run): run for run in starts if run.pretraining.iterations}
        self.firsts: dict[str, RunConfig] = {}
        for run in self.runs.values():
            self.firsts.setdefault(_ROUND0 + run.round0_identity(), run)
        self.supervised = {supervised_folder(config): config for config in configs if config.supervised}

    def phases(self, failed: set[str]) -> Sequence[list[str]]:
        """Tasks that need one another, in turn, without those that failed tasks make impossible."""

        def able(run: RunConfig) -> bool:
            return not (run.pretraining.iterations and pretrained_folder(run) in failed)

        firsts = [task for task, run in self.firsts.items() if able(run)]
        bounds = [folder for folder, config in self.supervised.items() if able(config.run)]
        lost = {run.round0_identity() for task, run in self.firsts.items() if task in failed}
        last = [label for label, run in self.runs.items() if able(run) and run.round0_identity() not in lost]
        return [list(self.pretrainings), firsts, [*bounds, *last]]

    def name_of(self, task: str) -> str:
        """A task as a person would call it."""
        if task in self.supervised:
            return "fully supervised"
        if task in self.pretrainings:
            return "pre-training"
        run = self.firsts.get(task) or self.runs[task]
        who = "all strategies" if task in self.firsts else run.strategy.label
        return f"{who} N{run.regions.size} seed {run.seed}"

    def sharing(self, run: RunConfig) -> list[RunConfig]:
        """The runs that have their round 0 in common with a run."""
        return [other for other in self.runs.values() if other.round0_identity() == run.round0_identity()]


class Task:
    """What a trial calls; pickles into it.

    Args:
        grid: of the studies.
        store: of the results.
        gate: actor handle of the `Gate`.
        board: actor handle of the `Board`.
        use_gpu: whether workers and scorers get a GPU each.
    """

    def __init__(self, grid: Grid, store: Store, gate: Any, board: Any, use_gpu: bool) -> None:
        self.grid = grid
        self.store = store
        self.gate = gate
        self.board = board
        self.use_gpu = use_gpu
        self.__name__ = "raylab"

    def __call__(self, trial: dict[str, str]) -> None:
        """Do the task that a trial names, unless it is done."""
        task = trial["task"]
        progress = BoardProgress(self.board, task)
        try:
            # Another driver on this storage root may want the same; who comes second finds it done.
            with self.store.lock(task):
                self._work(task, progress)
            self._post(Notice(task, 0, "done"))
        except RaylabError as error:
            # The user's to mend, so trying again would not help.
            self._post(Notice(task, 0, "failed", note=str(error)))
        finally:
            ray.get(self.gate.leave.remote(task))

    def _work(self, task: str, progress: BoardProgress) -> None:
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

    def _loop(self, run: RunConfig, task: str, progress: BoardProgress) -> Loop:
        return Loop(run, self.store, RayStages(run, self.store, self.gate, task, self.use_gpu), progress)

    def _first_round(self, loop: Loop, task: str, progress: BoardProgress) -> None:
        loop.select(0)
        loop.train(0)
        if not loop.config.budget.rounds:
            return
        sharing = self.grid.sharing(loop.config)
        for pca in sorted({other.pca for other in sharing}):
            alike = [other for other in sharing if other.pca == pca]
            needs = [other.strategy.acquisition() for other in alike]
            maps = sorted({name for a in needs for name in a.maps})
            scorer = self._loop(alike[0], task, progress)
            scorer.score(0, maps, any(a.needs_features for a in needs))

    def _supervised(self, folder: str, progress: BoardProgress) -> None:
        config = self.grid.supervised[folder]
        run = config.run.model_copy(update={"seed": config.seeds[0]})
        dataset = open_dataset(run.data)
        regions = pool_regions(run, dataset, self.store, progress)
        start = pretrained_model(run, self.store)
        job = training_job(run, regions, len(dataset.classes), None, config.supervised_iterations, start)
        everything = labelled_share(regions, np.arange(regions.n_regions))
        self._train_alone(folder, run, job, progress, everything)

    def _pretraining(self, folder: str, progress: BoardProgress) -> None:
        run = self.grid.pretrainings[folder]
        # The same for all seeds, as its folder is.
        run = run.model_copy(update={"data": run.pretraining.data, "seed": 0})
        dataset = open_dataset(run.data)
        same_or_new(self.store, f"{folder}/data.json", {"data_fingerprint": dataset.fingerprint()})
        regions = RegionGrid(dataset.image_sizes("train"), 1)
        job = training_job(run, regions, len(dataset.classes), None, run.pretraining.iterations)
        self._train_alone(folder, run, job, progress, {})

    def _train_alone(
        self, folder: str, run: RunConfig, job: TrainingJob, progress: BoardProgress, budget: dict[str, Any]
    ) -> None:
        """A training that no selection precedes; its ensemble has one member."""
        job = dataclasses.replace(job, training=job.training.model_copy(update={"ensemble": 1}))
        stages = RayStages(run, self.store, self.gate, folder, self.use_gpu)
        commit_training(RoundStore(self.store, folder), job, open_dataset(run.data), stages, progress, budget)

    def _post(self, notice: Notice) -> None:
        ray.get(self.board.post.remote(notice))
