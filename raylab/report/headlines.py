"""What a study found, in sentences computed from its points, and nothing beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from raylab.data.classes import over_classes
from raylab.report.study_data import Study


def headlines(study: Study) -> list[str]:
    """What the data say, one sentence a region size, and nothing beyond that."""
    sentences = [_headline(study, size) for size in study.region_sizes]
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
