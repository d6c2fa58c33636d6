"""A study in tables: aligned text for a terminal, and frames of everything the report shows, for its CSV files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from statistics import stdev
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from raylab.data.classes import over_classes
from raylab.report.statistics import (
    SHARE,
    SeedSummary,
    Spread,
    Summary,
    differences,
    seed_summaries,
    summaries,
    target_of,
)
from raylab.report.study_data import Curve, CurvePoint, Study, by_budget

_SUMMARY = [
    "strategy",
    "region_size",
    "unit",
    "target_miou",
    "seeds",
    "seeds_reaching_target",
    "first_budget_to_target",
    *(
        f"{name}.{part}"
        for name in ("budget_to_target", "pixels_percent_to_target", "area_under_curve")
        for part in ("mean", "std", "n")
    ),
]


def summary_frame(study: Study) -> pd.DataFrame:
    """One row a strategy and region size: budget to the target and area under the curve, over seeds."""
    rows = []
    for s in summaries(study):
        row = {
            "strategy": s.strategy,
            "region_size": s.region_size,
            "unit": study.config.run.budget.unit,
            "target_miou": target_of(study),
            "seeds": s.seeds,
            "seeds_reaching_target": s.reached,
            "first_budget_to_target": s.first,
        }
        spreads = {"budget_to_target": s.budget, "pixels_percent_to_target": s.pixels, "area_under_curve": s.area}
        for name, spread in spreads.items():
            row[f"{name}.mean"] = spread and spread.mean
            row[f"{name}.std"] = spread and spread.std
            row[f"{name}.n"] = spread.n if spread else 0
        rows.append(row)
    return pd.DataFrame(rows, columns=_SUMMARY).astype({"seeds_reaching_target": "Int64"})


def seeds_frame(study: Study) -> pd.DataFrame:
    """The same as `summary_frame`, one row a seed; missing where a run misses the target, or is not finished."""
    names = {"budget": "budget_to_target", "pixels": "pixels_percent_to_target", "area": "area_under_curve"}
    columns = [field.name for field in fields(SeedSummary)]
    return pd.DataFrame(map(asdict, seed_summaries(study)), columns=columns).rename(columns=names)


def differences_frame(study: Study) -> pd.DataFrame:
    """mIoU of every strategy minus that of every earlier one, paired by seed, at every budget after the shared one."""
    columns = ["region_size", "budget", "strategy", "reference", "seeds", "mean", "std", "low", "high"]
    rows = []
    for d in differences(study):
        std = stdev(d.values) if len(d.values) > 1 else None
        low, high = d.interval or (None, None)
        rows.append((d.region_size, d.budget, d.strategy, d.reference, len(d.seeds), d.mean, std, low, high))
    return pd.DataFrame(rows, columns=columns)


def classes_frame(study: Study) -> pd.DataFrame:
    """IoU of every class at every budget, mean over the seeds in which it occurs, and with all masks."""
    rows: list[tuple[Any, ...]] = [
        (curve.strategy, curve.region_size, point.budget, name, iou)
        for curve in study.curves()
        for point in curve.points
        for name, iou in point.iou.items()
    ]
    rows += [("supervised", None, None, *item) for item in study.supervised_iou.items()]
    frame = pd.DataFrame(rows, columns=["strategy", "region_size", "budget", "class", "iou"])
    return frame.astype({"region_size": "Int64", "budget": "Int64"})


def as_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV without its index; what is missing is an empty field."""
    defused = frame.rename(columns=_defused)
    for name in defused.columns[[not is_numeric_dtype(kind) for kind in defused.dtypes]]:
        defused[name] = defused[name].map(_defused)
    return str(defused.to_csv(index=False, lineterminator="\n"))


def _defused(cell: Any) -> Any:
    """Text that a spreadsheet would run as a formula, with an apostrophe before it that makes it text."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def format_table(study: Study) -> str:
    """The result as aligned text: one line a strategy and budget, then one a strategy; mIoU in percent.

    Seeds are given as mean ± sample standard deviation (number of seeds).
    """
    sizes = len(study.region_sizes) > 1
    columns: list[tuple[str, Callable[[Curve, CurvePoint], str]]] = [
        ("regions", lambda _, p: show_count(p.labelled_regions)),
        ("pixels %", lambda _, p: f"{p.labelled_percent:.1f}"),
        ("images", lambda _, p: show_count(p.annotated_images)),
        ("mIoU %", lambda _, p: f"{100 * p.mean:.1f}"),
        ("± std", lambda _, p: "" if p.std is None else f"{100 * p.std:.1f}"),
        ("classes", lambda _, p: f"{sum(iou is not None for iou in p.iou.values())}/{len(p.iou)}"),
        ("seeds", lambda _, p: str(len(p.seeds))),
    ]
    if bound := study.bound:
        columns.append(("% of supervised", lambda _, p: f"{100 * p.mean / bound:.1f}"))
    if study.config.run.budget.unit != "regions":
        columns.insert(0, (study.config.run.budget.unit, lambda _, p: f"{p.budget:,}"))
    if sizes:
        columns.insert(0, ("N", lambda c, _: str(c.region_size)))
    groups = by_budget(study)
    if not groups:
        return f"study {study.name}: no round is finished yet"
    rows = [[[curve.strategy, *(show(curve, p) for _, show in columns)] for curve, p in group] for group in groups]
    lines = _aligned(["strategy", *(name for name, _ in columns)], rows)
    lines += _summary_lines(study, sizes)
    if bound:
        told = f"{100 * bound:.1f} % mIoU {over_classes(study.supervised_iou)}"
        lines += ["", f"fully supervised: {told} ({len(study.supervised)} training(s) on all masks)"]
    if unfinished := sum(not run.finished for run in study.runs):
        lines += ["", f"{unfinished} of {len(study.runs)} runs are not finished; they are shown as far as they got"]
    return "\n".join(lines)


def _summary_lines(study: Study, sizes: bool) -> list[str]:
    found = summaries(study)
    if not found:
        return []
    head = ["over all budgets", *(["N"] if sizes else []), "area under curve, mIoU %"]
    head += [f"{study.config.run.budget.unit} to {100 * SHARE:.0f} % of supervised"] if study.bound else []
    rows = []
    for s in found:
        cells = [s.strategy, *([str(s.region_size)] if sizes else []), show_spread(s.area, 100)]
        rows.append([*cells, *([show_budget(s)] if study.bound else [])])
    return ["", *_aligned(head, [rows])]


def show_count(value: float) -> str:
    """A mean of counts, without a decimal where it needs none."""
    return f"{value:,.1f}".removesuffix(".0")


def show_spread(spread: Spread | None, factor: float = 1.0, digits: int = 1) -> str:
    """Mean ± standard deviation."""
    if spread is None:
        return "-"
    mean = f"{factor * spread.mean:,.{digits}f}"
    return mean if spread.std is None else f"{mean} ± {factor * spread.std:,.{digits}f}"


def show_budget(summary: Summary) -> str:
    """The budget at which the target is reached, or how many seeds reach it."""
    if summary.budget:
        return show_spread(summary.budget, digits=0)
    return "not reached" if not summary.reached else f"reached by {summary.reached} of {summary.seeds} seeds"


def _aligned(head: Sequence[str], groups: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    rows = [row for group in groups for row in group]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [_line(head, widths), "  ".join("-" * width for width in widths)]
    return lines + "\n\n".join("\n".join(_line(row, widths) for row in group) for group in groups).split("\n")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join([cells[0].ljust(widths[0]), *padded[1:]]).rstrip()
