"""The figures of a report: over the budget, by stage, and by class (one row a class, one mark a strategy)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from raylab.report.labels import LabelHistogram
from raylab.report.statistics import SHARE, Difference, differences, reference_of, stage_seconds, summaries, target_of
from raylab.report.study_data import STAGES, Curve, CurvePoint, Study
from raylab.report.style import DASHES, INK, SOFT, WIDTH, Look, legend_below, looks

# Light and dark by turns, and hatched: neighbours differ without colour as well.
_STAGE_LOOKS = dict(
    zip(STAGES, (("#0072B2", ""), ("#9AD0F0", "////"), ("#E69F00", ""), ("#F3D9E6", "\\\\")), strict=True)
)


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


def stage_bars(study: Study) -> Figure:
    """Where the time of a run went, by strategy."""
    table = stage_seconds(study)
    longest = max((sum(row.values()) for row in table.values()), default=0.0)
    unit, name = next(((u, n) for u, n in ((3600, "hours"), (60, "minutes")) if longest >= 2 * u), (1, "seconds"))
    figure = Figure(figsize=(WIDTH, 1.15 + 0.36 * max(1, len(table))), layout="constrained")
    axes = figure.subplots()
    left = dict.fromkeys(table, 0.0)
    for stage in STAGES:
        widths = [row[stage] / unit for row in table.values()]
        colour, hatch = _STAGE_LOOKS[stage]
        axes.barh(
            list(table), widths, 0.62, left=list(left.values()), color=colour, hatch=hatch, edgecolor=INK,
            linewidth=0.5, label=stage,
        )  # fmt: skip
        left = {key: start + width for (key, start), width in zip(left.items(), widths, strict=True)}
    axes.invert_yaxis()
    axes.set_xlabel(f"{name} a run")
    axes.grid(False, axis="y")
    figure.legend(loc="outside upper center", ncols=len(STAGES))
    return figure


def class_dots(study: Study) -> Figure:
    """IoU of every class at each strategy's last budget, mean over seeds; the last region size of the grid."""
    curves = [curve for curve in study.curves() if curve.region_size == study.region_sizes[-1]]
    table = {curve.strategy: curve.points[-1].iou for curve in curves}
    classes = list(dict.fromkeys(name for row in table.values() for name in row))
    present = [c for c in classes if any(row.get(c) is not None for row in table.values())]
    percent = {name: {c: 100 * v for c, v in row.items() if v is not None} for name, row in table.items()}
    bound = {c: 100 * v for c, v in study.supervised_iou.items() if v is not None}
    figure, axes = _rows(classes, len(table))
    _dots(axes, study, classes, percent)
    _marks(axes, classes, bound, "fully supervised")
    axes.set_yticks(range(len(classes)), [c if c in present else f"{c} (absent)" for c in classes])
    # A class that is never found keeps its whole mark.
    axes.set_xlim(left=-2)
    axes.set_xlabel("IoU (%) at the last budget")
    _legend_above(figure, axes)
    return figure


def label_dots(study: Study, histogram: LabelHistogram) -> Figure:
    """What each strategy had labelled at its last budget: each class's share of the pixels, beside the pool's.

    The axis is logarithmic, as classes differ by orders of magnitude; an open mark at its left end is a share of zero.
    """
    pool = histogram.pool_shares()
    classes = sorted((c for c in pool if pool[c] > 0), key=lambda c: -pool[c])
    table = {name: histogram.last_shares(name) for name in histogram.strategies}
    positive = [share for row in [pool, *table.values()] for share in row.values() if share > 0]
    floor = 0.7 * min(positive, default=0.1)
    figure, axes = _rows(classes, len(table))
    axes.set_xscale("log")
    _dots(axes, study, classes, table, floor)
    _marks(axes, classes, pool, "the whole pool")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlim(left=0.8 * floor)
    wide = max(positive, default=1.0) > 300 * floor
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("share of the labelled pixels (%), last budget")
    _legend_above(figure, axes)
    return figure


def _rows(classes: Sequence[str], series: int) -> tuple[Figure, Axes]:
    height = 1.5 + len(classes) * (0.16 + 0.04 * series)
    figure = Figure(figsize=(WIDTH, max(2.4, height)), layout="constrained")
    axes = figure.subplots()
    for i in range(0, len(classes), 2):
        # Bands lead the eye from the name to the marks.
        axes.axhspan(i - 0.5, i + 0.5, color="#F4F6F8", linewidth=0, zorder=0)
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.grid(False, axis="y")
    return figure, axes


def _dots(
    axes: Axes, study: Study, classes: Sequence[str], table: Mapping[str, Mapping[str, float]], floor: float = 0.0
) -> None:
    step = 0.72 / max(1, len(table))
    for i, (name, row) in enumerate(table.items()):
        look = looks(study)[name]
        shift = (i - (len(table) - 1) / 2) * step
        size = 8.5 if look.marker == "*" else 5.5
        for row_index, value in ((k, row[c]) for k, c in enumerate(classes) if c in row):
            # A logarithmic axis has no zero.
            face = look.colour if value >= floor else "white"
            x = max(value, floor)
            axes.plot(x, row_index + shift, look.marker, color=look.colour, markerfacecolor=face, markersize=size)
        axes.plot([], [], look.marker, color=look.colour, markersize=size, label=name)


def _marks(axes: Axes, classes: Sequence[str], values: Mapping[str, float], label: str) -> None:
    """A line across each row, for what the strategies are measured against."""
    there = [(values[c], k) for k, c in enumerate(classes) if values.get(c)]
    if there:
        x, rows = zip(*there, strict=True)
        axes.vlines(x, [k - 0.42 for k in rows], [k + 0.42 for k in rows], color=INK, linewidth=1.8, label=label)


def _legend_above(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        widest = max(map(len, labels))
        columns = 4 if widest <= 16 else 3 if widest <= 24 else 2
        figure.legend(handles, labels, loc="outside upper center", ncols=columns, handlelength=1.2)
