"""The tasks of some studies, each once, named by what determines it: studies that have one in common name the same."""

from __future__ import annotations

from collections.abc import Sequence

from raylab.config import RunConfig, StudyConfig
from raylab.loop import pretrained_folder

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
        plugins: modules that any of the studies loads.
    """

    def __init__(self, configs: Sequence[StudyConfig]) -> None:
        self.runs = {run.label: run for config in configs for run in config.runs()}
        starts = [*self.runs.values(), *(config.run for config in configs if config.supervised)]
        self.pretrainings = {pretrained_folder(run): run for run in starts if run.pretraining.iterations}
        self.firsts: dict[str, RunConfig] = {}
        for run in self.runs.values():
            self.firsts.setdefault(_ROUND0 + run.round0_identity(), run)
        self.plugins = tuple(dict.fromkeys(plugin for config in configs for plugin in config.plugins))
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
