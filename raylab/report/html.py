"""The report of a study: one page that needs nothing beside it, and the same figures and numbers as files."""

from __future__ import annotations

import yaml

from raylab.errors import RaylabError
from raylab.files import Folder
from raylab.report import figures, overlays, tables
from raylab.report.labels import LabelHistogram, label_histogram, labels_frame
from raylab.report.page import render_page
from raylab.report.paper import beside
from raylab.report.statistics import differences, reference_of
from raylab.report.study_data import Study, points_frame, read_study
from raylab.report.style import Picture, render
from raylab.runs.studies import report_folder

TABLES = {
    "points": points_frame,
    "summary": tables.summary_frame,
    "seeds": tables.seeds_frame,
    "differences": tables.differences_frame,
    "classes": tables.classes_frame,
}


def write_report(store: Folder, name: str, mirror_hint: str | None = None, paper: str | None = None) -> str:
    """Make the report of a study as far as it got.

    Args:
        store: of the results; the report is written there too.
        name: of the study.
        mirror_hint: the line that opens MLflow on these results, if there is one.
        paper: the table or figure of the paper that the study reproduces ("Table II", "Fig. 5"): its printed values
            are put beside ours.

    Returns:
        Path or URI of index.html.

    Raises:
        StoreError: there is no such study, or a committed file of it is damaged.
        ConfigError: the paper has no such table.
    """
    study = read_study(store, name)
    paper = paper or study.config.paper
    quoted = beside(study, paper) if paper else None
    folder = report_folder(name)
    seen, histogram, problem = _from_data(store, study)
    pictures = draw_figures(study, histogram)
    # Files of an earlier report may be of other images, or of data that was readable then.
    for file in store.list(folder):
        if file.startswith(("overlay-", "labels.", "differences.", "picks.")):
            store.delete(f"{folder}/{file}")
    written = _files(study, pictures, seen, histogram)
    configuration = yaml.safe_dump(study.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    written["study.yaml"] = configuration.encode()
    page = render_page(
        study, pictures, seen, histogram, problem, quoted,
        configuration=configuration, mirror_hint=mirror_hint, folder=store.uri_of(folder), storage=store.uri,
        files=sorted(written),
    )  # fmt: skip
    written["index.html"] = page.encode()
    for file, data in written.items():
        store.write_bytes(f"{folder}/{file}", data)
    return store.uri_of(f"{folder}/index.html")


def draw_figures(study: Study, histogram: LabelHistogram | None) -> dict[str, Picture]:
    """Every plot that the study has data for, by the name of its files."""
    found = {
        "curves": render(lambda: figures.budget_curves(study)),
        "images": render(lambda: figures.image_curves(study)),
        "classes": render(lambda: figures.class_dots(study)),
        "seconds": render(lambda: figures.stage_bars(study)),
    }
    if any(d.reference == reference_of(study) for d in differences(study)):
        found["differences"] = render(lambda: figures.difference_dots(study))
    if histogram:
        found["labels"] = render(lambda: figures.label_dots(study, histogram))
    return found


def _from_data(store: Folder, study: Study) -> tuple[list[overlays.Overlay], LabelHistogram | None, str]:
    """What needs the images and masks, and why it is not there."""
    # A page of many strategies would grow beyond what a browser likes.
    images = 4 if len(study.strategies) <= 6 else 2
    try:
        seen = overlays.study_overlays(store, study, images)
        histogram = label_histogram(store, study)
    except (RaylabError, OSError) as error:
        return [], None, f"The images and masks could not be read: {str(error).splitlines()[0]}"
    return seen, histogram, "" if seen else "No regions were selected yet."


def _files(
    study: Study, pictures: dict[str, Picture], seen: list[overlays.Overlay], histogram: LabelHistogram | None
) -> dict[str, bytes]:
    written = {f"{key}.csv": tables.as_csv(frame(study)).encode() for key, frame in TABLES.items()}
    for key, picture in pictures.items():
        written |= {f"{key}.png": picture.png, f"{key}.svg": picture.svg}
    if histogram:
        written["labels.csv"] = tables.as_csv(labels_frame(histogram)).encode()
    return written | _overlay_files(study, seen)


def _overlay_files(study: Study, seen: list[overlays.Overlay]) -> dict[str, bytes]:
    rounds = len(study.config.run.budget.rounds) + 1
    written: dict[str, bytes] = {}
    for i, overlay in enumerate(seen, start=1):
        written[f"overlay-{i}.png"] = overlays.overlay_sheet(overlay, rounds)
        if by_round := overlays.rounds_sheet(overlay, rounds):
            written[f"overlay-{i}-rounds.png"] = by_round
    if seen:
        written["picks.csv"] = tables.as_csv(overlays.numbered_picks_frame(seen)).encode()
    return written
