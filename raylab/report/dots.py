"""Figures by class: IoU, and the labels of what was selected. One row a class, one mark a strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from raylab.report.labels import LabelHistogram
from raylab.report.study_data import Study
from raylab.report.style import INK, WIDTH, looks


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
            # A share of nothing has no place on a logarithmic axis.
            face = look.colour if value >= floor else "white"
            place = max(value, floor)
            axes.plot(place, row_index + shift, look.marker, color=look.colour, markerfacecolor=face, markersize=size)
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
