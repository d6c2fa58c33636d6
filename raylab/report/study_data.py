"""A study as it lies in the store: tidy frames of it, and its curves, mean and spread over seeds at every budget."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from raylab.config import RunConfig, StudyConfig
from raylab.files import Folder
from raylab.runs import ResolvedRun, RoundStore, RunStore, stored_study
from raylab.runs.studies import study_path
from raylab.sealed import read_sealed

STAGES = ("train", "evaluate", "score", "select")
MEASURED = ("budget", "labelled_regions", "labelled_percent", "annotated_images", "miou")
UNITS = {"regions": "labelled regions", "pixels": "labelled pixels", "clicks": "clicks"}


@dataclass(frozen=True)
class Point:
    """One run after one round.

    Attributes:
        round: t.
        budget: of rounds 0 .. t together, in the study's unit; what a round did not spend is the next one's.
        labelled_regions: cumulative.
        labelled_percent: percent of the pool's pixels.
        annotated_images: images with at least one labelled region.
        miou: in 0..1.
        iou: by class; None where the class is absent from prediction and truth.
        seconds: by stage, of this round alone.
        peak_memory: bytes, by stage.
    """

    round: int
    budget: int
    labelled_regions: int
    labelled_percent: float
    annotated_images: int
    miou: float
    iou: dict[str, float | None]
    seconds: dict[str, float]
    peak_memory: dict[str, int]


@dataclass(frozen=True)
class RunResult:
    """One run, as far as it got.

    Attributes:
        run: that it is.
        points: one for every round that is trained and evaluated.
        data_fingerprint: of the data it ran on; None before it has begun.
    """

    run: ResolvedRun
    points: tuple[Point, ...]
    data_fingerprint: str | None

    @property
    def strategy(self) -> str:
        """The strategy as the study named it."""
        return self.run.strategy

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.run.config

    @property
    def finished(self) -> bool:
        """Whether every round is done."""
        return len(self.points) == len(self.config.budget.rounds) + 1


@dataclass(frozen=True)
class CurvePoint:
    """All seeds of a strategy at one budget.

    Attributes:
        budget: in the study's unit.
        labelled_regions: mean over seeds; the budget itself where that counts regions.
        labelled_percent: percent, mean over seeds.
        annotated_images: mean over seeds.
        mious: one a seed, in the order of the seeds.
        seeds: that got here.
        iou: by class, mean over the seeds in which it occurs.
    """

    budget: int
    labelled_regions: float
    labelled_percent: float
    annotated_images: float
    mious: tuple[float, ...]
    seeds: tuple[int, ...]
    iou: dict[str, float | None]

    @property
    def mean(self) -> float:
        """Mean mIoU."""
        return fmean(self.mious)

    @property
    def std(self) -> float | None:
        """Sample standard deviation of the mIoU; None with a single seed."""
        return stdev(self.mious) if len(self.mious) > 1 else None


@dataclass(frozen=True)
class Curve:
    """One strategy at one region size, points by rising budget."""

    strategy: str
    region_size: int
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class Study:
    """Everything a report needs.

    Attributes:
        name: of the study.
        config: of the study.
        runs: in the order of the grid, unfinished ones as far as they got.
        supervised: mIoU of every finished training on all masks.
        supervised_iou: by class, mean over those trainings.
    """

    name: str
    config: StudyConfig
    runs: tuple[RunResult, ...]
    supervised: tuple[float, ...]
    supervised_iou: dict[str, float | None] = field(default_factory=dict)

    @property
    def bound(self) -> float | None:
        """Mean mIoU of training on all masks; None where that was not done."""
        return fmean(self.supervised) if self.supervised else None

    @property
    def unit(self) -> str:
        """What a budget counts, in words."""
        return UNITS[self.config.run.budget.unit]

    @property
    def by_pixels(self) -> bool:
        """Whether figures are drawn over the percentage of labelled pixels: regions of several sizes are not alike."""
        return len(self.region_sizes) > 1 and self.config.run.budget.unit == "regions"

    @property
    def strategies(self) -> list[str]:
        """Labels in the order of the grid."""
        return list(dict.fromkeys(run.strategy for run in self.runs))

    @property
    def region_sizes(self) -> list[int]:
        """N in the order of the grid."""
        return list(dict.fromkeys(run.config.regions.size for run in self.runs))

    def curves(self) -> list[Curve]:
        """One a strategy and region size, those without a point left out."""
        groups: dict[tuple[str, int], list[RunResult]] = defaultdict(list)
        for run in self.runs:
            groups[run.strategy, run.config.regions.size].append(run)
        curves = [Curve(strategy, size, _merge(runs)) for (strategy, size), runs in groups.items()]
        return [curve for curve in curves if curve.points]


def read_study(store: Folder, name: str) -> Study:
    """Read what a study has committed so far.

    Args:
        store: of the results.
        name: of the study.

    Raises:
        StoreError: there is no such study, its configuration is not readable by this raylab, or a committed file
            is damaged.
    """
    study = stored_study(store, name)
    folders = read_sealed(store, study_path(name)).get("supervised", [])
    found = [RoundStore(store, folder).record("train") for folder in folders]
    records = [record for record in found if record]
    return Study(
        name=name,
        config=study.config,
        runs=tuple(_read_run(store, run) for run in study.runs),
        supervised=tuple(float(record["miou"]) for record in records),
        supervised_iou=_mean_iou([record["iou"] for record in records]),
    )


def points_frame(study: Study) -> pd.DataFrame:
    """Every run after every round, one row each; what `points.csv` holds.

    Returns:
        Columns strategy, region_size, seed, round, budget (cumulative, in the study's unit), labelled_regions,
        labelled_percent, annotated_images, miou and iou.CLASS in 0..1 (NaN where a class is absent), seconds.STAGE of
        the round alone and peak_memory_bytes.STAGE (missing where there was no such stage), and run, the run's label.
    """
    names = list(dict.fromkeys(name for run in study.runs for point in run.points for name in point.iou))
    rows = [
        {
            **_run_key(run.run),
            "round": point.round,
            **{name: getattr(point, name) for name in MEASURED},
            **{f"iou.{name}": point.iou.get(name) for name in names},
            **{f"seconds.{stage}": point.seconds.get(stage) for stage in STAGES},
            **{f"peak_memory_bytes.{stage}": point.peak_memory.get(stage) for stage in STAGES},
            "run": run.run.label,
        }
        for run in study.runs
        for point in run.points
    ]
    shares, seconds = [f"iou.{name}" for name in names], [f"seconds.{stage}" for stage in STAGES]
    peaks = [f"peak_memory_bytes.{stage}" for stage in STAGES]
    columns = ["strategy", "region_size", "seed", "round", *MEASURED, *shares, *seconds, *peaks, "run"]
    kinds = dict.fromkeys([*shares, *seconds], "float64") | dict.fromkeys(peaks, "Int64")
    return pd.DataFrame(rows, columns=columns).astype(kinds)


def _run_key(run: ResolvedRun) -> dict[str, Any]:
    return {"strategy": run.strategy, "region_size": run.config.regions.size, "seed": run.config.seed}


def by_budget(study: Study) -> list[list[tuple[Curve, CurvePoint]]]:
    """Points of all curves, grouped by round-like budget: region size first, then budget."""
    groups: dict[tuple[int, int], list[tuple[Curve, CurvePoint]]] = defaultdict(list)
    for curve in study.curves():
        for point in curve.points:
            groups[study.region_sizes.index(curve.region_size), point.budget].append((curve, point))
    return [groups[key] for key in sorted(groups)]


def _read_run(store: Folder, run: ResolvedRun) -> RunResult:
    run_store = RunStore(store, run)
    run_store.check_order()
    points = []
    for index in range(len(run.config.budget.rounds) + 1):
        point = _read_point(run_store, index)
        if point is None:
            break
        points.append(point)
    path = f"{run_store.folder}/run.json"
    fingerprint = read_sealed(store, path)["data_fingerprint"] if store.exists(path) else None
    return RunResult(run, tuple(points), fingerprint)


def _read_point(run_store: RunStore, index: int) -> Point | None:
    config, round_store = run_store.config, run_store.round(index)
    select, train = round_store.record("select"), round_store.record("train")
    if select is None or train is None:
        return None
    records = {"train": train, "evaluate": train, "select": select}
    seconds = {"train": train["seconds_train"], "evaluate": train["seconds_evaluate"], "select": select["seconds"]}
    acquisition = run_store.run.acquisition
    # Round 0 is shared: its scores may be there for another strategy's sake.
    if (acquisition.needs_uncertainty or acquisition.needs_features) and (
        score := run_store.scores(index).record("score")
    ):
        records["score"], seconds["score"] = score, score["seconds"]
    return Point(
        round=index,
        budget=config.budget.initial + sum(config.budget.rounds[:index]),
        labelled_regions=int(select["labelled_regions"]),
        labelled_percent=float(select["labelled_percent"]),
        annotated_images=int(select["annotated_images"]),
        miou=float(train["miou"]),
        iou=train["iou"],
        seconds={stage: float(value) for stage, value in seconds.items()},
        peak_memory={stage: int(record["peak_memory"]) for stage, record in records.items() if "peak_memory" in record},
    )


def _merge(runs: Sequence[RunResult]) -> tuple[CurvePoint, ...]:
    at: dict[int, list[tuple[int, Point]]] = defaultdict(list)
    for run in runs:
        for point in run.points:
            at[point.budget].append((run.config.seed, point))
    return tuple(
        CurvePoint(
            budget=budget,
            labelled_regions=fmean(p.labelled_regions for _, p in found),
            labelled_percent=fmean(p.labelled_percent for _, p in found),
            annotated_images=fmean(p.annotated_images for _, p in found),
            mious=tuple(p.miou for _, p in found),
            seeds=tuple(seed for seed, _ in found),
            iou=_mean_iou([p.iou for _, p in found]),
        )
        for budget, found in sorted(at.items())
    )


def _mean_iou(tables: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    names = dict.fromkeys(name for table in tables for name in table)
    values = {name: [v for t in tables if (v := t.get(name)) is not None and not math.isnan(v)] for name in names}
    return {name: fmean(found) if found else None for name, found in values.items()}
