"""A study as pandas tables: every committed number once, joined by the same columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import raylab
from raylab.errors import StoreError
from raylab.files import Folder
from raylab.report.frames import KEYS
from raylab.report.study_data import read_study
from raylab.runs.studies import begin_study
from tests.configs import resolved_runs, resolved_study
from tests.report.study_on_disk import CONFIG, write_rounds, write_study


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("frames")
    write_study(Folder(str(root)))
    return root


def test_points_are_those_of_the_report(root: Path) -> None:
    found = raylab.load_study(str(root), "small")
    study = read_study(Folder(str(root)), "small")
    points = found.points.set_index(["run", "round_index"])
    assert len(points) == 3 * 2 * 3
    for result in study.runs:
        for point in result.points:
            row = points.loc[result.run.label, point.round]
            assert (row["strategy"], row["seed"], row["region_size"]) == (
                result.config.strategy.label, result.config.seed, 16,
            )  # fmt: skip
            assert row[["budget", "labelled_regions", "labelled_percent", "annotated_images", "miou"]].tolist() == [
                point.budget, point.labelled_regions, point.labelled_percent, point.annotated_images, point.miou,
            ]  # fmt: skip
            assert {name: row[f"iou.{name}"] for name in point.iou if point.iou[name] is not None} == {
                name: value for name, value in point.iou.items() if value is not None
            }
    assert points["iou.bicycle"].isna().all()
    assert points["iou.bicycle"].dtype == np.float64
    assert found.bound == (0.6,)
    assert found.config == CONFIG


def test_results_say_what_is_varied_and_what_each_run_came_to(root: Path) -> None:
    found = raylab.load_study(str(root), "small")
    results = found.results.set_index(["strategy", "seed"])
    assert len(results) == 6
    assert results["rounds"].tolist() == [3] * 6
    assert results.loc[("random", 0), ["tau", "a", "p"]].isna().all()
    assert results.loc[("entropy+spatial", 1), ["tau", "a", "b", "c", "region_size"]].tolist() == [16, 1, 2, 2, 16]
    last = found.points[found.points["round_index"] == 2].set_index(["strategy", "seed"])
    assert results["miou"].to_dict() == last["miou"].to_dict()
    assert set(results["seconds.select"]) == {4.5}


def test_picks_are_the_ledgers_and_costs_their_sums(root: Path) -> None:
    found = raylab.load_study(str(root), "small")
    assert len(found.picks) == 6 * CONFIG.run.budget.total
    assert not found.picks.duplicated(["run", "region_id"]).any()
    assert found.picks.groupby(["run", "round_index"]).size().unstack().to_numpy().tolist() == [[20, 20, 40]] * 6
    costs = found.costs.merge(found.points, on=list(KEYS), validate="one_to_one")
    assert len(costs) == len(found.points)
    assert costs.groupby("round_index")["cost"].unique().map(list).to_dict() == {0: [20.0], 1: [20.0], 2: [40.0]}
    assert set(costs["seconds.train"]) == {20.0}
    assert costs["seconds.select"].tolist() == [0.5, 1.5, 2.5] * 6
    assert set(costs["peak_memory_bytes.train"]) == {900_000_000}
    scored = costs[costs["strategy"].eq("entropy") & costs["round_index"].lt(2)]
    assert set(scored["seconds.score"]) == {3.0}
    assert costs[costs["strategy"].eq("random")]["seconds.score"].isna().all()
    for table in (found.points, found.picks, found.costs):
        assert tuple(table.columns[: len(KEYS)]) == KEYS


def test_an_unfinished_study_is_read_as_far_as_it_got(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    begin_study(store, resolved_study(CONFIG))
    empty = raylab.load_study(str(tmp_path), "small")
    assert (len(empty.points), len(empty.picks), len(empty.costs)) == (0, 0, 0)
    for table in (empty.points, empty.picks, empty.costs):
        assert tuple(table.columns[: len(KEYS)]) == KEYS
    write_rounds(store, resolved_runs(CONFIG)[0], stop=1)
    begun = raylab.load_study(str(tmp_path), "small")
    # Round 0 is shared, so every strategy of that seed has got there.
    assert set(begun.points["round_index"]) == {0}
    assert len(begun.points) == 3


def test_a_study_that_is_not_there(root: Path) -> None:
    with pytest.raises(StoreError, match="studies there: small"):
        raylab.load_study(str(root), "smal")
    with pytest.raises(StoreError, match="no study lies under this storage root"):
        raylab.load_study(str(root / "nothing"), "small")
    assert not (root / "nothing").exists()
