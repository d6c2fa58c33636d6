"""What a study's curves amount to: budget to a share of the supervised mIoU, area under the curve, paired differences.

Budgets double from round to round, so a curve is read over log2(budget): interpolation is linear there, and each
doubling of the budget weighs the same in the area. Everything is computed for each seed first and summarised over
seeds after, so that the spread is that of the quantity itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import stdtrit

from raylab.report.study_data import STAGES, Point, RunResult, Study, points_frame

SHARE = 0.95
"""Of the fully supervised mIoU: the paper's mark for how much labelling is enough."""
CONFIDENCE = 0.95
"""Of the intervals of paired differences."""


@dataclass(frozen=True)
class Spread:
    """A quantity over seeds.

    Attributes:
        mean: over the seeds.
        std: sample standard deviation; None with a single seed.
        n: seeds.
    """

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """The spread of some values; None where there is none."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values)) if values else None


@dataclass(frozen=True)
class SeedSummary:
    """One run as a whole.

    Attributes:
        strategy: label.
        region_size: N.
        seed: of the run.
        budget: at which the run reaches the target; None where it does not, or there is no target.
        pixels: the same in percent of the pool's pixels.
        area: under the curve, a mIoU in 0..1; None for a run that is not finished.
    """

    strategy: str
    region_size: int
    seed: int
    budget: float | None
    pixels: float | None
    area: float | None


@dataclass(frozen=True)
class Summary:
    """One strategy at one region size as a whole, over its seeds.

    Attributes:
        strategy: label.
        region_size: N.
        seeds: those with a finished round after the shared one.
        reached: how many of them reach the target; None where there is no target.
        budget: to the target, where *every* seed reaches it: a mean over those that happen to would be too small.
        pixels: the same in percent of the pool's pixels.
        first: the smallest budget at which a seed reaches the target.
        area: over the finished seeds.
    """

    strategy: str
    region_size: int
    seeds: int
    reached: int | None
    budget: Spread | None
    pixels: Spread | None
    first: float | None
    area: Spread | None


@dataclass(frozen=True)
class Difference:
    """mIoU of one strategy minus that of another at one budget, paired by seed.

    Attributes:
        region_size: N.
        budget: in the study's unit.
        strategy: what is compared.
        reference: what it is compared with.
        seeds: that both have there.
        values: one difference a seed.
        half_width: of the confidence interval around the mean; None with a single seed.
    """

    region_size: int
    budget: int
    strategy: str
    reference: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    half_width: float | None

    @property
    def mean(self) -> float:
        """Mean difference."""
        return fmean(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper end of the confidence interval."""
        return None if self.half_width is None else (self.mean - self.half_width, self.mean + self.half_width)


def budget_to_reach(budgets: Sequence[float], scores: Sequence[float], target: float) -> float | None:
    """The smallest budget at which a curve reaches a target.

    Between two budgets the curve is a straight line over log2(budget). A curve that falls below the target again
    after it has reached it counts as having reached it.

    Args:
        budgets: rising, positive.
        scores: one a budget.
        target: to reach.

    Returns:
        The first budget where the curve begins at or above the target (the true one may be smaller), and None where it
        never reaches it.
    """
    if scores and scores[0] >= target:
        return float(budgets[0])
    for (b0, s0), (b1, s1) in itertools.pairwise(zip(budgets, scores, strict=True)):
        if s1 >= target:
            return float(b0 * (b1 / b0) ** ((target - s0) / (s1 - s0)))
    return None


def area_under_curve(budgets: Sequence[float], scores: Sequence[float]) -> float | None:
    """Area under a curve over log2(budget), divided by the range: the mean score, every doubling weighing the same.

    Two areas compare only over the same budgets.

    Args:
        budgets: rising, positive.
        scores: one a budget.

    Returns:
        In the unit of the scores; None with fewer than two budgets.
    """
    if len(budgets) < 2:
        return None
    x = [math.log2(budget) for budget in budgets]
    trapezoids = ((x1 - x0) * (s0 + s1) / 2 for (x0, s0), (x1, s1) in itertools.pairwise(zip(x, scores, strict=True)))
    return sum(trapezoids) / (x[-1] - x[0])


def target_of(study: Study) -> float | None:
    """The mIoU that counts as enough: `SHARE` of the mean over the trainings on all masks; None without one."""
    return None if study.bound is None else SHARE * study.bound


def seed_summaries(study: Study) -> list[SeedSummary]:
    """One a run with a finished round after the shared one, in the order of the grid."""
    target = target_of(study)
    rows = []
    for run in study.runs:
        if len(run.points) < 2:
            continue
        scores, budgets = [p.miou for p in run.points], [p.budget for p in run.points]
        pixels = [p.labelled_percent for p in run.points]
        at = None if target is None else budget_to_reach(budgets, scores, target)
        at_pixels = None if target is None else budget_to_reach(pixels, scores, target)
        # An area over fewer budgets than the others' would be another quantity.
        area = area_under_curve(budgets, scores) if run.finished else None
        key = run.strategy, run.config.regions.size, run.config.seed
        rows.append(SeedSummary(*key, budget=at, pixels=at_pixels, area=area))
    return rows


def summaries(study: Study) -> list[Summary]:
    """One a strategy and region size that has a `SeedSummary`, in the order of the grid."""
    groups: dict[tuple[str, int], list[SeedSummary]] = {}
    for row in seed_summaries(study):
        groups.setdefault((row.strategy, row.region_size), []).append(row)
    return [_summary(study, strategy, size, rows) for (strategy, size), rows in groups.items()]


def _summary(study: Study, strategy: str, size: int, rows: Sequence[SeedSummary]) -> Summary:
    budgets = [row.budget for row in rows if row.budget is not None]
    pixels = [row.pixels for row in rows if row.pixels is not None]
    everyone = len(budgets) == len(rows)
    return Summary(
        strategy=strategy,
        region_size=size,
        seeds=len(rows),
        reached=None if study.bound is None else len(budgets),
        budget=Spread.of(budgets) if everyone else None,
        pixels=Spread.of(pixels) if everyone else None,
        first=min(budgets, default=None),
        area=Spread.of([row.area for row in rows if row.area is not None]),
    )


def reference_of(study: Study) -> str:
    """What the page compares with: Random where it is in the study, else the first strategy."""
    return "random" if "random" in study.strategies else study.strategies[0]


def differences(study: Study) -> list[Difference]:
    """Every pair of strategies at every budget after the shared round, where they have a seed in common.

    The one earlier in the grid is the reference; pairs with `reference_of` have it as their reference. The interval is
    Student's for the mean of the paired differences; intervals are not adjusted for how many there are.
    """
    first = reference_of(study)
    order = sorted(study.strategies, key=lambda name: name != first)
    found = []
    for size in study.region_sizes:
        scores = {name: _scores([r for r in study.runs if _is(r, name, size)]) for name in order}
        budgets = sorted({budget for table in scores.values() for budget in table})
        for budget, (reference, strategy) in itertools.product(budgets, itertools.combinations(order, 2)):
            ours, theirs = scores[strategy].get(budget, {}), scores[reference].get(budget, {})
            seeds = tuple(seed for seed in ours if seed in theirs)
            if seeds:
                values = tuple(ours[seed] - theirs[seed] for seed in seeds)
                found.append(Difference(size, budget, strategy, reference, seeds, values, half_width(values)))
    return found


def _is(run: RunResult, strategy: str, size: int) -> bool:
    return run.strategy == strategy and run.config.regions.size == size


def _scores(runs: Sequence[RunResult]) -> dict[int, dict[int, float]]:
    """mIoU by budget and seed, round 0 left out: it is one model for all strategies."""
    table: dict[int, dict[int, float]] = {}
    for run in runs:
        later: Sequence[Point] = run.points[1:]
        for point in later:
            table.setdefault(point.budget, {})[run.config.seed] = point.miou
    return table


def stage_seconds(study: Study) -> dict[str, dict[str, float]]:
    """Seconds of a whole run by strategy and stage, mean over its runs; a shared round 0 is counted in each."""
    points = points_frame(study)
    spent = points.groupby(["strategy", "run"], sort=False)[[f"seconds.{stage}" for stage in STAGES]].sum()
    means = spent.rename(columns=lambda name: name.removeprefix("seconds.")).groupby("strategy", sort=False).mean()
    return {str(name): row for name, row in means.to_dict("index").items()}


def half_width(values: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """Half the interval of Student's t around the mean of some values; None with a single one.

    Args:
        values: independent.
        confidence: of the interval, 0..1.
    """
    if len(values) < 2:
        return None
    quantile = float(stdtrit(len(values) - 1, (1 + confidence) / 2))  # of Student's t
    return quantile * stdev(values) / math.sqrt(len(values))
