from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest

from raylab.config import StudyConfig
from raylab.errors import StoreError
from raylab.files import Folder
from raylab.report.headlines import headlines
from raylab.report.study_data import by_budget, read_study
from raylab.report.tables import format_table
from raylab.runs import RunStore
from raylab.runs.studies import begin_study
from raylab.sealed import write_sealed
from tests.configs import resolved_runs, resolved_study
from tests.report.study_on_disk import CONFIG, write_rounds, write_study


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    store = Folder(str(tmp_path_factory.mktemp("results")))
    write_study(store)
    return store


def begin(store: Folder, config: StudyConfig) -> None:
    begin_study(store, resolved_study(config))


def test_curves_are_mean_and_spread_over_seeds(store: Folder) -> None:
    curves = {curve.strategy: curve for curve in read_study(store, "small").curves()}
    assert list(curves) == ["random", "entropy", "entropy+spatial"]
    last = curves["entropy"].points[-1]
    assert (last.budget, last.labelled_regions) == (80, 80)
    assert last.seeds == (0, 1)
    assert last.mean == pytest.approx(fmean([0.42, 0.43]))
    assert last.std == pytest.approx(stdev([0.42, 0.43]))
    assert last.labelled_percent == pytest.approx(100 * 80 / 432)
    assert last.iou["bicycle"] is None
    assert [p.labelled_regions for p in curves["random"].points] == [20, 40, 80]


def test_scores_of_the_shared_round_count_only_for_strategies_that_use_them(store: Folder) -> None:
    runs = {run.config.strategy.label: run for run in read_study(store, "small").runs}
    assert RunStore(store, runs["random"].run).scores(0).record("score") is not None
    assert "score" not in runs["random"].points[0].seconds
    assert runs["entropy"].points[0].seconds["score"] == 3.0


def test_unfinished_runs_are_shown_as_far_as_they_got(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    config = CONFIG.model_copy(update={"name": "begun", "supervised": False})
    begin(store, config)
    study = read_study(store, "begun")
    assert "no round is finished yet" in format_table(study)
    assert headlines(study) == ["No round is finished yet."]

    runs = resolved_runs(config)
    write_rounds(store, runs[0])
    write_rounds(store, runs[2], stop=2)
    study = read_study(store, "begun")
    assert [len(run.points) for run in study.runs] == [3, 0, 2, 0, 1, 0]
    # Round 0 of the third strategy is there because it is shared.
    assert "At 20 labelled regions" in headlines(study)[0]
    assert "one seed" in headlines(study)[0]
    assert "5 of 6 runs are not finished" in format_table(study)


def test_region_sizes_are_kept_apart(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    config = CONFIG.model_copy(update={"region_sizes": (16, 32), "seeds": (0,), "supervised": False})
    write_study(store, config)
    study = read_study(store, config.name)
    assert len(study.curves()) == 6
    assert [sentence.split(" (")[0] for sentence in headlines(study)] == [
        "At 80 labelled regions of N = 16",
        "At 20 labelled regions of N = 32",
    ]
    assert format_table(study).split()[:2] == ["strategy", "N"]


def test_a_study_that_is_not_there_is_named_with_those_that_are(store: Folder, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"studies/big/study\.json is missing; studies there: small"):
        read_study(store, "big")
    with pytest.raises(StoreError, match="no study lies under this storage root"):
        read_study(Folder(str(tmp_path)), "big")


def test_a_study_of_another_version_is_refused(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    write_sealed(store, "studies/old/study.json", {"config": {"nmae": "old"}})
    with pytest.raises(StoreError, match="no study of this version of raylab"):
        read_study(store, "old")


def test_the_supervised_classes_are_read_too(store: Folder) -> None:
    study = read_study(store, "small")
    assert study.supervised == (0.6,)
    assert study.supervised_iou["road"] == pytest.approx(0.9)
    assert study.supervised_iou["bicycle"] is None


def test_points_meet_at_their_budget_whatever_it_bought(store: Folder) -> None:
    study = read_study(store, "small")
    first = study.runs[0]
    # A budget of clicks buys another number of regions with every seed.
    points = tuple(replace(p, labelled_regions=p.labelled_regions - 3) for p in first.points)
    mixed = replace(study, runs=(replace(first, points=points), *study.runs[1:]))
    assert [group[0][1].budget for group in by_budget(mixed)] == [20, 40, 80]
    assert [p.labelled_regions for p in mixed.curves()[0].points] == [18.5, 38.5, 78.5]
