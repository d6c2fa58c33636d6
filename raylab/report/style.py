"""How the figures look: dark ink on white, told apart with every kind of colour vision and in grey print."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from raylab.report.study_data import Study

INK, SOFT, GRID = "#1F2328", "#59636E", "#D8DEE4"
# Okabe and Ito's colours without their yellow, which is too faint for a line on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
RANDOM = "#6B7280"
# Six colours, seven markers, four dashes: no two of the first 42 strategies share colour and marker, and the markers
# and dashes alone tell neighbours apart where a printer knows only grey. The star and the dots are Random's.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2, 1, 1.2, 1, 1.2)))
WIDTH = 7.2
"""Inches of a figure."""


@dataclass(frozen=True)
class Look:
    """How one strategy is drawn in every figure of its study.

    Attributes:
        colour: hexadecimal.
        marker: matplotlib's letter.
        dash: matplotlib's line style.
    """

    colour: str
    marker: str
    dash: Any


@dataclass(frozen=True)
class Picture:
    """One figure in both of its forms."""

    png: bytes
    svg: bytes


def looks(study: Study) -> dict[str, Look]:
    """One look a strategy, the same in every figure of the study; Random is grey."""
    others = [name for name in study.strategies if name != "random"]
    table = {
        name: Look(PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
        for i, name in enumerate(others)
    }
    return {name: table.get(name, Look(RANDOM, "*", (0, (1.2, 1.2)))) for name in study.strategies}


def render(draw: Callable[[], Figure]) -> Picture:
    """Draw a figure in the report's style; the same study gives the same bytes."""
    style: Any = {
        "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": SOFT, "xtick.color": SOFT,
        "ytick.color": SOFT, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.facecolor": "white",
        "figure.facecolor": "white", "savefig.facecolor": "white", "axes.grid": True, "grid.color": GRID,
        "grid.linewidth": 0.7, "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
        "lines.linewidth": 1.9, "lines.markersize": 5.5, "xtick.major.size": 0, "ytick.major.size": 0,
        "axes.linewidth": 0.8, "legend.frameon": False, "svg.hashsalt": "raylab", "svg.fonttype": "path",
        "font.family": "DejaVu Sans", "text.parse_math": False,  # a class may be named $
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = draw()
        # Without the software's version and the date in them, the same study gives the same bytes.
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return Picture(png.getvalue(), svg.getvalue())


def legend_below(figure: Figure) -> None:
    """The legend outside of the axes, where no curve can run under it, however many there are."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        columns = 3 if max(map(len, handles)) <= 24 else 2
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, handlelength=3.2)
