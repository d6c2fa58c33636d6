"""A study in text: the table for a terminal, and CSV files for everything the report shows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from statistics import stdev
from typing import Any

from raylab.report.statistics import SHARE, Spread, Summary, differences, seed_summaries, summaries, target_of
from raylab.report.study_data import STAGES, Curve, CurvePoint, Study, by_budget


def points_csv(study: Study) -> str:
    """Every point of every run, one line each."""
    classes = list(dict.fromkeys(name for run in study.runs for point in run.points for name in point.iou))
    first = ["strategy", "region_size", "seed", "round"]
    measured = ["budget", "labelled_regions", "labelled_percent", "annotated_images", "miou"]
    costs = [f"{kind}.{stage}" for kind in ("seconds", "peak_memory_bytes") for stage in STAGES]
    rows = []
    for run in study.runs:
        config = run.config
        for p in run.points:
            key = [config.strategy.label, config.regions.size, config.seed, p.round]
            measures = [p.budget, p.labelled_regions, p.labelled_percent, p.annotated_images, p.miou]
            values = [*measures, *map(p.iou.get, classes)]
            rows.append([*key, *values, *map(p.seconds.get, STAGES), *map(p.peak_memory.get, STAGES), config.label])
    return as_csv([*first, *measured, *(f"iou.{name}" for name in classes), *costs, "run"], rows)


def summary_csv(study: Study) -> str:
    """One line a strategy and region size: budget to the target and area under the curve, over seeds."""
    head = [
        "strategy",
        "region_size",
        "unit",
        "target_miou",
        "seeds",
        "seeds_reaching_target",
        "first_budget_to_target",
    ]
    spreads = ("budget_to_target", "pixels_percent_to_target", "area_under_curve")
    head += [f"{name}.{part}" for name in spreads for part in ("mean", "std", "n")]
    rows = []
    for s in summaries(study):
        over_seeds = [value for spread in (s.budget, s.pixels, s.area) for value in _parts(spread)]
        key = [s.strategy, s.region_size, study.config.run.budget.unit, target_of(study)]
        rows.append([*key, s.seeds, s.reached, s.first, *over_seeds])
    return as_csv(head, rows)


def seeds_csv(study: Study) -> str:
    """The same as `summary_csv`, one line a seed; empty where a run does not reach the target, or is not finished."""
    head = ["strategy", "region_size", "seed", "budget_to_target", "pixels_percent_to_target", "area_under_curve"]
    rows = ([s.strategy, s.region_size, s.seed, s.budget, s.pixels, s.area] for s in seed_summaries(study))
    return as_csv(head, rows)


def differences_csv(study: Study) -> str:
    """mIoU of every strategy minus that of every earlier one, paired by seed, at every budget after the shared one."""
    head = ["region_size", "budget", "strategy", "reference", "seeds", "mean", "std", "low", "high"]
    rows = []
    for d in differences(study):
        spread = stdev(d.values) if len(d.values) > 1 else None
        low, high = d.interval or (None, None)
        rows.append([d.region_size, d.budget, d.strategy, d.reference, len(d.seeds), d.mean, spread, low, high])
    return as_csv(head, rows)


def classes_csv(study: Study) -> str:
    """IoU of every class at every budget, mean over the seeds in which it occurs, and with all masks."""
    rows: list[list[Any]] = []
    for curve in study.curves():
        for p in curve.points:
            rows += [[curve.strategy, curve.region_size, p.budget, *item] for item in p.iou.items()]
    rows += [["supervised", None, None, *item] for item in study.supervised_iou.items()]
    return as_csv(["strategy", "region_size", "budget", "class", "iou"], rows)


def as_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; None becomes an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()


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
        lines += ["", f"fully supervised: {100 * bound:.1f} % mIoU ({len(study.supervised)} training(s) on all masks)"]
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


def _parts(spread: Spread | None) -> list[float | None]:
    return [None, None, 0] if spread is None else [spread.mean, spread.std, spread.n]


def _aligned(head: Sequence[str], groups: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    rows = [row for group in groups for row in group]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [_line(head, widths), "  ".join("-" * width for width in widths)]
    return lines + "\n\n".join("\n".join(_line(row, widths) for row in group) for group in groups).split("\n")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join([cells[0].ljust(widths[0]), *padded[1:]]).rstrip()
