"""Figures over the budget: mIoU, annotated images, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from raylab.report.statistics import SHARE, Difference, differences, reference_of, summaries, target_of
from raylab.report.study_data import Curve, CurvePoint, Study
from raylab.report.style import DASHES, INK, SOFT, WIDTH, Look, legend_below, looks


def budget_curves(study: Study) -> Figure:
    """mIoU against the budget: mean and standard deviation over seeds, the supervised line and its 95 % mark.

    The axis is the budget, with the percentage of labelled pixels above; regions of several
    sizes are not alike, so the axis is the percentage for them.
    """
    figure = Figure(figsize=(WIDTH, 4.6 + 0.08 * len(study.curves())), layout="constrained")
    axes = figure.subplots()
    for curve in study.curves():
        low, mean, high = ([100 * v for v in line] for line in zip(*map(_band, curve.points), strict=True))
        colour = looks(study)[curve.strategy].colour
        # Bands of many strategies would hide each other.
        alpha = min(0.15, 0.6 / len(study.curves()))
        axes.fill_between(_x(study, curve), low, high, color=colour, alpha=alpha, linewidth=0)
        _line(axes, study, curve, mean)
    if study.bound is not None:
        axes.axhline(100 * study.bound, color=INK, linewidth=1.4, label="fully supervised")
        label = f"{100 * SHARE:.0f} % of fully supervised"
        axes.axhline(100 * SHARE * study.bound, color=INK, linestyle=(0, (2, 2)), linewidth=1.2, label=label)
        _crossings(axes, study)
    axes.set_ylabel("mIoU (%) on the validation split")
    _budget_axis(axes, study)
    legend_below(figure)
    return figure


def _band(point: CurvePoint) -> tuple[float, float, float]:
    spread = point.std or 0.0
    return point.mean - spread, point.mean, point.mean + spread


def _crossings(axes: Axes, study: Study) -> None:
    """An open diamond where all seeds of a strategy reach the mark, its bar a standard deviation to either side."""
    target = target_of(study) or 0.0
    for summary in summaries(study):
        spread = summary.pixels if study.by_pixels else summary.budget
        if spread:
            colour = looks(study)[summary.strategy].colour
            axes.errorbar(
                spread.mean, 100 * target, xerr=spread.std, fmt="D", markersize=7, markerfacecolor="white",
                markeredgewidth=1.6, color=colour, elinewidth=1.6, capsize=3, zorder=4,
            )  # fmt: skip


def image_curves(study: Study) -> Figure:
    """Images with at least one labelled region against the budget, mean over seeds."""
    figure = Figure(figsize=(WIDTH, 3.6 + 0.08 * len(study.curves())), layout="constrained")
    axes = figure.subplots()
    for curve in study.curves():
        _line(axes, study, curve, [point.annotated_images for point in curve.points])
    axes.set_ylabel("annotated images")
    most = max((p.annotated_images for curve in study.curves() for p in curve.points), default=1.0)
    axes.set_ylim(0, 1.08 * most)
    _budget_axis(axes, study)
    legend_below(figure)
    return figure


def difference_dots(study: Study) -> Figure:
    """Paired differences to the reference: a small dot a seed, the mean, and its confidence interval.

    Of few seeds the interval is far wider than what the seeds show; it is cut at the frame then.
    """
    found = [d for d in differences(study) if d.reference == reference_of(study)]
    panels = [(size, [d for d in found if d.region_size == size]) for size in study.region_sizes]
    panels = [(size, rows) for size, rows in panels if rows]
    figure = Figure(figsize=(WIDTH, 3.4 * max(1, len(panels)) + 0.4), layout="constrained")
    for axes, (size, rows) in zip(figure.subplots(max(1, len(panels)), squeeze=False).flat, panels, strict=False):
        _difference_panel(axes, study, rows)
        axes.set_ylabel(f"mIoU minus {reference_of(study)}\n(points)")
        if len(study.region_sizes) > 1:
            axes.set_title(f"N = {size}", fontsize=10)
    legend_below(figure)
    return figure


def _difference_panel(axes: Axes, study: Study, rows: Sequence[Difference]) -> None:
    budgets = sorted({d.budget for d in rows})
    names = list(dict.fromkeys(d.strategy for d in rows))
    step = min(0.16, 0.8 / len(names))
    for d in rows:
        x = budgets.index(d.budget) + (names.index(d.strategy) - (len(names) - 1) / 2) * step
        look = looks(study)[d.strategy]
        error = None if d.half_width is None else 100 * d.half_width
        axes.errorbar(
            x, 100 * d.mean, yerr=error, fmt=look.marker, color=look.colour, elinewidth=1.2, capsize=3, markersize=6.5
        )
        axes.plot([x + 0.3 * step] * len(d.values), [100 * v for v in d.values], ".", color=look.colour, markersize=4)
    for name in names:
        axes.plot([], [], looks(study)[name].marker, color=looks(study)[name].colour, label=name)
    axes.axhline(0, color=SOFT, linewidth=1)
    values = [100 * value for d in rows for value in d.values]
    room = 0.35 * max(max(values) - min(values), 1.0)
    axes.set_ylim(min(0.0, *values) - room, max(0.0, *values) + room)
    axes.set_xticks(range(len(budgets)), [f"{budget:,}" for budget in budgets])
    axes.set_xlabel(study.unit)
    axes.grid(False, axis="x")


def _x(study: Study, curve: Curve) -> list[float]:
    return [point.labelled_percent if study.by_pixels else point.budget for point in curve.points]


def _line(axes: Axes, study: Study, curve: Curve, y: Sequence[float]) -> None:
    look: Look = looks(study)[curve.strategy]
    dash: Any = look.dash
    label = curve.strategy
    if len(study.region_sizes) > 1:
        dash, label = (
            DASHES[study.region_sizes.index(curve.region_size) % len(DASHES)],
            f"{label}, N={curve.region_size}",
        )
    size = 10 if look.marker == "*" else 6.5
    axes.plot(
        _x(study, curve), y, linestyle=dash, color=look.colour, marker=look.marker, markersize=size,
        markeredgecolor="white", markeredgewidth=0.6, label=label,
    )  # fmt: skip


def _budget_axis(axes: Axes, study: Study) -> None:
    axes.set_xlabel("labelled pixels of the pool (%)" if study.by_pixels else study.unit)
    points = [p for curve in study.curves() for p in curve.points]
    if not points:
        return
    values = [p.labelled_percent if study.by_pixels else p.budget for p in points]
    # Budgets that double would crowd at the left of a linear axis.
    if max(values) >= 4 * min(values):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
    if study.by_pixels:
        first = next(c for c in study.curves() if len(c.points) == max(len(c.points) for c in study.curves()))
        axes.set_xticks([p.labelled_percent for p in first.points], [f"{p.labelled_percent:.1f}" for p in first.points])
        return
    ticks = sorted({p.budget for p in points})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    top = axes.secondary_xaxis("top")
    top.xaxis.set_minor_locator(NullLocator())
    percent = [fmean(p.labelled_percent for p in points if p.budget == tick) for tick in ticks]
    top.set_xticks(ticks, [f"{value:.1f} %" for value in percent])
    top.set_xlabel("labelled pixels of the pool", color=SOFT)
    top.tick_params(colors=SOFT, length=0)
    top.spines["top"].set_visible(False)
