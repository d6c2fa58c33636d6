"""What studies will cost: the grid, what is shared, what remains to be done, GPU hours and disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from raylab.config import DataConfig, ModelConfig, RunConfig, StudyConfig
from raylab.data import FileDataset, dataset_row, open_dataset
from raylab.files import Folder
from raylab.models import build_model
from raylab.regions import RegionGrid
from raylab.runs import Inputs, ResolvedRun, RoundStore, RunStore, resolve_study
from raylab.runs.inputs import known_inputs
from raylab.runs.surveys import known_survey
from raylab.study.checks import check_grid, check_study
from raylab.study.grid import Grid
from raylab.training.job import training_job

SUSTAINED = 1e13
"""Floating-point operations a second of a GPU that hours are estimated by: what separable convolutions leave of one."""
_PROBE = 128
_NOT_LOOKED_UP = (
    "                   what is done here is not known before the data is read again (no hashes of it are kept under "
    "the storage root, or files have changed): everything counts as remaining"
)
_NOT_SURVEYED = (
    "                   no pixel of the data is read here, headers alone: `raylab check` reads them, and a study "
    "before it starts"
)


@dataclass(frozen=True)
class Pool:
    """What a plan needs of a data set.

    Attributes:
        sizes: (images, 2) heights and widths of the pool's images.
        val_images: images that are evaluated.
        n_classes: of the masks.
        nominal: whether these are the official set's numbers, the data not being there.
        surveyed: whether the set is known to be as a study needs it; otherwise only its files' headers are.
    """

    sizes: NDArray[np.int32]
    val_images: int
    n_classes: int
    nominal: bool
    surveyed: bool = True


@dataclass(frozen=True)
class Training:
    """One training of a plan.

    Attributes:
        folder: where its record lies or will lie.
        run: it belongs to.
        iterations: at most.
        images: of the pool that are scored after it.
        row_bytes: of a row of the region table that this gives.
    """

    folder: RoundStore
    run: RunConfig
    iterations: int
    images: int
    row_bytes: int


@dataclass(frozen=True)
class Plan:
    """Sizes of some studies.

    Attributes:
        grid: a line for every strategy and region size.
        runs: in all, each once.
        trainings: that these need, each once: pre-trainings, rounds, members of ensembles, fully supervised ones.
        trainings_saved: because runs and studies share them.
        trainings_done: that lie committed under the storage root.
        iterations: optimiser steps, at most.
        crops: that those steps see.
        images_scored: forward passes of pool images.
        images_evaluated: forward passes of validation images.
        pool_images: images in the pool of the first study.
        pool_regions: regions in that pool, by N.
        labelled: budget of a run, by N.
        unit: of the budget.
        gpu_hours: of what remains, at `SUSTAINED`.
        measured_hours: of the trainings that remain, at the pace of those that are done here; None before one is.
        disk_bytes: of models, region tables and ledgers that are still to be written, about.
        nominal: whether sizes are the official ones, the data not being there.
        looked_up: whether what is done is known; otherwise all of it counts as remaining.
        surveyed: whether the data is known to be as a study needs it, or is not there; otherwise headers alone are.
    """

    grid: tuple[str, ...]
    runs: int
    trainings: int
    trainings_saved: int
    trainings_done: int
    iterations: int
    crops: int
    images_scored: int
    images_evaluated: int
    pool_images: int
    pool_regions: dict[int, int]
    labelled: dict[int, int]
    unit: str
    gpu_hours: float
    measured_hours: float | None
    disk_bytes: int
    nominal: bool
    looked_up: bool
    surveyed: bool

    def lines(self) -> list[str]:
        """The plan, for a person."""
        regions = ", ".join(f"{n:,} of {size}x{size}" for size, n in self.pool_regions.items())
        labelled = ", ".join(f"{n:,}" for n in self.labelled.values())
        hours = f"about {_time(self.gpu_hours, 'GPU ')} at {SUSTAINED / 1e12:g} TFLOP/s sustained"
        if self.measured_hours is not None:
            hours += f"; {_time(self.measured_hours)} of training at the pace of those done here"
        saved = f"{self.trainings_saved:,} saved by sharing" if self.trainings_saved else "none shared"
        return [
            *self.grid,
            f"runs               {self.runs:,}",
            f"trainings          {self.trainings:,} ({saved}); {self.trainings - self.trainings_done:,} remain",
            *([] if self.looked_up else [_NOT_LOOKED_UP]),
            f"iterations         at most {self.iterations:,} ({self.crops:,} crops)",
            f"pool               {self.pool_images:,} images, {regions} regions"
            + (" (official sizes: the data is not there)" if self.nominal else ""),
            *([] if self.surveyed else [_NOT_SURVEYED]),
            f"labelled by a run  {labelled} {self.unit}",
            f"images scored      {self.images_scored:,}",
            f"images evaluated   {self.images_evaluated:,}",
            f"time that remains  {hours}",
            f"disk that remains  about {self.disk_bytes / 2**20:,.0f} MiB",
        ]


def _time(hours: float, of: str = "") -> str:
    """Hours, or minutes where it is less than one."""
    return f"{hours:,.1f} {of}hours" if hours >= 1 else f"{60 * hours:.1f} {of}minutes"


def plan_studies(configs: Sequence[StudyConfig]) -> Plan:
    """Add up some studies, what they have in common once; raises what `check_study` raises.

    Of a data set in files whose root is not given the official sizes are taken.
    """
    store = Folder(configs[0].run.storage, create=False)
    pools = {config.run.data.key: _pool(config.run.data, store) for config in configs}
    for config in configs:
        check_grid(config)
        if not pools[config.run.data.key].nominal:
            check_study(config)
    inputs = [_inputs(config.run, store, pools[config.run.data.key]) for config in configs]
    pairs = zip(configs, inputs, strict=True)
    grid = Grid([resolve_study(config, found or Inputs.unread(config.run)) for config, found in pairs])
    trainings = list(_trainings(grid, store, pools))
    needed, hours, seconds, done, remaining, disk = Counter[str](), 0.0, list[float](), 0, 0, 0
    for one in trainings:
        pool, batch = pools[one.run.data.key], one.run.training.batch_size
        needed.update(
            iterations=one.iterations, crops=one.iterations * batch, scored=one.images, evaluated=pool.val_images
        )
        if record := one.folder.record("train"):
            done += 1
            seconds.append(record["seconds_train"] / record["iterations"])
            continue
        disk += _model_bytes(one.run.model, pool.n_classes)
        if one.row_bytes:
            disk += one.row_bytes * RegionGrid(pool.sizes, one.run.regions.size).n_regions
        remaining += one.iterations
        image = float(pool.sizes.astype(np.float64).prod(axis=1).mean())
        pixels = 3 * one.iterations * batch * one.run.training.crop**2 + image * (one.images + pool.val_images)
        hours += _flops_a_pixel(one.run.model) * pixels / SUSTAINED / 3600
    first = pools[configs[0].run.data.key]
    runs = [run for config in configs for run in config.runs()]
    alike = [run for run in runs if run.data.key == configs[0].run.data.key]
    return Plan(
        grid=tuple(_grid_lines(configs)),
        runs=len(grid.runs),
        trainings=len(trainings),
        trainings_saved=sum(_count(config) for config in configs) - len(trainings),
        trainings_done=done,
        iterations=needed["iterations"],
        crops=needed["crops"],
        images_scored=needed["scored"],
        images_evaluated=needed["evaluated"],
        pool_images=len(first.sizes),
        pool_regions={r.regions.size: RegionGrid(first.sizes, r.regions.size).n_regions for r in alike},
        labelled={run.regions.size: run.budget.total for run in alike},
        unit=configs[0].run.budget.unit,
        gpu_hours=hours,
        measured_hours=fmean(seconds) * remaining / 3600 if seconds else None,
        disk_bytes=disk,
        nominal=any(pool.nominal for pool in pools.values()),
        looked_up=None not in inputs,
        surveyed=all(pool.surveyed for pool in pools.values()),
    )


def _inputs(run: RunConfig, store: Folder, pool: Pool) -> Inputs | None:
    """What runs read, None where the data would have to be read to tell.

    Where nothing lies under the root, or the data is not there, nothing is done whatever the data holds.
    """
    begun = any(store.list(folder) for folder in ("round0", "supervised", "pretrained"))
    return known_inputs(run, store) if begun and not pool.nominal else Inputs.unread(run)


def _pool(data: DataConfig, store: Folder) -> Pool:
    row = dataset_row(data)
    if row.nominal and row.classes and data.root is None and (images := row.nominal.train_images.get(data.train_list)):
        sizes = np.tile(np.array([row.nominal.height, row.nominal.width], np.int32), (images, 1))
        return Pool(sizes, row.nominal.val_images, len(row.classes), True)
    dataset = open_dataset(data)
    surveyed = not isinstance(dataset, FileDataset) or known_survey(dataset, store) is not None
    if isinstance(dataset, FileDataset) and not surveyed:
        dataset.check_sizes()
    sizes, val_images = dataset.image_sizes("train"), len(dataset.image_names("val"))
    return Pool(sizes, val_images, len(dataset.classes), False, surveyed)


def _grid_lines(configs: Sequence[StudyConfig]) -> Iterator[str]:
    for config in configs:
        runs = config.runs()
        yield f"study {config.name}: {len(runs)} runs on {config.run.data.name}"
        for (label, size), n in Counter((run.strategy.label, run.regions.size) for run in runs).items():
            yield f"  {label:<36} N = {size:<4} {n} seed{'s' * (n > 1)}"
        if config.supervised:
            yield "  fully supervised"


def _count(config: StudyConfig) -> int:
    """Trainings of a study whose runs would share nothing."""
    runs = config.runs()
    rounds = sum((len(run.budget.rounds) + 1) * run.training.ensemble for run in runs)
    return rounds + config.supervised + bool(config.run.pretraining.iterations)


def _trainings(grid: Grid, store: Folder, pools: dict[str, Pool]) -> Iterator[Training]:
    for folder, run in grid.pretrainings.items():
        other = run.config.model_copy(update={"data": run.config.pretraining.data})
        pools.setdefault(other.data.key, _pool(other.data, store))
        yield Training(RoundStore(store, folder), other, other.pretraining.iterations, 0, 0)
    for folder, study in grid.supervised.items():
        config = study.config
        pool = pools[config.run.data.key]
        regions = RegionGrid(pool.sizes, config.run.regions.size)
        job = training_job(config.run, regions, pool.n_classes, None, config.supervised_iterations)
        yield Training(RoundStore(store, folder), config.run, job.iterations, 0, 0)
    for run in grid.runs.values():
        first = any(run is other for other in grid.firsts.values())
        for t in range(0 if first else 1, len(run.config.budget.rounds) + 1):
            yield from _round(grid, store, pools[run.config.data.key], run, t)


def _round(grid: Grid, store: Folder, pool: Pool, run: ResolvedRun, t: int) -> Iterator[Training]:
    images = len(pool.sizes)
    last = t == len(run.config.budget.rounds)
    row = 0 if last else _row_bytes(grid.sharing(run) if t == 0 else [run])
    folder, iterations = RunStore(store, run).round(t), _most_iterations(run.config, images, t)
    for member in range(run.config.training.ensemble):
        scored = bool(row) and member == 0
        yield Training(folder, run.config, iterations, images * scored, row * scored)


def _most_iterations(run: RunConfig, n_images: int, t: int) -> int:
    """Iterations of round t; with epochs, no more images can be labelled than regions are."""
    if run.training.iterations:
        return run.training.iterations
    images = n_images
    if run.budget.unit == "regions":
        images = min(n_images, run.budget.initial + sum(run.budget.rounds[:t]))
    return int(np.ceil(run.training.epochs * images / run.training.batch_size))


def _row_bytes(sharing: Sequence[ResolvedRun]) -> int:
    """Bytes of a region's rows, as the strategies that share the tables need them; 0 where none does."""
    total, channels = 0, sharing[0].config.model.channels
    for name in {other.scores_name for other in sharing}:
        alike = [other for other in sharing if other.scores_name == name]
        needs, pca = [other.acquisition for other in alike], alike[0].config.pca
        features = min(pca or channels, channels) * any(a.needs_features for a in needs)
        columns = {name for a in needs for name in a.maps}
        total += 8 + 4 * len(columns) + 4 * features if columns or features else 0
    return total


@cache
def _flops_a_pixel(config: ModelConfig) -> float:
    """Floating-point operations of a forward pass, a pixel of the image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = build_model(config.model_copy(update={"weights": "random"}), 2, seed=0).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, _PROBE, _PROBE, dtype=torch.uint8))
    return counter.get_total_flops() / _PROBE**2


@cache
def _model_bytes(config: ModelConfig, n_classes: int) -> int:
    """Bytes of a model's file."""
    model = build_model(config.model_copy(update={"weights": "random"}), n_classes, seed=0)
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())
