"""What a study found, in sentences computed from its points, and nothing beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from raylab.data.classes import over_classes
from raylab.report.statistics import CONFIDENCE, half_width
from raylab.report.study_data import Study

FEW = 4
"""Seeds below which an interval is so wide that it hardly ever excludes zero."""
FALL = 1.0
"""Points of mIoU that a curve may fall from one budget to the next without a word."""


def headlines(study: Study) -> list[str]:
    """What the data say, one sentence a region size, one more where a curve falls, and nothing beyond that."""
    sentences = [tell(study, size) for size in study.region_sizes for tell in (_headline, _undertrained)]
    return [sentence for sentence in sentences if sentence] or ["No round is finished yet."]


def _headline(study: Study, size: int) -> str | None:
    curves = [curve for curve in study.curves() if curve.region_size == size]
    if not curves:
        return None
    # Comparable is only what every strategy has: the last budget all of them reached, and the seeds all have there.
    shared = set.intersection(*({p.budget for p in curve.points} for curve in curves))
    if not shared:
        return f"The strategies of N = {size} share no finished budget yet, so they cannot be compared."
    last = [(c.strategy, next(p for p in c.points if p.budget == max(shared))) for c in curves]
    seeds = sorted(set.intersection(*(set(point.seeds) for _, point in last)))
    if not seeds:
        return f"The strategies of N = {size} share no finished seed yet, so they cannot be compared."
    scores = {name: [p.mious[p.seeds.index(seed)] for seed in seeds] for name, p in last}
    ranked = sorted(scores, key=lambda name: -fmean(scores[name]))
    best, pixels = ranked[0], fmean(p.labelled_percent for _, p in last)
    where = f"At {max(shared):,} {study.unit}" + (f" of N = {size}" if len(study.region_sizes) > 1 else "")
    text = f"{where} ({pixels:.1f} % of the pool's pixels), {best} reaches {100 * fmean(scores[best]):.1f} % mIoU "
    text += over_classes(next(point.iou for name, point in last if name == best))
    if study.bound:
        text += f", {100 * fmean(scores[best]) / study.bound:.0f} % of the fully supervised {100 * study.bound:.1f} %"
    if len(ranked) == 1:
        return f"{text} ({_count(len(seeds), 'seed')})."
    rival = "random" if "random" in ranked and best != "random" else ranked[1]
    return f"{text}; {_against(scores[best], scores[rival], best, rival, len(ranked) - 1)}."


def _against(best: Sequence[float], rival: Sequence[float], name: str, other: str, comparisons: int) -> str:
    """Whether the best of several strategies is above another, as their paired differences say.

    The best of many had the most luck too: its interval has the confidence of all `comparisons` together (Bonferroni).
    """
    values = [one - two for one, two in zip(best, rival, strict=True)]
    points = f"{100 * abs(fmean(values)):.1f} points {'above' if fmean(values) >= 0 else 'below'} {other}"
    half = half_width(values, 1 - (1 - CONFIDENCE) / comparisons)
    if half is None:
        return f"that is {points}, of one seed, so nothing is known of the spread"
    low, high = (100 * (fmean(values) + sign * half) for sign in (-1, 1))
    interval = f"paired {100 * CONFIDENCE:.0f} % interval over {len(values)} seeds {low:.1f} to {high:.1f}"
    interval += f", adjusted for the best of {comparisons + 1}" if comparisons > 1 else ""
    if low > 0:
        return f"that is {points} ({interval})"
    few = "; too few seeds" if len(values) < FEW else ""
    return f"{name} and {other} are not told apart: {points} ({interval}{few})"


def _undertrained(study: Study, size: int) -> str | None:
    """A sentence about strategies whose mIoU falls as more is labelled: more labels should do no harm."""
    falls = []
    for curve in (curve for curve in study.curves() if curve.region_size == size):
        for before, after in pairwise(curve.points):
            shared = [seed for seed in before.seeds if seed in after.seeds]
            change = [after.mious[after.seeds.index(s)] - before.mious[before.seeds.index(s)] for s in shared]
            if change and 100 * fmean(change) < -FALL:
                falls.append(f"{curve.strategy} by {-100 * fmean(change):.1f} points to {after.budget:,} {study.unit}")
    if not falls:
        return None
    return f"mIoU falls as more is labelled ({'; '.join(falls)}): trainings are too short to tell strategies apart."


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("s" if n != 1 else "")
