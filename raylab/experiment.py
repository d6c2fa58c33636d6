"""What the scripts in experiments/ share: one way in, `--plan`, `--smoke`, and running studies to their reports."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from raylab.config import (
    BudgetConfig,
    DataConfig,
    ModelConfig,
    PretrainingConfig,
    RegionConfig,
    RunConfig,
    ScoringConfig,
    StudyConfig,
    SyntheticConfig,
    TrainingConfig,
)
from raylab.config.load import presets, read_preset, refuse_without_effect
from raylab.config.options import parse
from raylab.errors import ConfigError, nearest
from raylab.files import brought_folder
from raylab.launch import launch

Options = TypeVar("Options", bound="Experiment")


class Experiment(BaseModel):
    """A table or figure of the paper as a grid of runs; a script names it and says which strategies it compares."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: ClassVar[str]
    """Study and MLflow parent run; the data set's name follows it."""
    paper: ClassVar[str]
    """Table or figure of the paper, whose printed values the report puts beside ours."""
    supervised: ClassVar[bool] = False
    """Whether the fully supervised bound belongs to it."""

    data: tuple[str, ...] = ("cityscapes", "voc2012")
    """Data sets: presets of raylab, each with the paper's settings for it; one study each."""
    root: tuple[str, ...] = ()
    """Folder or URI of each data set, raw or packed, in the order of `--data`."""
    storage: str = "raylab-results"
    """Folder or URI (s3://, gs://) under which every result lies; what lies there is not computed again."""
    strategies: tuple[str, ...] = ()
    """Strategies in place of the experiment's own: `entropy+spatial,tau=64`."""
    seeds: tuple[NonNegativeInt, ...] = (0, 1, 2)
    rounds: NonNegativeInt | None = None
    """Rounds after the first draw; when not given, all of the preset's."""
    supervised_iterations: PositiveInt = 30_000
    """Optimiser steps of the fully supervised bound."""
    plan: bool = False
    """Print the grid, what is shared, what remains, GPU hours and disk, and stop; needs no data."""
    smoke: bool = False
    """The same grid, tiny, on generated scenes: minutes on two cores, and no meaning in its numbers."""
    resume: bool = False
    """Go on with studies that were begun, and refuse to begin one: a mistyped storage root is noticed."""
    run: RunConfig = RunConfig()
    """What all runs share: the preset's, unless changed here (`--run.compute.workers 4`)."""

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """The strategies that are compared, given what all runs share."""
        raise NotImplementedError

    def sizes(self, run: RunConfig) -> tuple[int, ...]:
        """Region sizes that are compared; none where that is not the question."""
        return ()

    def smoke_run(self) -> RunConfig:
        """What all runs share under `--smoke`."""
        return smoke(self.run)

    def study(self, index: int) -> StudyConfig:
        """The study on one of the data sets.

        Args:
            index: of the data set in `data`.
        """
        run = self.smoke_run() if self.smoke else self.run
        changes: dict[str, Any] = {"storage": self.storage}
        if self.root and not self.smoke:
            changes["data"] = run.data.model_copy(update={"root": self.root[index]})
        if self.rounds is not None:
            rounds = run.budget.rounds[: self.rounds]
            changes["budget"] = run.budget.model_copy(update={"rounds": rounds})
        run = run.model_copy(update=changes)
        return StudyConfig(
            name=f"{self.name}-{'smoke' if self.smoke else self.data[index]}",
            paper=self.paper,
            run=run,
            strategies=self.strategies or self.compared(run),
            seeds=self.seeds[:1] if self.smoke else self.seeds,
            region_sizes=self.sizes(run),
            supervised=self.supervised,
            supervised_iterations=8 if self.smoke else self.supervised_iterations,
        )


def studies(model: type[Options], args: Sequence[str], prog: str, description: str | None) -> list[StudyConfig]:
    """The studies that a script's options ask for, one a data set.

    Args:
        model: of the experiment.
        args: of the command line.
        prog: name shown in the help.
        description: shown in the help.

    Raises:
        ConfigError: an option is unknown or does not fit; `--resume` finds no study.
    """
    first = parse(model, args, prog, description)
    refuse_without_effect(first.run, {"storage": "--storage", "seed": "--seeds", "strategy": "--strategies"})
    if first.smoke:
        # Generated scenes are no data set of the list, so one study stands for all.
        return [first.study(0)]
    if first.root and len(first.root) != len(first.data):
        raise ConfigError(f"--root: {len(first.root)} folders for the data sets {', '.join(first.data)}; give one each")
    _check_names(first)
    options = [parse(model, args, prog, default=read_preset(model, name)) for name in first.data]
    return [one.study(index) for index, one in enumerate(options)]


def experiments() -> dict[str, str]:
    """The scripts by name, each with the first line of its description: the table or figure that it makes."""
    return {
        file.stem: (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        for file in sorted(brought_folder("experiments").glob("*.py"))
    }


def _check_names(options: Experiment) -> None:
    if not options.data:
        raise ConfigError(f"--data: name at least one of {', '.join(presets())}")
    for name in options.data:
        if name not in presets():
            raise ConfigError(
                f"--data: no data set {name!r}{nearest(name, presets())}; there are {', '.join(presets())}"
            )


def main(model: type[Experiment], description: str | None) -> None:
    """A script: read the options, run the studies to their reports, or print the plan.

    Args:
        model: of the experiment.
        description: the script's page, shown in the help.
    """
    from raylab.errors import exit_cleanly

    with exit_cleanly():
        args = sys.argv[1:]
        prog = os.path.basename(sys.argv[0])
        options = parse(model, args, prog, description)
        launch(studies(model, args, prog, description), plan=options.plan, resume=options.resume)


def smoke(run: RunConfig) -> RunConfig:
    """The smallest run that goes through every stage: generated scenes, seconds a round, no meaning in its numbers."""
    asked = "workers" in run.compute.model_fields_set
    scenes = SyntheticConfig(train_images=8, val_images=4, height=64, width=96)
    return RunConfig(
        plugins=run.plugins,
        data=DataConfig(synthetic=scenes),
        regions=RegionConfig(size=16),
        model=ModelConfig(backbone="tf_efficientnet_lite0", channels=32, dropout=0.1),
        training=TrainingConfig(
            iterations=8, batch_size=4, crop=64, crop_tries=5, head_rate_factor=10, frozen_backbone=True, norm_images=8
        ),
        pretraining=PretrainingConfig(data=DataConfig(synthetic=scenes.model_copy(update={"seed": 1}))),
        scoring=ScoringConfig(batch_size=4, pca=8, passes=3),
        budget=BudgetConfig(initial=16, rounds=(16,)),
        # Processes of their own for each stage take longer to start than these stages take.
        compute=run.compute if asked else run.compute.model_copy(update={"workers": 0}),
        tracking=run.tracking,
        experiment=run.experiment,
    )
