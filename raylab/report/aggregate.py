"""A study as it lies in the store, and its curves: mean and spread over seeds at every budget."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pydantic import ValidationError

from raylab.config import RunConfig, StudyConfig
from raylab.errors import StoreError
from raylab.store import RoundStore, RunStore, Store

STAGES = ("train", "evaluate", "score", "select")


@dataclass(frozen=True)
class Point:
    """One run after one round.

    Attributes:
        round: t.
        labelled_regions: budget, cumulative.
        labelled_pixels: percent of the pool's pixels.
        annotated_images: images with at least one labelled region.
        miou: in 0..1.
        iou: by class; None where the class is absent from prediction and truth.
        seconds: by stage, of this round alone.
        peak_memory: bytes, by stage.
    """

    round: int
    labelled_regions: int
    labelled_pixels: float
    annotated_images: int
    miou: float
    iou: dict[str, float | None]
    seconds: dict[str, float]
    peak_memory: dict[str, int]


@dataclass(frozen=True)
class RunResult:
    """One run, as far as it got.

    Attributes:
        config: of the run.
        points: one for every round that is trained and evaluated.
        data_fingerprint: of the data it ran on; None before it has begun.
    """

    config: RunConfig
    points: tuple[Point, ...]
    data_fingerprint: str | None

    @property
    def finished(self) -> bool:
        """Whether every round is done."""
        return len(self.points) == len(self.config.budget.rounds) + 1


@dataclass(frozen=True)
class CurvePoint:
    """All seeds of a strategy at one budget.

    Attributes:
        labelled_regions: the budget.
        labelled_pixels: percent, mean over seeds.
        annotated_images: mean over seeds.
        mious: one a seed, in the order of the seeds.
        seeds: that got here.
        iou: by class, mean over the seeds in which it occurs.
    """

    labelled_regions: int
    labelled_pixels: float
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
    """

    name: str
    config: StudyConfig
    runs: tuple[RunResult, ...]
    supervised: tuple[float, ...]

    @property
    def bound(self) -> float | None:
        """Mean mIoU of training on all masks; None where that was not done."""
        return fmean(self.supervised) if self.supervised else None

    @property
    def strategies(self) -> list[str]:
        """Labels in the order of the grid."""
        return list(dict.fromkeys(run.config.strategy.label for run in self.runs))

    @property
    def region_sizes(self) -> list[int]:
        """N in the order of the grid."""
        return list(dict.fromkeys(run.config.regions.size for run in self.runs))

    def curves(self) -> list[Curve]:
        """One a strategy and region size, those without a point left out."""
        groups: dict[tuple[str, int], list[RunResult]] = defaultdict(list)
        for run in self.runs:
            groups[run.config.strategy.label, run.config.regions.size].append(run)
        curves = [Curve(strategy, size, _merge(runs)) for (strategy, size), runs in groups.items()]
        return [curve for curve in curves if curve.points]


def read_study(store: Store, name: str) -> Study:
    """Read what a study has committed so far.

    Args:
        store: of the results.
        name: of the study.

    Raises:
        StoreError: there is no such study, its configuration is not readable by this raylab, or a committed file
            is damaged.
    """
    config = study_config(store, name)
    folders = store.read_json(_study_path(name)).get("supervised", [])
    records = [RoundStore(store, folder).record("train") for folder in folders]
    return Study(
        name=name,
        config=config,
        runs=tuple(_read_run(store, run) for run in config.runs()),
        supervised=tuple(float(record["miou"]) for record in records if record),
    )


def study_config(store: Store, name: str) -> StudyConfig:
    """The configuration of a study that was begun.

    Args:
        store: of the results.
        name: of the study.

    Raises:
        StoreError: there is no such study, or its configuration is not readable by this raylab.
    """
    path = _study_path(name)
    if not store.exists(path):
        there = [other for other in store.list("studies") if store.exists(_study_path(other))]
        known = f"studies there: {', '.join(there)}" if there else "no study lies under this storage root"
        raise StoreError(f"{store.place(path)} is missing; {known}")
    try:
        return StudyConfig(**store.read_json(path)["config"])
    except (ValidationError, KeyError, TypeError) as error:
        reason = str(error).replace("\n", " ")
        raise StoreError(f"{store.place(path)} is no study of this version of raylab ({reason})") from None


def points_csv(study: Study) -> str:
    """Every point of every run, one line each."""
    classes = list(dict.fromkeys(name for run in study.runs for point in run.points for name in point.iou))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    first = ["strategy", "region_size", "seed", "round"]
    measured = ["labelled_regions", "labelled_pixels_percent", "annotated_images", "miou"]
    costs = [f"{kind}.{stage}" for kind in ("seconds", "peak_memory_bytes") for stage in STAGES]
    writer.writerow([*first, *measured, *(f"iou.{name}" for name in classes), *costs, "run"])
    for run in study.runs:
        config = run.config
        for p in run.points:
            key = [config.strategy.label, config.regions.size, config.seed, p.round]
            values = [p.labelled_regions, p.labelled_pixels, p.annotated_images, p.miou, *map(p.iou.get, classes)]
            writer.writerow([*key, *values, *map(p.seconds.get, STAGES), *map(p.peak_memory.get, STAGES), config.label])
    return out.getvalue()


def format_table(study: Study) -> str:
    """The result as aligned text: one line a strategy and budget, mIoU in percent.

    Seeds are given as mean ± sample standard deviation (number of seeds).
    """
    sizes = len(study.region_sizes) > 1
    columns: list[tuple[str, Callable[[Curve, CurvePoint], str]]] = [
        ("regions", lambda _, p: f"{p.labelled_regions:,}"),
        ("pixels %", lambda _, p: f"{p.labelled_pixels:.1f}"),
        ("images", lambda _, p: f"{p.annotated_images:,.1f}".removesuffix(".0")),
        ("mIoU %", lambda _, p: f"{100 * p.mean:.1f}"),
        ("± std", lambda _, p: "" if p.std is None else f"{100 * p.std:.1f}"),
        ("seeds", lambda _, p: str(len(p.seeds))),
    ]
    if bound := study.bound:
        columns.append(("% of supervised", lambda _, p: f"{100 * p.mean / bound:.1f}"))
    if sizes:
        columns.insert(0, ("N", lambda c, _: str(c.region_size)))
    groups = by_budget(study)
    if not groups:
        return f"study {study.name}: no round is finished yet"
    rows = [[[curve.strategy, *(show(curve, p) for _, show in columns)] for curve, p in group] for group in groups]
    head = ["strategy", *(name for name, _ in columns)]
    widths = [max(len(row[i]) for row in [head, *(row for group in rows for row in group)]) for i in range(len(head))]
    lines = [_line(head, widths), "  ".join("-" * width for width in widths)]
    lines += "\n\n".join("\n".join(_line(row, widths) for row in group) for group in rows).split("\n")
    if bound:
        lines += ["", f"fully supervised: {100 * bound:.1f} % mIoU ({len(study.supervised)} training(s) on all masks)"]
    if unfinished := sum(not run.finished for run in study.runs):
        lines += ["", f"{unfinished} of {len(study.runs)} runs are not finished; they are shown as far as they got"]
    return "\n".join(lines)


def by_budget(study: Study) -> list[list[tuple[Curve, CurvePoint]]]:
    """Points of all curves, grouped by round-like budget: region size first, then labelled regions."""
    groups: dict[tuple[int, int], list[tuple[Curve, CurvePoint]]] = defaultdict(list)
    for curve in study.curves():
        for point in curve.points:
            groups[study.region_sizes.index(curve.region_size), point.labelled_regions].append((curve, point))
    return [groups[key] for key in sorted(groups)]


def headlines(study: Study) -> list[str]:
    """What the data say, one sentence a region size, and nothing beyond that."""
    sentences = [_headline(study, size) for size in study.region_sizes]
    return [sentence for sentence in sentences if sentence] or ["No round is finished yet."]


def _study_path(name: str) -> str:
    return f"studies/{name}/study.json"


def _headline(study: Study, size: int) -> str | None:
    curves = [curve for curve in study.curves() if curve.region_size == size]
    if not curves:
        return None
    # Comparable is only what every strategy has: the last budget all of them reached, and the seeds all have there.
    shared = set.intersection(*({p.labelled_regions for p in curve.points} for curve in curves))
    if not shared:
        return f"The strategies of N = {size} share no finished budget yet, so they cannot be compared."
    last = [(c.strategy, next(p for p in c.points if p.labelled_regions == max(shared))) for c in curves]
    seeds = sorted(set.intersection(*(set(point.seeds) for _, point in last)))
    if not seeds:
        return f"The strategies of N = {size} share no finished seed yet, so they cannot be compared."
    scores = {name: [p.mious[p.seeds.index(seed)] for seed in seeds] for name, p in last}
    ranked = sorted(scores, key=lambda name: -fmean(scores[name]))
    best, pixels = ranked[0], fmean(p.labelled_pixels for _, p in last)
    where = f"At {max(shared):,} labelled regions" + (f" of N = {size}" if len(study.region_sizes) > 1 else "")
    text = f"{where} ({pixels:.1f} % of the pool's pixels), {best} reaches {100 * fmean(scores[best]):.1f} % mIoU"
    if study.bound:
        text += f", {100 * fmean(scores[best]) / study.bound:.0f} % of the fully supervised {100 * study.bound:.1f} %"
    if len(ranked) == 1:
        return f"{text} ({_count(len(seeds), 'seed')})."
    rival = "random" if "random" in ranked and best != "random" else ranked[1]
    return f"{text}; that is {_against(scores[best], scores[rival], rival)}."


def _against(best: Sequence[float], rival: Sequence[float], name: str) -> str:
    points = 100 * (fmean(best) - fmean(rival))
    text = f"{points:.1f} points above {name}" if round(points, 1) else f"no more than {name}"
    if len(best) == 1:
        return f"{text} (one seed, so nothing is known of the spread)"
    overlap = "overlap" if min(best) <= max(rival) else "do not overlap"
    return f"{text} (mean of {len(best)} seeds; the ranges over seeds {overlap})"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("s" if n != 1 else "")


def _read_run(store: Store, config: RunConfig) -> RunResult:
    run_store = RunStore(store, config)
    points = []
    for index in range(len(config.budget.rounds) + 1):
        point = _read_point(run_store.round(index), config, index)
        if point is None:
            break
        points.append(point)
    path = f"{run_store.folder}/run.json"
    fingerprint = store.read_json(path)["data_fingerprint"] if store.exists(path) else None
    return RunResult(config, tuple(points), fingerprint)


def _read_point(round_store: RoundStore, config: RunConfig, index: int) -> Point | None:
    select, train = round_store.record("select"), round_store.record("train")
    if select is None or train is None:
        return None
    records = {"train": train, "evaluate": train, "select": select}
    seconds = {"train": train["seconds_train"], "evaluate": train["seconds_evaluate"], "select": select["seconds"]}
    acquisition = config.strategy.acquisition()
    # Round 0 is shared: its scores may be there for another strategy's sake.
    if (acquisition.needs_uncertainty or acquisition.needs_features) and (score := round_store.record("score")):
        records["score"], seconds["score"] = score, score["seconds"]
    return Point(
        round=index,
        labelled_regions=int(select["labelled_regions"]),
        labelled_pixels=float(select["labelled_pixels"]),
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
            at[point.labelled_regions].append((run.config.seed, point))
    return tuple(
        CurvePoint(
            labelled_regions=budget,
            labelled_pixels=fmean(p.labelled_pixels for _, p in found),
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


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join([cells[0].ljust(widths[0]), *padded[1:]]).rstrip()
