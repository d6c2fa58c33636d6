"""The report of a study: one page that needs nothing beside it, and the same figures and numbers as files."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from numpy.typing import NDArray
from PIL import Image

import raylab
from raylab.errors import RaylabError
from raylab.report import curves, overlays
from raylab.report.aggregate import STAGES, CurvePoint, Study, by_budget, headlines, points_csv, read_study
from raylab.store import Store

FIGURES: dict[str, Callable[[Study, curves.Theme], bytes]] = {
    "curves": curves.budget_curves,
    "classes": curves.class_bars,
    "seconds": curves.stage_bars,
}


def report_folder(name: str) -> str:
    """Where a study's report lies below the storage root."""
    return f"studies/{name}/report"


def write_report(store: Store, name: str, mirror_hint: str | None = None) -> str:
    """Make the report of a study as far as it got.

    Args:
        store: of the results; the report is written there too.
        name: of the study.
        mirror_hint: the line that opens MLflow on these results, if there is one.

    Returns:
        The place of index.html.

    Raises:
        StoreError: there is no such study, or a committed file of it is damaged.
    """
    study = read_study(store, name)
    folder = report_folder(name)
    pictures = {(figure, theme): draw(study, theme) for figure, draw in FIGURES.items() for theme in ("light", "dark")}
    seen, no_overlays = _overlays(store, study)
    rounds = len(study.config.run.budget.rounds) + 1
    for figure in FIGURES:
        store.write_bytes(f"{folder}/{figure}.png", pictures[figure, "light"])
    # Overlays of an earlier report may be of other images.
    for file in store.list(folder):
        if file.startswith("overlay-"):
            store.delete(f"{folder}/{file}")
    for i, overlay in enumerate(seen, start=1):
        store.write_bytes(f"{folder}/overlay-{i}.png", overlays.sheet(overlay, rounds))
    store.write_bytes(f"{folder}/points.csv", points_csv(study).encode())
    configuration = yaml.safe_dump(study.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    store.write_bytes(f"{folder}/study.yaml", configuration.encode())
    page = _page(
        study,
        figures={key: _data_uri(png, "png") for key, png in pictures.items()},
        overlays=[_embed(overlay) for overlay in seen],
        no_overlays=no_overlays,
        palette=["#{:02x}{:02x}{:02x}".format(*colour) for colour in overlays.round_colours(rounds)],
        configuration=configuration,
        mirror_hint=mirror_hint,
        place=store.place(folder),
        storage=store.uri,
    )
    store.write_bytes(f"{folder}/index.html", page.encode())
    return store.place(f"{folder}/index.html")


def _overlays(store: Store, study: Study) -> tuple[list[overlays.Overlay], str]:
    try:
        found = overlays.study_overlays(store, study)
    except (RaylabError, OSError) as error:
        return [], f"The images could not be read, so there are no overlays: {str(error).splitlines()[0]}"
    return found, "" if found else "No regions were selected yet."


def _page(study: Study, **parts: Any) -> str:
    environment = Environment(
        loader=PackageLoader("raylab.report", "."),
        autoescape=select_autoescape(["html", "j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    points = [run.points[-1] for run in study.runs if run.points]
    text = environment.get_template("page.html.j2").render(
        study=study,
        headlines=headlines(study),
        table=_table(study),
        colours={theme: curves.colours(study, theme) for theme in ("light", "dark")},
        several_sizes=len(study.region_sizes) > 1,
        finished=sum(run.finished for run in study.runs),
        seeds=", ".join(map(str, study.config.seeds)),
        most_pixels=max((point.labelled_pixels for point in points), default=0.0),
        stages=STAGES,
        seconds={name: {s: _duration(v) for s, v in row.items()} for name, row in curves.stage_seconds(study).items()},
        memory=_memory(study),
        fingerprints=sorted({run.data_fingerprint for run in study.runs if run.data_fingerprint}),
        version=raylab.__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **parts,
    )
    return text


def _table(study: Study) -> list[dict[str, Any]]:
    """Rows grouped by budget, values as text; `best` marks the highest mean of the budget."""
    groups = []
    for group in by_budget(study):
        # Round 0 is the same for all: nothing to mark where all are equal.
        means = {point.mean for _, point in group}
        best = max(means) if len(means) > 1 else None
        curve, first = group[0]
        rows = [{"strategy": c.strategy, "best": p.mean == best, **_cells(p, study.bound)} for c, p in group]
        groups.append({"regions": f"{first.labelled_regions:,}", "size": curve.region_size, "rows": rows})
    return groups


def _cells(point: CurvePoint, bound: float | None) -> dict[str, str]:
    return {
        "miou": f"{100 * point.mean:.1f}",
        "std": "" if point.std is None else f"{100 * point.std:.1f}",
        "n": str(len(point.seeds)),
        "pixels": f"{point.labelled_pixels:.1f}",
        "images": f"{point.annotated_images:.1f}".removesuffix(".0"),
        "share": f"{100 * point.mean / bound:.1f}" if bound else "",
    }


def _memory(study: Study) -> dict[str, str]:
    peaks = {
        stage: max((p.peak_memory.get(stage, 0) for run in study.runs for p in run.points), default=0)
        for stage in STAGES
    }
    return {stage: f"{peak / 2**30:.2f} GiB" if peak else "-" for stage, peak in peaks.items()}


def _duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 90:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.1f} s"


def _embed(overlay: overlays.Overlay) -> dict[str, Any]:
    panels = [(label, f"{n} regions after round 0", _data_uri(_jpeg(p), "jpeg")) for label, n, p in overlay.panels]
    if overlay.mask is not None:
        panels.append(("true classes", "", _data_uri(_flat_png(overlay.mask), "png")))
    return {"image": overlay.image, "panels": panels}


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "jpeg", quality=85, optimize=True)
    return out.getvalue()


def _flat_png(picture: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return out.getvalue()


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
