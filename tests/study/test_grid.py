from __future__ import annotations

from pathlib import Path

import pytest

from raylab.config import DataConfig, PretrainingConfig, StudyConfig, SyntheticConfig
from raylab.errors import MismatchError
from raylab.files import Folder
from raylab.runs.rounds import same_or_new
from raylab.study.grid import Grid
from tests.configs import resolved_study, tiny_run


def grid_of(*strategies: str, supervised: bool = False, iterations: int = 0) -> Grid:
    other = DataConfig(synthetic=SyntheticConfig(seed=1))
    run = tiny_run(pretraining=PretrainingConfig(iterations=iterations, data=other))
    return Grid([resolved_study(StudyConfig(run=run, strategies=strategies, seeds=(0, 1), supervised=supervised))])


def test_the_task_of_a_shared_round_is_named_by_the_round_not_by_who_asks_first() -> None:
    assert set(grid_of("random", "entropy").firsts) == set(grid_of("entropy", "margin").firsts)


def test_what_a_failure_makes_impossible_is_not_begun() -> None:
    grid = grid_of("random", "entropy", supervised=True, iterations=5)
    starts, firsts, last = grid.phases(set())
    assert (len(starts), len(firsts), len(last)) == (1, 2, 1 + 4)
    assert grid.phases({starts[0]})[1:] == [[], []]
    left = grid.phases({firsts[0]})[2]
    assert len(left) == 1 + 2
    assert all(grid.runs[task].config.seed == 1 for task in left[1:])
    assert grid.hanging_on(starts[0]) == set(last)
    assert grid.hanging_on(firsts[0]) == set(last) - set(left)
    assert grid.hanging_on(last[0]) == {last[0]}


def test_a_task_is_a_point_of_what_is_varied() -> None:
    grid = grid_of("random", "entropy+spatial-linear", "entropy+spatial,tau=32", iterations=5, supervised=True)
    (start, *firsts), runs = (*grid.pretrainings, *grid.firsts), list(grid.runs)
    points = [grid.settings_of(task) for task in (start, *firsts, *runs, *grid.supervised)]
    assert len({tuple(point) for point in points}) == 1, "all have the same names"
    assert [point["strategy"] for point in points[:3]] == ["pre-training", "shared round 0", "shared round 0"]
    assert points[-1]["strategy"] == "fully supervised"
    varied = {point["strategy"]: [point[name] for name in ("tau", "a", "b", "c", "p")] for point in points}
    assert varied["random"] == varied["shared round 0"] == [None] * 5
    assert varied["entropy+spatial-linear"] == [None, None, None, None, float("inf")]
    assert varied["entropy+spatial,tau=32"] == [32, 1, 2, 2, float("inf")]
    assert [point["seed"] for point in points[1:3]] == [0, 1]


def test_one_computation_under_two_labels_is_one_task() -> None:
    studies = [
        StudyConfig(run=tiny_run(), strategies=(text,)) for text in ("entropy+spatial", "entropy+spatial,tau=16")
    ]
    first, second = (resolved_study(study) for study in studies)
    assert first.runs[0].label != second.runs[0].label
    assert len(Grid([first, second]).runs) == 1


def test_every_task_has_a_name_for_a_person() -> None:
    grid = grid_of("random", supervised=True, iterations=5)
    names = [grid.name_of(task) for phase in grid.phases(set()) for task in phase]
    assert names == ["pre-training", "shared round 0 N16 seed 0", "shared round 0 N16 seed 1", "fully supervised",
                     "random N16 seed 0", "random N16 seed 1"]  # fmt: skip


def test_a_folder_of_other_data_is_refused(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    same_or_new(store, "pretrained/x/identity.json", {"data_fingerprint": "a"}, {})
    same_or_new(store, "pretrained/x/identity.json", {"data_fingerprint": "a"}, {})
    with pytest.raises(MismatchError, match="data_fingerprint was 'a' when this began and is 'b' now"):
        same_or_new(store, "pretrained/x/identity.json", {"data_fingerprint": "b"}, {})
