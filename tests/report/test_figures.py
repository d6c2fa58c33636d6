from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from raylab.config import StudyConfig
from raylab.report import curves, overlays
from raylab.report.aggregate import Study, read_study
from raylab.store import Store
from tests.report.study_on_disk import CONFIG, write_study


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(str(tmp_path_factory.mktemp("results")))
    write_study(store)
    return store


@pytest.fixture(scope="module")
def study(store: Store) -> Study:
    return read_study(store, "small")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("draw", [curves.budget_curves, curves.class_bars, curves.stage_bars])
def test_figures_are_pictures_and_repeatable(draw, theme, study: Study) -> None:
    png = draw(study, theme)
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    assert picture.width > 900
    assert len(set(picture.resize((80, 60)).get_flattened_data())) > 10
    assert draw(study, theme) == png


def test_figures_of_a_study_without_a_result_are_empty_not_errors(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"supervised": False})
    store = Store(str(tmp_path))
    store.write_json("studies/small/study.json", {"config": config.model_dump(mode="json"), "supervised": []})
    study = read_study(store, "small")
    for draw in (curves.budget_curves, curves.class_bars, curves.stage_bars):
        assert draw(study, "light").startswith(b"\x89PNG")


def test_a_strategy_keeps_its_colour(study: Study) -> None:
    table = curves.colours(study)
    assert len(set(table.values())) == 3
    assert table == curves.colours(study)
    many = StudyConfig(run=CONFIG.run, strategies=("random", *(f"entropy+spatial,tau={t}" for t in range(1, 10))))
    wide = Study("wide", many, tuple(r for r in study.runs), ())
    assert set(curves.colours(wide)) == {"random", "entropy", "entropy+spatial"}


def test_seconds_are_sums_over_rounds_and_means_over_seeds(study: Study) -> None:
    table = curves.stage_seconds(study)
    assert table["entropy"] == {"train": 60.0, "evaluate": 12.0, "score": 6.0, "select": 0.5 + 1.5 + 2.5}
    assert table["random"]["score"] == 0.0


def test_the_busiest_images_begin_with_the_strategy_that_clumps() -> None:
    def ledger(images: list[int]) -> pa.Table:
        return pa.table({"round": pa.array([0, *([1] * len(images))]), "image_index": pa.array([9, *images])})

    assert overlays.busiest_images([ledger([1, 2, 2, 3]), ledger([5, 5, 5, 4])], 3) == [5, 2, 4]
    assert overlays.busiest_images([ledger([])], 3) == []
    assert overlays.busiest_images([], 3) == []


def test_regions_are_drawn_where_they_lie() -> None:
    image = np.full((96, 144, 3), 128, np.uint8)
    row = {"round": 1, "top": 32, "left": 64, "height": 16, "width": 16}
    palette = overlays.round_colours(2)
    drawn = overlays.draw_regions(image, pa.Table.from_pylist([row]), palette)
    scale = overlays.PANEL_WIDTH / 144
    changed = np.argwhere((drawn != 128).any(axis=2)) / scale
    assert changed.min(axis=0) == pytest.approx([32, 64], abs=0.3)
    assert changed.max(axis=0) == pytest.approx([48, 80], abs=0.4)
    assert (image == 128).all()


def test_overlays_show_all_strategies_on_the_same_image(store: Store, study: Study) -> None:
    found = overlays.study_overlays(store, study, k=2)
    assert [len(overlay.panels) for overlay in found] == [3, 3]
    counts = {label: n for label, n, _ in found[0].panels}
    assert counts["entropy"] > 2 * counts["random"]
    assert found[0].mask is not None
    assert found[0].mask.shape == found[0].panels[0][2].shape
    assert Image.open(io.BytesIO(overlays.sheet(found[0], 3))).width > 800
