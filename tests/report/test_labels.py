from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raylab.data import open_dataset
from raylab.data.classes import IGNORE
from raylab.errors import DataError
from raylab.files import Folder
from raylab.pool import pool_regions
from raylab.regions.table import ledger_table
from raylab.report.labels import class_counts, label_histogram, labelled_pixels, labels_frame, region_shape
from raylab.report.ledgers import of_image, run_ledger
from raylab.report.study_data import RunResult, Study, read_study
from raylab.report.tables import as_csv
from raylab.runs.studies import begin_study
from tests.configs import resolved_runs, resolved_study
from tests.report.study_on_disk import CONFIG, write_study

MASK = np.arange(12, dtype=np.uint8).reshape(3, 4)
PICKS = pa.table(
    {"image_index": [5, 5], "region_id": [9, 3], "top": [0, 1], "left": [0, 2], "height": [1, 2], "width": [2, 2]}
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    store = Folder(str(tmp_path_factory.mktemp("results")))
    write_study(store)
    return store


@pytest.fixture(scope="module")
def study(store: Folder) -> Study:
    return read_study(store, "small")


def test_only_the_regions_of_a_mask_are_seen() -> None:
    assert labelled_pixels(MASK, PICKS).tolist() == [0, 1, 6, 7, 10, 11]
    assert labelled_pixels(MASK, PICKS.slice(0, 0)).tolist() == []


def test_a_region_may_have_another_shape_than_its_box() -> None:
    def corner(image: int, region: int, box: tuple[int, int, int, int]) -> np.ndarray | None:
        assert image == 5
        return None if region == 9 else np.eye(2, dtype=bool)

    assert labelled_pixels(MASK, PICKS, corner).tolist() == [0, 1, 6, 11]


def test_superpixels_are_counted_as_what_they_reveal(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    store = Folder(str(tmp_path))
    shape = CONFIG.run.regions.model_copy(update={"shape": "superpixels"})
    config = CONFIG.model_copy(update={"run": CONFIG.run.model_copy(update={"regions": shape})})
    runs = tuple(RunResult(run, (), None) for run in resolved_runs(config))
    study, dataset = Study("s", config, runs, ()), open_dataset(CONFIG.run.data)
    regions = pool_regions(runs[0].run, dataset, store)
    inside = region_shape(store, study)
    ids = np.arange(regions.offset[1], regions.offset[2], 3)
    picks = ledger_table(regions, dataset.image_names("train"), 0, ids)
    mask = dataset.read_mask("train", 1)
    revealed = mask[regions.covered(1, ids)]
    assert 0 < revealed.size < mask.size
    assert class_counts(labelled_pixels(mask, picks, inside), 19).tolist() == class_counts(revealed, 19).tolist()


def test_ignored_pixels_count_nowhere() -> None:
    assert class_counts(np.array([[0, 2, 2, IGNORE]], np.uint8), 3).tolist() == [1, 0, 2]


def test_a_histogram_counts_the_labels_of_every_run_by_round(store: Folder, study: Study) -> None:
    histogram = label_histogram(store, study)
    assert histogram is not None
    assert histogram.strategies == ["random", "entropy", "entropy+spatial"]
    dataset = open_dataset(CONFIG.run.data)
    run = study.runs[2].run
    ledger = run_ledger(store, run)
    assert ledger is not None
    for t, budget in enumerate((20, 40, 80)):
        counted = sum(
            np.bincount(box.reshape(-1), minlength=256)[:19]
            for row in ledger.to_pylist()
            if row["round"] <= t
            for box in [
                dataset.read_mask("train", row["image_index"])[
                    row["top"] : row["top"] + row["height"], row["left"] : row["left"] + row["width"]
                ]
            ]
        )
        found = histogram.runs[2]
        assert (found.strategy, found.seed, found.budgets[t]) == ("entropy", 0, budget)
        assert found.pixels[t].tolist() == counted.tolist()
    masks = [dataset.read_mask("train", i) for i in range(8)]
    assert histogram.pool.tolist() == sum(np.bincount(m.reshape(-1), minlength=256)[:19] for m in masks).tolist()
    assert sum(histogram.last_shares("entropy").values()) == pytest.approx(100)


def test_a_sample_stands_for_a_large_pool(store: Folder, study: Study) -> None:
    histogram = label_histogram(store, study, most_images=3)
    assert histogram is not None
    assert (histogram.images, histogram.pool_images) == (3, 8)
    assert histogram.pool.sum() <= 3 * 96 * 144


def test_the_csv_has_strategies_budgets_classes_and_the_pool(store: Folder, study: Study) -> None:
    histogram = label_histogram(store, study)
    assert histogram is not None
    rows = list(csv.DictReader(io.StringIO(as_csv(labels_frame(histogram)))))
    assert len(rows) == (3 * 2 * 3 + 1) * 19
    pool = [row for row in rows if row["strategy"] == "pool"]
    assert sum(float(row["share_percent"]) for row in pool) == pytest.approx(100)


def test_nothing_selected_is_no_histogram(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    begin_study(store, resolved_study(CONFIG))
    assert label_histogram(store, read_study(store, "small")) is None


def test_an_image_of_another_name_is_another_data_set(store: Folder, study: Study) -> None:
    ledger = run_ledger(store, study.runs[0].run)
    assert ledger is not None
    with pytest.raises(DataError, match="not the image that the study ran on"):
        of_image(ledger, int(ledger["image_index"][0].as_py()), "another")
