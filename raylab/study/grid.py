"""The tasks of some studies, each once, named by what determines it: studies that have one in common name the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raylab.files import Folder
from raylab.runs import ResolvedRun, ResolvedStudy, RoundStore, RunStore

_ROUND0 = "round0:"
"""Before the identity of a round 0: the task of computing it."""


class Grid:
    """The tasks of some studies, each once.

    Args:
        studies: with their runs.

    Attributes:
        runs: by identity.
        pretrainings: a run that starts from each pre-trained model, by the model's folder.
        firsts: a run of each shared round 0, by the task that computes it.
        supervised: a study of each training on all masks, by its folder.
        plugins: modules that any of the studies loads.
        takeover: see `compute.takeover`; of the first study.
    """

    def __init__(self, studies: Sequence[ResolvedStudy]) -> None:
        self.runs = {run.identity: run for study in studies for run in study.runs}
        starts = [*self.runs.values(), *(study.shared for study in studies if study.config.supervised)]
        self.pretrainings = {run.pretrained_folder: run for run in starts if run.pretrained_folder is not None}
        self.firsts: dict[str, ResolvedRun] = {}
        for run in self.runs.values():
            self.firsts.setdefault(_ROUND0 + run.round0_identity, run)
        self.plugins = tuple(dict.fromkeys(plugin for study in studies for plugin in study.config.plugins))
        self.takeover = studies[0].config.run.compute.takeover
        self.supervised = {study.supervised_folder: study for study in studies if study.config.supervised}

    def phases(self, failed: set[str]) -> Sequence[list[str]]:
        """Tasks that need one another, in turn, without those that failed tasks make impossible."""

        def able(run: ResolvedRun) -> bool:
            return run.pretrained_folder not in failed

        firsts = [task for task, run in self.firsts.items() if able(run)]
        bounds = [folder for folder, study in self.supervised.items() if able(study.shared)]
        lost = {run.round0_identity for task, run in self.firsts.items() if task in failed}
        last = [identity for identity, run in self.runs.items() if able(run) and run.round0_identity not in lost]
        return [list(self.pretrainings), firsts, [*bounds, *last]]

    def hanging_on(self, task: str) -> set[str]:
        """The runs and trainings on all masks that cannot be done without a task, itself among them."""
        able = {name for phase in self.phases({task}) for name in phase} - {task}
        return {*self.runs, *self.supervised} - able

    def run_of(self, task: str) -> ResolvedRun:
        """The run whose configuration a task is done with."""
        if task in self.supervised:
            return self.supervised[task].shared
        return self.pretrainings.get(task) or self.firsts.get(task) or self.runs[task]

    def name_of(self, task: str) -> str:
        """A task as a person would call it."""
        if task in self.supervised or task in self.pretrainings:
            return self._who(task)
        config = self.run_of(task).config
        return f"{self._who(task)} N{config.regions.size} seed {config.seed}"

    def _who(self, task: str) -> str:
        if task in self.supervised:
            return "fully supervised"
        if task in self.pretrainings:
            return "pre-training"
        return "shared round 0" if task in self.firsts else self.run_of(task).strategy

    def settings_of(self, task: str) -> dict[str, Any]:
        """A task as a point of Tune's search space: `task`, and of its run what `ResolvedRun.settings` says.

        What several runs share has no strategy: in its place stands what it is.
        """
        settings = self.run_of(task).settings
        if task not in self.runs:
            kept = {name: settings[name] for name in ("data", "region_size", "seed")}
            settings = {**dict.fromkeys(settings), **kept, "strategy": self._who(task)}
        return {"task": task, **settings}

    def done(self, store: Folder, task: str) -> bool:
        """Whether the store holds all that a task makes.

        Args:
            store: of the results.
            task: its name.

        Raises:
            StoreError: it cannot be read, or what was committed is damaged.
        """
        if run := self.runs.get(task):
            return RunStore(store, run).finished()
        if run := self.firsts.get(task):
            trained = RunStore(store, run).round(0).record("train") is not None
            return trained and all(
                RunStore(store, other).scores(0).is_scored(maps, features)
                for other, maps, features in self.first_scores(run)
            )
        return RoundStore(store, task).record("train") is not None

    def first_scores(self, run: ResolvedRun) -> list[tuple[ResolvedRun, list[str], bool]]:
        """What the runs that share a round 0 ask of its scores, which lie in several region tables.

        Returns:
            For each table a run that reads it, the maps, and whether features are asked for.
        """
        if not run.config.budget.rounds:
            return []
        tables: dict[str, list[ResolvedRun]] = {}
        for other in self.sharing(run):
            tables.setdefault(other.scores_name, []).append(other)
        return [
            (
                alike[0],
                sorted({name for other in alike for name in other.acquisition.maps}),
                any(other.acquisition.needs_features for other in alike),
            )
            for _, alike in sorted(tables.items())
        ]

    def sharing(self, run: ResolvedRun) -> list[ResolvedRun]:
        """The runs that have their round 0 in common with a run."""
        return [other for other in self.runs.values() if other.round0_identity == run.round0_identity]
