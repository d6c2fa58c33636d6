from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from raylab.config import StudyConfig
from raylab.files import Folder
from raylab.report.headlines import headlines
from raylab.report.statistics import Spread
from raylab.report.study_data import Study, points_frame, read_study
from raylab.report.tables import (
    as_csv,
    classes_frame,
    differences_frame,
    format_table,
    seeds_frame,
    show_spread,
    summary_frame,
)
from tests.report.study_on_disk import set_bound, write_study


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    store = Folder(str(tmp_path_factory.mktemp("results")))
    write_study(store)
    return store


def rows_of(frame: pd.DataFrame) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(frame))))


def test_the_table_is_aligned_and_in_percent(store: Folder) -> None:
    text = format_table(read_study(store, "small"))
    lines = [line for line in text.splitlines() if line.startswith("entropy+spatial")]
    assert lines[2].split() == ["entropy+spatial", "80", "18.5", "8", "46.5", "0.7", "18/19", "2", "77.5"]
    assert len({len(line) for line in lines[:3]}) == 1
    assert "fully supervised: 60.0 % mIoU over 18 of 19 classes" in text


def test_the_table_ends_with_one_line_a_strategy(store: Folder) -> None:
    text = format_table(read_study(store, "small"))
    lines = [line.split() for line in text.splitlines() if line.startswith("entropy+spatial")]
    assert lines[-1] == ["entropy+spatial", "38.5", "±", "0.7", "not", "reached"]


def test_the_headline_is_computed_and_claims_no_more(store: Folder) -> None:
    (sentence,) = headlines(read_study(store, "small"))
    assert "At 80 labelled regions (18.5 % of the pool's pixels), entropy+spatial reaches 46.5 % mIoU over" in sentence
    assert "% mIoU over 18 of 19 classes, 78 % of the fully supervised 60.0 %" in sentence
    assert (
        "; that is 6.0 points above random (paired 95 % interval over 2 seeds 6.0 to 6.0, adjusted for the" in sentence
    )


def scored(store: Folder, mious: dict[str, tuple[list[float], ...]]) -> Study:
    """The small study with another mIoU, by strategy, seed and round, and no other strategy."""
    study = read_study(store, "small")
    runs = [run for run in study.runs if run.strategy in mious]
    return replace(
        study,
        runs=tuple(
            replace(
                run,
                points=tuple(
                    replace(point, miou=mious[run.strategy][run.config.seed][t]) for t, point in enumerate(run.points)
                ),
            )
            for run in runs
        ),
    )


def test_strategies_that_seeds_do_not_tell_apart_are_said_to_be_so(store: Folder) -> None:
    mious = {"random": ([0.2, 0.3, 0.40], [0.2, 0.3, 0.42]), "entropy": ([0.2, 0.3, 0.50], [0.2, 0.3, 0.44])}
    (sentence,) = headlines(scored(store, mious))
    assert "; entropy and random are not told apart: 6.0 points above random (paired 95 % interval over 2" in sentence
    assert sentence.endswith("seeds -44.8 to 56.8; too few seeds).")


def test_a_curve_that_falls_is_said_to_be_undertrained(store: Folder) -> None:
    mious = {"random": ([0.2, 0.3, 0.28], [0.2, 0.3, 0.27]), "entropy": ([0.2, 0.3, 0.4], [0.2, 0.3, 0.295])}
    _, warning = headlines(scored(store, mious))
    assert warning == (
        "mIoU falls as more is labelled (random by 2.5 points to 80 labelled regions): trainings are too short to tell "
        "strategies apart."
    )


def test_csv_has_every_point(store: Folder) -> None:
    rows = rows_of(points_frame(read_study(store, "small")))
    assert len(rows) == 3 * 2 * 3
    assert rows[0]["strategy"] == "random"
    assert float(rows[2]["miou"]) == pytest.approx(0.4)
    assert rows[0]["iou.bicycle"] == ""
    assert rows[0]["seconds.score"] == ""
    assert [row["budget"] for row in rows[:3]] == ["20", "40", "80"]
    assert (rows[0]["seconds.train"], rows[0]["peak_memory_bytes.train"]) == ("20.0", "900000000")


def test_whole_numbers_stay_whole_beside_what_is_missing(store: Folder) -> None:
    study = read_study(store, "small")
    assert {row["region_size"] for row in rows_of(classes_frame(study))} == {"16", ""}
    assert {row["peak_memory_bytes.score"] for row in rows_of(points_frame(study))} == {"200000000", ""}


@pytest.mark.parametrize("frame", [points_frame, summary_frame, seeds_frame, differences_frame, classes_frame])
def test_a_study_without_a_round_has_headed_tables(frame: Callable[[Study], pd.DataFrame], store: Folder) -> None:
    study = read_study(store, "small")
    begun = tuple(replace(run, points=()) for run in study.runs)
    empty = as_csv(frame(replace(study, runs=begun, supervised=(), supervised_iou={})))
    head = as_csv(frame(study)).splitlines()[0]
    assert empty.count("\n") == 1
    assert empty.strip().split(",") == [name for name in head.split(",") if not name.startswith("iou.")]


def test_csv_of_summaries_and_seeds(store: Folder) -> None:
    study = replace(read_study(store, "small"), supervised=(0.45,))
    summary = {row["strategy"]: row for row in rows_of(summary_frame(study))}
    assert float(summary["entropy+spatial"]["area_under_curve.mean"]) == pytest.approx(0.385)
    assert summary["entropy+spatial"]["seeds_reaching_target"] == "2"
    assert (summary["random"]["unit"], float(summary["random"]["target_miou"])) == ("regions", pytest.approx(0.4275))
    assert summary["entropy"]["budget_to_target.mean"] == ""
    seeds = rows_of(seeds_frame(study))
    assert len(seeds) == 6
    assert [row["budget_to_target"] == "" for row in seeds] == [True, True, True, False, False, False]


def test_csv_of_differences_and_classes(store: Folder) -> None:
    study = read_study(store, "small")
    differences = rows_of(differences_frame(study))
    assert len(differences) == 3 * 2
    last = next(r for r in differences if (r["strategy"], r["reference"], r["budget"]) == ("entropy", "random", "80"))
    assert float(last["mean"]) == pytest.approx(0.02)
    classes = rows_of(classes_frame(study))
    assert len(classes) == 3 * 3 * 19 + 19
    assert [row["iou"] for row in classes if row["class"] == "bicycle"] == [""] * 10


def test_a_budget_of_clicks_is_named(store: Folder) -> None:
    study = read_study(store, "small")
    budget = study.config.run.budget.model_copy(update={"unit": "clicks"})
    run = study.config.run.model_copy(update={"budget": budget})
    config: StudyConfig = study.config.model_copy(update={"run": run})
    text = format_table(replace(study, config=config))
    assert text.split()[:3] == ["strategy", "clicks", "regions"]
    assert "clicks to 95 % of supervised" in text
    assert "At 80 clicks" in headlines(replace(study, config=config))[0]


def test_spreads_are_shown_with_what_is_known() -> None:
    assert show_spread(Spread(0.4567, 0.0123, 3), 100) == "45.7 ± 1.2"
    assert show_spread(Spread(1234.4, None, 1), digits=0) == "1,234"
    assert show_spread(None) == "-"


def test_how_many_seeds_reach_the_target_is_said(tmp_path) -> None:
    store = Folder(str(tmp_path))
    write_study(store)
    set_bound(store, 0.45)
    lines = format_table(read_study(store, "small")).splitlines()
    ends = {line.split()[0]: line for line in lines if line.startswith(("random", "entropy"))}
    assert ends["random"].endswith("not reached")
    assert ends["entropy"].endswith("reached by 1 of 2 seeds")
    assert ends["entropy+spatial"].endswith("58 ± 4")


def test_cells_that_a_spreadsheet_would_run_are_text() -> None:
    frame = pd.DataFrame({"=class": ["=1+1", "+a", "-b", "@c", "plain"], "points": [-1.5, 2.0, -3.0, 4.0, 5.0]})
    lines = as_csv(frame).splitlines()
    assert lines == ["'=class,points", "'=1+1,-1.5", "'+a,2.0", "'-b,-3.0", "'@c,4.0", "plain,5.0"]
