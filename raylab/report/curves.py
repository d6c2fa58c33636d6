"""The figures of a study: budget curves, per-class IoU, and where time went. PNG, for a light or a dark page."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from raylab.report.aggregate import STAGES, Curve, Study

Theme = Literal["light", "dark"]

# Okabe and Ito's colours, told apart with every kind of colour vision; the two darkest are lightened on a dark page.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_ON_DARK = {"#0072B2": "#4BA3E3", "#009E73": "#2BC49A", "#D55E00": "#F07B2C"}
_RANDOM = {"light": "#6B7280", "dark": "#9CA3AF"}
_STAGE_COLOURS = dict(zip(STAGES, ("#0072B2", "#56B4E9", "#E69F00", "#CC79A7"), strict=True))
_MARKERS = "osD^vP"
_DASHES = ("-", "--", ":", "-.")
_INK = {"light": ("#1F2328", "#59636E", "#D8DEE4"), "dark": ("#E6EDF3", "#9AA4AF", "#30363D")}
_PAPER = {"light": "#FFFFFF", "dark": "#161B22"}


def colours(study: Study, theme: Theme = "light") -> dict[str, str]:
    """One colour a strategy, the same in every figure of the study; Random is grey."""
    others = [name for name in study.strategies if name != "random"]
    table = {name: _PALETTE[i % len(_PALETTE)] for i, name in enumerate(others)}
    if theme == "dark":
        table = {name: _ON_DARK.get(colour, colour) for name, colour in table.items()}
    return {name: _RANDOM[theme] if name == "random" else table[name] for name in study.strategies}


def budget_curves(study: Study, theme: Theme = "light") -> bytes:
    """mIoU against the budget: mean over seeds, band from the lowest to the highest seed, supervised bound dashed.

    With one region size the axis counts labelled regions, with the percentage of labelled pixels above; with several,
    regions differ in size, so the axis is the percentage.
    """
    curves, sizes = study.curves(), study.region_sizes
    by_pixels = len(sizes) > 1
    with _style(theme):
        figure = Figure(figsize=(6.6, 4.3 + 0.07 * len(curves)), layout="constrained")
        axes = figure.subplots()
        for curve in curves:
            _draw_curve(axes, curve, study, theme, by_pixels)
        if study.bound is not None:
            axes.axhline(
                100 * study.bound, color=_INK[theme][1], linestyle=(0, (5, 4)), linewidth=1.4, label="supervised"
            )
        axes.set_ylabel("mIoU (%) on the validation split")
        axes.set_xlabel("labelled pixels of the pool (%)" if by_pixels else "labelled regions")
        if curves:
            _budget_axis(axes, curves, by_pixels, theme)
            # Outside, where no curve can run under it, however many there are.
            figure.legend(loc="outside lower center", ncols=3, frameon=False, handlelength=2.6)
        return _png(figure)


def _draw_curve(axes: Axes, curve: Curve, study: Study, theme: Theme, by_pixels: bool) -> None:
    colour = colours(study, theme)[curve.strategy]
    x = [p.labelled_pixels if by_pixels else p.labelled_regions for p in curve.points]
    low, high = [100 * min(p.mious) for p in curve.points], [100 * max(p.mious) for p in curve.points]
    # More strategies than colours: the marker tells those of one colour apart.
    marker = _MARKERS[study.strategies.index(curve.strategy) // len(_PALETTE) % len(_MARKERS)]
    dash = _DASHES[study.region_sizes.index(curve.region_size) % len(_DASHES)]
    label = f"{curve.strategy}, N={curve.region_size}" if by_pixels else curve.strategy
    axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(x, [100 * p.mean for p in curve.points], dash, color=colour, marker=marker, label=label)


def _budget_axis(axes: Axes, curves: list[Curve], by_pixels: bool, theme: Theme) -> None:
    points = [p for curve in curves for p in curve.points]
    ticks = sorted({p.labelled_regions for p in points})
    if by_pixels:
        return
    # Budgets that double would crowd at the left of a linear axis.
    if ticks[-1] >= 8 * ticks[0]:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    top = axes.secondary_xaxis("top")
    top.xaxis.set_minor_locator(NullLocator())
    percent = [fmean(p.labelled_pixels for p in points if p.labelled_regions == tick) for tick in ticks]
    top.set_xticks(ticks, [f"{value:.1f} %" for value in percent])
    top.set_xlabel("labelled pixels of the pool", color=_INK[theme][1])
    top.tick_params(colors=_INK[theme][1], length=0)
    top.spines["top"].set_visible(False)


def class_bars(study: Study, theme: Theme = "light") -> bytes:
    """IoU of every class at each strategy's last budget, mean over seeds; the last region size of the grid."""
    curves = [curve for curve in study.curves() if curve.region_size == study.region_sizes[-1]]
    classes = list(dict.fromkeys(name for curve in curves for name in curve.points[-1].iou))
    with _style(theme):
        figure = Figure(figsize=(6.6, max(2.4, 0.62 + len(classes) * (0.12 + 0.1 * len(curves)))), layout="constrained")
        axes = figure.subplots()
        thick = 0.8 / max(1, len(curves))
        for i, curve in enumerate(curves):
            values = [curve.points[-1].iou.get(name) for name in classes]
            places = [row + (i - (len(curves) - 1) / 2) * thick for row in range(len(classes))]
            colour = colours(study, theme)[curve.strategy]
            axes.barh(places, [100 * (v or 0) for v in values], thick * 0.92, color=colour, label=curve.strategy)
        absent = [all(curve.points[-1].iou.get(name) is None for curve in curves) for name in classes]
        labels = [f"{name} (absent)" if gone else name for name, gone in zip(classes, absent, strict=True)]
        axes.set_yticks(range(len(classes)), labels)
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.set_xlabel("IoU (%) at the last budget")
        axes.grid(False, axis="y")
        if curves:
            figure.legend(loc="outside upper center", ncols=min(4, len(curves)), frameon=False)
        return _png(figure)


def stage_seconds(study: Study) -> dict[str, dict[str, float]]:
    """Seconds of a whole run by strategy and stage, mean over its runs; a shared round 0 is counted in each."""
    totals: dict[str, list[dict[str, float]]] = defaultdict(list)
    for run in study.runs:
        if run.points:
            spent = {stage: sum(point.seconds.get(stage, 0.0) for point in run.points) for stage in STAGES}
            totals[run.config.strategy.label].append(spent)
    return {name: {stage: fmean(run[stage] for run in runs) for stage in STAGES} for name, runs in totals.items()}


def stage_bars(study: Study, theme: Theme = "light") -> bytes:
    """Where the time of a run went, by strategy."""
    table = stage_seconds(study)
    longest = max((sum(row.values()) for row in table.values()), default=0.0)
    unit, name = next(((u, n) for u, n in ((3600, "hours"), (60, "minutes")) if longest >= 2 * u), (1, "seconds"))
    with _style(theme):
        figure = Figure(figsize=(6.6, 1.15 + 0.36 * max(1, len(table))), layout="constrained")
        axes = figure.subplots()
        left = dict.fromkeys(table, 0.0)
        for stage in STAGES:
            widths = [row[stage] / unit for row in table.values()]
            axes.barh(list(table), widths, 0.62, left=list(left.values()), color=_STAGE_COLOURS[stage], label=stage)
            left = {key: start + width for (key, start), width in zip(left.items(), widths, strict=True)}
        axes.invert_yaxis()
        axes.set_xlabel(f"{name} a run")
        axes.grid(False, axis="y")
        figure.legend(loc="outside upper center", ncols=len(STAGES), frameon=False)
        return _png(figure)


@contextmanager
def _style(theme: Theme) -> Iterator[None]:
    ink, soft, grid = _INK[theme]
    style: Any = {
        "font.size": 10, "text.color": ink, "axes.labelcolor": ink, "axes.edgecolor": grid, "xtick.color": soft,
        "ytick.color": soft, "xtick.labelcolor": ink, "ytick.labelcolor": ink, "axes.facecolor": _PAPER[theme],
        "figure.facecolor": _PAPER[theme], "savefig.facecolor": _PAPER[theme], "axes.grid": True, "grid.color": grid,
        "grid.linewidth": 0.7, "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
        "lines.linewidth": 2.0, "lines.markersize": 5, "xtick.major.size": 0, "ytick.major.size": 0,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        yield


def _png(figure: Figure) -> bytes:
    # Without the software's version in it, the same study gives the same bytes.
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=160, metadata={"Software": None})
    return out.getvalue()
