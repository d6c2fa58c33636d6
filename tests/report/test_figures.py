from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from raylab.config import StudyConfig
from raylab.data.classes import CITYSCAPES
from raylab.files import Folder
from raylab.report import overlays, panels
from raylab.report.html import draw_figures
from raylab.report.labels import label_histogram
from raylab.report.statistics import stage_seconds
from raylab.report.study_data import RunResult, Study, read_study
from raylab.report.style import RANDOM, looks
from raylab.report.tables import as_csv
from raylab.runs.studies import begin_study
from tests.configs import resolved_runs, resolved_study
from tests.report.study_on_disk import CONFIG, write_study


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    store = Folder(str(tmp_path_factory.mktemp("results")))
    write_study(store)
    return store


@pytest.fixture(scope="module")
def study(store: Folder) -> Study:
    return read_study(store, "small")


def test_figures_are_pictures_and_repeatable(store: Folder, study: Study) -> None:
    histogram = label_histogram(store, study)
    found = draw_figures(study, histogram)
    assert set(found) == {"curves", "images", "classes", "seconds", "differences", "labels"}
    for picture in found.values():
        image = Image.open(io.BytesIO(picture.png)).convert("RGB")
        assert image.width > 900
        assert len(set(image.resize((80, 60)).get_flattened_data())) > 10
        assert picture.svg.startswith(b"<?xml")
    # No date, no version, no random ids: the same study gives the same bytes.
    assert draw_figures(study, histogram) == found


def test_figures_of_a_study_without_a_result_are_empty_not_errors(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"supervised": False})
    store = Folder(str(tmp_path))
    begin_study(store, resolved_study(config))
    found = draw_figures(read_study(store, "small"), None)
    assert set(found) == {"curves", "images", "classes", "seconds"}
    assert all(picture.png.startswith(b"\x89PNG") for picture in found.values())


def test_a_strategy_keeps_its_look(study: Study) -> None:
    table = looks(study)
    assert len({look.colour for look in table.values()}) == 3
    assert table == looks(study)


def test_many_strategies_are_told_apart_with_and_without_colour(study: Study) -> None:
    labels = ["random", *(f"entropy+spatial,tau={t}" for t in range(1, 25))]
    runs = resolved_runs(StudyConfig(run=CONFIG.run, strategies=tuple(labels)))
    wide = replace(study, runs=tuple(RunResult(run, (), None) for run in runs))
    table = looks(wide)
    assert len(table) == 25
    assert len({(look.colour, look.marker) for look in table.values()}) == 25
    assert len({(look.marker, look.dash) for look in table.values()}) == 25
    # The supervised lines are black, Random is grey: no strategy is.
    assert [name for name, look in table.items() if look.colour == RANDOM] == ["random"]


def test_the_marks_of_a_printed_curve_differ_in_grey(study: Study) -> None:
    first = [look for name, look in looks(study).items() if name != "random"]
    assert len({look.marker for look in first}) == len(first)
    assert len({str(look.dash) for look in first}) == len(first)


def test_seconds_are_sums_over_rounds_and_means_over_seeds(study: Study) -> None:
    table = stage_seconds(study)
    assert table["entropy"] == {"train": 60.0, "evaluate": 12.0, "score": 6.0, "select": 0.5 + 1.5 + 2.5}
    assert table["random"]["score"] == 0.0


def test_the_busiest_images_begin_with_the_strategy_that_clumps() -> None:
    def ledger(images: list[int]) -> pa.Table:
        return pa.table({"round": pa.array([0, *([1] * len(images))]), "image_index": pa.array([9, *images])})

    assert overlays.busiest_images([ledger([1, 2, 2, 3]), ledger([5, 5, 5, 4])], 3) == [5, 2, 4]
    assert overlays.busiest_images([ledger([])], 3) == []
    assert overlays.busiest_images([], 3) == []


def one_pick(**changes: int) -> pa.Table:
    row = {"round": 1, "image_index": 0, "region_id": 7, "top": 32, "left": 64, "height": 16, "width": 16}
    return pa.Table.from_pylist([{**row, **changes}])


GREY = np.full((96, 144, 3), 128, np.uint8)


def test_regions_are_drawn_where_they_lie() -> None:
    drawn = panels.draw_regions(GREY, one_pick(), panels.round_colours(2))
    changed = np.argwhere((drawn != 128).any(axis=2)) * 144 / panels.PANEL_WIDTH
    assert changed.min(axis=0) == pytest.approx([32, 64], abs=0.3)
    assert changed.max(axis=0) == pytest.approx([48, 80], abs=0.4)
    assert (GREY == 128).all()


def test_a_region_is_drawn_in_its_own_shape() -> None:
    half = np.triu(np.ones((16, 16), bool))
    drawn = panels.draw_regions(GREY, one_pick(), panels.round_colours(2), inside=lambda *_: half)
    changed = (drawn != 128).any(axis=2)
    scale = panels.PANEL_WIDTH / 144
    assert changed[round(34 * scale), round(78 * scale)]
    assert not changed[round(46 * scale), round(66 * scale)]


def test_numbers_are_written_and_earlier_rounds_recede() -> None:
    palette = panels.round_colours(3)
    plain, numbered = (panels.draw_regions(GREY, one_pick(), palette, numbers) for numbers in (None, {7: 1}))
    assert (plain != numbered).any()
    current, earlier = (panels.draw_regions(GREY, one_pick(), palette, current=t) for t in (1, 2))
    middle = np.s_[round(40 * panels.PANEL_WIDTH / 144), round(72 * panels.PANEL_WIDTH / 144)]
    assert abs(current[middle].astype(int) - 128).sum() > 2 * abs(earlier[middle].astype(int) - 128).sum()


def test_overlays_show_all_strategies_on_the_same_image(store: Folder, study: Study) -> None:
    found = overlays.study_overlays(store, study, k=2)
    assert [len(overlay.panels) for overlay in found] == [3, 3]
    counts = {panel.strategy: panel.count for panel in found[0].panels}
    assert counts["entropy"] > 2 * counts["random"]
    assert found[0].truth.shape == found[0].panels[0].picture.shape
    assert all(len(panel.rounds) == 2 for panel in found[0].panels if panel.strategy == "entropy")
    assert {name for name, _ in found[0].classes} <= set(CITYSCAPES.names)
    for draw in (overlays.overlay_sheet, overlays.rounds_sheet):
        sheet = draw(found[0], 3)
        assert sheet is not None
        assert Image.open(io.BytesIO(sheet)).width > 800
        assert draw(found[0], 3) == sheet


def test_picks_come_in_their_order_with_the_terms_of_their_strategy(store: Folder, study: Study) -> None:
    (overlay,) = overlays.study_overlays(store, study, k=1)
    picks = {panel.strategy: panel.picks for panel in overlay.panels}
    assert len(picks["entropy"]) == overlays.NUMBERED
    assert [pick.number for pick in picks["entropy"]] == list(range(1, overlays.NUMBERED + 1))
    order = [(pick.round, pick.order) for pick in picks["entropy"]]
    assert order == sorted(order)
    assert {term for term, value in picks["entropy"][0].terms.items() if value is None} == {"feature", "spatial"}
    assert set(picks["random"][0].terms.values()) == {None}
    text = as_csv(overlays.numbered_picks_frame([overlay]))
    assert text.splitlines()[0].startswith("image,strategy,number,round,order,region_id,top,left,phi")
    assert len(text.splitlines()) == 1 + sum(map(len, picks.values()))


def test_class_names_are_no_formulas(store: Folder, study: Study) -> None:
    runs = tuple(
        replace(run, points=tuple(replace(p, iou={f"$\\{name}_$": v for name, v in p.iou.items()}) for p in run.points))
        for run in study.runs
    )
    bound = {f"$\\{name}_$": v for name, v in study.supervised_iou.items()}
    found = draw_figures(replace(study, runs=runs, supervised_iou=bound), None)
    assert found["classes"].png != draw_figures(study, None)["classes"].png
