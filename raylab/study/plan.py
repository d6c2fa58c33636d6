"""What a study will cost, and whether it can start at all: checked before any time is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raylab.config import ComputeConfig, RunConfig, StudyConfig
from raylab.data import open_dataset
from raylab.errors import ConfigError, ResourceError
from raylab.loop import pool_grid
from raylab.models import build_model
from raylab.training.job import training_job


@dataclass(frozen=True)
class Plan:
    """Sizes of a study.

    Attributes:
        runs: in the grid.
        trainings: that will be done, the fully supervised one included.
        trainings_saved: by training round 0 once for all strategies.
        iterations: optimiser steps in all.
        crops: that those steps see.
        images_scored: forward passes of pool images.
        images_evaluated: forward passes of validation images.
        pool_images: images in the pool.
        pool_regions: regions in the pool, by N.
        regions_labelled: per run, by N.
        disk_bytes: of models, region tables and ledgers, about.
    """

    runs: int
    trainings: int
    trainings_saved: int
    iterations: int
    crops: int
    images_scored: int
    images_evaluated: int
    pool_images: int
    pool_regions: dict[int, int]
    regions_labelled: dict[int, int]
    disk_bytes: int

    def lines(self) -> list[str]:
        """The plan, for a person."""
        regions = ", ".join(f"{n:,} of {size}x{size}" for size, n in self.pool_regions.items())
        labelled = ", ".join(f"{n:,}" for n in self.regions_labelled.values())
        return [
            f"runs               {self.runs}",
            f"trainings          {self.trainings} ({self.trainings_saved} saved by sharing round 0)",
            f"iterations         at most {self.iterations:,} ({self.crops:,} crops)",
            f"pool               {self.pool_images:,} images, {regions} regions",
            f"labelled by a run  {labelled} regions",
            f"images scored      {self.images_scored:,}",
            f"images evaluated   {self.images_evaluated:,}",
            f"disk               about {self.disk_bytes / 2**20:,.0f} MiB",
        ]


def check_study(config: StudyConfig, cpus: float | None = None, gpus: float | None = None) -> None:
    """Find every mistake that can be found before the first training.

    Args:
        config: of the study.
        cpus: that Ray has; not checked when None.
        gpus: likewise.

    Raises:
        DataError: the data set's folder is not as it must be.
        ConfigError: a strategy, N or backbone that cannot work.
        WeightsError: no pre-trained weights.
        BudgetError: the pool is smaller than the budget.
        ResourceError: a stage holds more than there is.
    """
    runs = config.runs()
    if not config.name.strip(".") or set(config.name) & {"/", "\\"}:
        raise ConfigError(f"name: {config.name!r} cannot be the name of a folder; give one without slashes")
    dataset = open_dataset(config.run.data)
    grids = {run.regions.size: run for run in [*runs, *[config.run] * config.supervised]}
    for run in grids.values():
        pool_grid(run, dataset)
    compute, training = config.run.compute, config.run.training
    if training.batch_size < max(2, compute.workers):
        raise ConfigError(
            f"training.batch_size: {training.batch_size} crops cannot be shared by {compute.workers} workers, and "
            "batch norm needs two; raise it or lower compute.workers"
        )
    low, high = training.scale
    if not 0 < low <= high:
        raise ConfigError(f"training.scale: ({low}, {high}) is no range of positive factors")
    if cpus is not None:
        check_resources(compute, cpus, gpus or 0)
    build_model(config.run.model, len(dataset.classes), seed=0)


def check_resources(compute: ComputeConfig, cpus: float, gpus: float) -> None:
    """Whether the largest stage fits.

    Raises:
        ResourceError: it says the sum that does not.
    """
    training = f"compute.workers: {max(compute.workers, 1)} x {compute.cpus_per_worker:g}"
    scoring = f"compute.scorers: {compute.scorers} x {compute.cpus_per_scorer:g} + {compute.cpus_for_reading:g} to read"
    for sum_, amount in ((training, compute.training_cpus), (scoring, compute.scoring_cpus)):
        if amount > cpus:
            raise ResourceError(f"{sum_} = {amount:g} CPUs are needed at once, but Ray has {cpus:g}; lower it")
    wanted = max(compute.workers, compute.scorers, 1)
    if compute.device == "cuda" and gpus < wanted:
        raise ResourceError(f"compute.device: cuda needs {wanted} GPUs at once, but Ray has {gpus:g}; use auto or cpu")


def plan_study(config: StudyConfig) -> Plan:
    """Add up a study; raises what `check_study` raises."""
    check_study(config)
    runs = config.runs()
    dataset = open_dataset(config.run.data)
    n_classes = len(dataset.classes)
    grids = {run.regions.size: pool_grid(run, dataset) for run in runs}
    rounds = len(config.run.budget.rounds)
    firsts = {run.round0_identity(): run for run in runs}
    model = build_model(config.run.model.model_copy(update={"weights": "random"}), n_classes, seed=0)
    model_bytes = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    trainings, iterations, scorings, disk = int(config.supervised), 0, 0, 0
    if config.supervised:
        grid = next(iter(grids.values()))
        iterations += training_job(config.run, grid, n_classes, None, config.supervised_iterations).iterations
    for group, first_round, last_round in ((firsts.values(), 0, 1), (runs, 1, rounds + 1)):
        for run in group:
            grid = grids[run.regions.size]
            for t in range(first_round, last_round):
                trainings += 1
                iterations += _most_iterations(run, grid.n_images, t)
                if t < rounds and (dimension := _row_bytes(run, runs if t == 0 else [run])):
                    scorings += 1
                    disk += dimension * grid.n_regions
    return Plan(
        runs=len(runs),
        trainings=trainings,
        trainings_saved=len(runs) - len(firsts),
        iterations=iterations,
        crops=iterations * config.run.training.batch_size,
        images_scored=scorings * len(dataset.image_names("train")),
        images_evaluated=trainings * len(dataset.image_names("val")),
        pool_images=len(dataset.image_names("train")),
        pool_regions={size: grid.n_regions for size, grid in grids.items()},
        regions_labelled={run.regions.size: run.budget.total for run in runs},
        disk_bytes=disk + trainings * model_bytes,
    )


def _most_iterations(run: RunConfig, n_images: int, t: int) -> int:
    """Iterations of round t; with epochs, no more images can be labelled than regions are."""
    if run.training.iterations:
        return run.training.iterations
    images = min(n_images, run.budget.initial + sum(run.budget.rounds[:t]))
    return int(np.ceil(run.training.epochs * images / run.training.batch_size))


def _row_bytes(run: RunConfig, sharing: Sequence[RunConfig]) -> int:
    """Bytes of a region's row, as the strategies that share the table need it; 0 where none does."""
    needs = [other.strategy.acquisition() for other in sharing if other.regions.size == run.regions.size]
    if any(a.needs_features for a in needs):
        return 12 + 4 * min(run.scoring.pca, run.model.channels)
    return 12 if any(a.needs_uncertainty for a in needs) else 0
