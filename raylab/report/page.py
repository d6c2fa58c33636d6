"""The text and pictures of the page, as the template takes them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from numpy.typing import NDArray
from PIL import Image

import raylab
from raylab.report import paper
from raylab.report.headlines import headlines
from raylab.report.labels import LabelHistogram
from raylab.report.overlays import Overlay, Panel
from raylab.report.panels import round_colours
from raylab.report.statistics import CONFIDENCE, SHARE, Difference, differences, reference_of, stage_seconds, summaries
from raylab.report.study_data import STAGES, CurvePoint, Study, by_budget
from raylab.report.style import Picture, looks
from raylab.report.tables import show_budget, show_count, show_spread
from raylab.selection.objective import TERMS

_GLYPHS = {
    "o": "M5 1a4 4 0 1 0 0 8a4 4 0 1 0 0-8z",
    "s": "M1.4 1.4h7.2v7.2h-7.2z",
    "^": "M5 1l4.2 8h-8.4z",
    "v": "M5 9l4.2-8h-8.4z",
    "D": "M5 .4l4.6 4.6-4.6 4.6-4.6-4.6z",
    "P": "M3.5.8h3v2.7h2.7v3h-2.7v2.7h-3v-2.7h-2.7v-3h2.7z",
    "X": "M2.7.6l2.3 2.3 2.3-2.3 2.1 2.1-2.3 2.3 2.3 2.3-2.1 2.1-2.3-2.3-2.3 2.3-2.1-2.1 2.3-2.3-2.3-2.3z",
    "*": "M5 .2l1.4 3.2 3.4.3-2.6 2.3.8 3.4-3-1.8-3 1.8.8-3.4-2.6-2.3 3.4-.3z",
}
"""The figures' markers in a box of 10 x 10, so that the tables can be read beside them without colour."""
_CELL_WIDTH = 320
"""Pixels of a picture in the table of rounds."""


def render_page(
    study: Study,
    pictures: dict[str, Picture],
    seen: Sequence[Overlay],
    histogram: LabelHistogram | None,
    problem: str,
    quoted: paper.Beside | None,
    **parts: Any,
) -> str:
    """The page as HTML that loads nothing.

    Args:
        study: as read.
        pictures: by the name of their files.
        seen: overlays.
        histogram: of labels.
        problem: why overlays or labels are missing; empty where they are not.
        quoted: the paper's values beside ours.
        **parts: what the template takes as it is.
    """
    environment = Environment(
        loader=PackageLoader("raylab.report", "."),
        autoescape=select_autoescape(["html", "j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html.j2").render(
        study=study,
        figures={key: _data_uri(picture.svg, "svg+xml") for key, picture in pictures.items()},
        overlays=[_embed(overlay, by_round=i == 0) for i, overlay in enumerate(seen)],
        histogram=histogram,
        problem=problem,
        quoted=_quoted(quoted),
        **_facts(study),
        **_tables(study),
        **parts,
    )
    return text


def _facts(study: Study) -> dict[str, Any]:
    points = [run.points[-1] for run in study.runs if run.points]
    rounds = len(study.config.run.budget.rounds) + 1
    return {
        "headlines": headlines(study),
        "reference": reference_of(study) if study.runs else "",
        "unit": study.config.run.budget.unit,
        "share": f"{100 * SHARE:.0f}",
        "confidence": f"{100 * CONFIDENCE:.0f}",
        "stages": STAGES,
        "glyphs": {name: (look.colour, _GLYPHS[look.marker]) for name, look in looks(study).items()},
        "palette": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in round_colours(rounds)],
        "several_sizes": len(study.region_sizes) > 1,
        "finished": sum(run.finished for run in study.runs),
        "seeds": ", ".join(map(str, study.config.seeds)),
        "most_pixels": max((point.labelled_percent for point in points), default=0.0),
        "fingerprints": sorted({run.data_fingerprint for run in study.runs if run.data_fingerprint}),
        "version": raylab.__version__,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _tables(study: Study) -> dict[str, Any]:
    return {
        "table": _budget_table(study),
        "summary": _summary_table(study),
        "differences": _difference_tables(study),
        "classes": _class_table(study),
        "images": _image_table(study),
        "seconds": {name: {s: _duration(v) for s, v in row.items()} for name, row in stage_seconds(study).items()},
        "memory": _memory(study),
    }


def _budget_table(study: Study) -> list[dict[str, Any]]:
    """Rows grouped by budget, values as text; `best` marks the highest mean of the budget."""
    groups = []
    for group in by_budget(study):
        # Round 0 is the same for all: nothing to mark where all are equal.
        means = {point.mean for _, point in group}
        best = max(means) if len(means) > 1 else None
        curve, first = group[0]
        rows = [{"strategy": c.strategy, "best": p.mean == best, **_cells(p, study.bound)} for c, p in group]
        groups.append({"budget": f"{first.budget:,}", "size": curve.region_size, "rows": rows})
    return groups


def _cells(point: CurvePoint, bound: float | None) -> dict[str, str]:
    return {
        "miou": f"{100 * point.mean:.1f}",
        "std": "" if point.std is None else f"{100 * point.std:.1f}",
        "n": str(len(point.seeds)),
        "regions": show_count(point.labelled_regions),
        "pixels": f"{point.labelled_percent:.1f}",
        "images": show_count(point.annotated_images),
        "share": f"{100 * point.mean / bound:.1f}" if bound else "",
    }


def _summary_table(study: Study) -> list[dict[str, str]]:
    return [
        {
            "strategy": s.strategy,
            "size": str(s.region_size),
            "area": show_spread(s.area, 100),
            "budget": show_budget(s),
            "pixels": show_spread(s.pixels, digits=2),
            "reached": f"{s.reached} of {s.seeds}",
        }
        for s in summaries(study)
    ]


def _difference_tables(study: Study) -> list[dict[str, Any]]:
    """By region size: differences to the reference at every budget, and of all pairs at the last."""
    blocks = []
    for size in study.region_sizes:
        found = [d for d in differences(study) if d.region_size == size]
        if not found:
            continue
        budgets = sorted({d.budget for d in found})
        against = [d for d in found if d.reference == reference_of(study)]
        rows: dict[str, list[str]] = {d.strategy: [""] * len(budgets) for d in against}
        for d in against:
            rows[d.strategy][budgets.index(d.budget)] = _signed(d)
        last = [d for d in found if d.budget == budgets[-1]]
        pairs = [(d.strategy, d.reference, _signed(d), str(len(d.seeds))) for d in last]
        blocks.append({"size": size, "budgets": [f"{b:,}" for b in budgets], "rows": rows, "pairs": pairs})
    return blocks


def _signed(difference: Difference) -> str:
    text = f"{100 * difference.mean:+.1f}"
    if interval := difference.interval:
        text += f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def _class_table(study: Study) -> dict[str, Any]:
    curves = [curve for curve in study.curves() if curve.region_size == study.region_sizes[-1]]
    last = {curve.strategy: curve.points[-1].iou for curve in curves}
    if study.supervised_iou:
        last["fully supervised"] = study.supervised_iou
    names = list(dict.fromkeys(name for row in last.values() for name in row))
    rows = {name: [_percent(row.get(name)) for row in last.values()] for name in names}
    return {"columns": list(last), "rows": rows}


def _image_table(study: Study) -> list[dict[str, Any]]:
    blocks = []
    for size in study.region_sizes:
        curves = [curve for curve in study.curves() if curve.region_size == size]
        budgets = sorted({p.budget for curve in curves for p in curve.points})
        rows = {}
        for curve in curves:
            at = {p.budget: show_count(p.annotated_images) for p in curve.points}
            rows[curve.strategy] = [at.get(budget, "") for budget in budgets]
        if budgets:
            blocks.append({"size": size, "budgets": [f"{b:,}" for b in budgets], "rows": rows})
    return blocks


def _quoted(quoted: paper.Beside | None) -> dict[str, Any] | None:
    if quoted is None:
        return None
    digits = {"miou_percent": 2, "annotated_images": 0, "selection_seconds": 1}
    rows = []
    for cell in quoted.cells:
        quote, n = cell.quote, digits[cell.quote.measure]
        rows.append(
            {
                "strategy": quote.strategy,
                "data": quote.data,
                "budget": f"{quote.budget:,}",
                "measure": paper.MEASURES[quote.measure],
                "cell": f"row {quote.row}, column {quote.column}",
                "paper": f"{quote.value:,g}",
                "paper_std": f"{quote.std:,g}",
                "runs": quote.runs,
                "ours": "-" if cell.mean is None else f"{cell.mean:,.{n}f}",
                "ours_std": "" if cell.std is None else f"{cell.std:,.{n}f}",
                "seeds": len(cell.ours) or "",
                "difference": "" if cell.difference is None else f"{cell.difference:+,.{n}f}",
                "differs": ", ".join(cell.differs),
            }
        )
    shares = [
        {
            "paper": share.quoted,
            "text": f"{share.strategy} at {share.budget:,} regions, {share.percent:g} % of the pixels ({share.where})",
            "ours": "not measured here" if share.ours is None else f"{share.ours:.1f} %",
        }
        for share in quoted.shares
    ]
    text = {"citation": paper.citation(), "claim": paper.claim()}
    return {"name": quoted.name, "about": quoted.about, "rows": rows, "shares": shares, **text}


def _memory(study: Study) -> dict[str, str]:
    peaks = {
        stage: max((p.peak_memory.get(stage, 0) for run in study.runs for p in run.points), default=0)
        for stage in STAGES
    }
    return {stage: f"{peak / 2**30:.2f} GiB" if peak else "-" for stage, peak in peaks.items()}


def _embed(overlay: Overlay, by_round: bool) -> dict[str, Any]:
    panels = [
        {"strategy": panel.strategy, "count": panel.count, "picture": _data_uri(_jpeg(panel.picture), "jpeg")}
        for panel in overlay.panels
    ]
    cells = {p.strategy: [_data_uri(_jpeg(r, _CELL_WIDTH), "jpeg") for r in p.rounds] for p in overlay.panels}
    return {
        "image": overlay.image,
        "panels": panels,
        "truth": _data_uri(_flat_png(overlay.truth), "png"),
        "classes": [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in overlay.classes],
        "rounds": {name: row for name, row in cells.items() if row} if by_round else {},
        "picks": [row for panel in overlay.panels for row in _pick_rows(panel)],
    }


def _pick_rows(panel: Panel) -> list[dict[str, Any]]:
    return [
        {
            "strategy": panel.strategy,
            "number": pick.number,
            "round": pick.round,
            "order": f"{pick.order + 1:,}",
            "region": pick.region_id,
            "corner": f"{pick.top}, {pick.left}",
            "terms": ["-" if (value := pick.terms[term]) is None else f"{value:.3f}" for term in TERMS],
        }
        for pick in panel.picks
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 90:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.1f} s" if seconds else "-"


def _jpeg(picture: NDArray[np.uint8], width: int | None = None) -> bytes:
    out, image = io.BytesIO(), Image.fromarray(picture)
    if width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.save(out, "jpeg", quality=82, optimize=True)
    return out.getvalue()


def _flat_png(picture: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return out.getvalue()


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
