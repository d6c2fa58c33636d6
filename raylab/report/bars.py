"""Where the time of a run went, as a figure and as numbers."""

from __future__ import annotations

from matplotlib.figure import Figure

from raylab.report.study_data import STAGES, Study, points_frame
from raylab.report.style import INK, WIDTH

# Light and dark by turns, and hatched: neighbours differ without colour as well.
_STAGE_LOOKS = dict(
    zip(STAGES, (("#0072B2", ""), ("#9AD0F0", "////"), ("#E69F00", ""), ("#F3D9E6", "\\\\")), strict=True)
)


def stage_seconds(study: Study) -> dict[str, dict[str, float]]:
    """Seconds of a whole run by strategy and stage, mean over its runs; a shared round 0 is counted in each."""
    points = points_frame(study)
    spent = points.groupby(["strategy", "run"], sort=False)[[f"seconds.{stage}" for stage in STAGES]].sum()
    means = spent.rename(columns=lambda name: name.removeprefix("seconds.")).groupby("strategy", sort=False).mean()
    return {str(name): row for name, row in means.to_dict("index").items()}


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
