from __future__ import annotations

import math
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylab.files import Folder
from raylab.report.statistics import (
    Spread,
    area_under_curve,
    budget_to_reach,
    differences,
    reference_of,
    seed_summaries,
    summaries,
    target_of,
)
from raylab.report.study_data import Study, read_study
from raylab.runs.studies import begin_study
from tests.configs import resolved_runs, resolved_study
from tests.report.study_on_disk import CONFIG, set_bound, train_record, write_rounds, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return store_with(tmp_path_factory.mktemp("results"), bound=0.45)


def store_with(folder, bound: float) -> Study:
    store = Folder(str(folder))
    write_study(store)
    set_bound(store, bound)
    return read_study(store, "small")


def test_the_budget_is_interpolated_over_the_logarithm() -> None:
    budgets, scores = [1000, 2000, 4000], [0.2, 0.4, 0.5]
    assert budget_to_reach(budgets, scores, 0.3) == pytest.approx(1000 * math.sqrt(2))
    assert budget_to_reach(budgets, scores, 0.425) == pytest.approx(2000 * 2**0.25)
    assert budget_to_reach(budgets, scores, 0.5) == pytest.approx(4000)
    assert budget_to_reach(budgets, scores, 0.4) == pytest.approx(2000)


def test_a_target_out_of_reach_and_one_that_is_there_from_the_start() -> None:
    assert budget_to_reach([1000, 2000], [0.2, 0.4], 0.41) is None
    assert budget_to_reach([1000, 2000], [0.2, 0.4], 0.1) == 1000
    assert budget_to_reach([], [], 0.1) is None


def test_a_curve_that_falls_again_has_reached_the_target() -> None:
    assert budget_to_reach([1, 2, 4, 8], [0.2, 0.6, 0.3, 0.7], 0.5) == pytest.approx(2**0.75)
    # A plateau just below the target must not divide by zero.
    assert budget_to_reach([1, 2, 4], [0.4, 0.4, 0.5], 0.45) == pytest.approx(2 * 2**0.5)


curves = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=6)


@given(curves, st.floats(0.01, 1))
def test_the_interpolated_curve_has_the_target_where_it_is_said_to_reach_it(scores: list[float], target: float) -> None:
    budgets = [100 * 2**i for i in range(len(scores))]
    found = budget_to_reach(budgets, scores, target)
    if found is None:
        assert max(scores) < target
        return
    position = math.log2(found / 100)
    left = min(int(position), len(scores) - 2)
    there = scores[left] + (position - left) * (scores[left + 1] - scores[left])
    assert there == pytest.approx(target, abs=1e-6) or (found == 100 and scores[0] >= target)
    assert all(score < target for score in scores[: math.ceil(position - 1e-9)])


def test_the_area_weighs_every_doubling_alike() -> None:
    assert area_under_curve([1000, 2000, 4000], [0.2, 0.4, 0.6]) == pytest.approx(0.4)
    # log2 widths 1 and 2: (0.3 + 2 * 0.5) / 3
    assert area_under_curve([1000, 2000, 8000], [0.2, 0.4, 0.6]) == pytest.approx(1.3 / 3)
    assert area_under_curve([1000], [0.2]) is None


@given(curves, st.floats(1, 1e6))
def test_the_area_is_a_mean_whatever_the_unit_of_the_budget(scores: list[float], unit: float) -> None:
    budgets = [unit * 3**i for i in range(len(scores))]
    area = area_under_curve(budgets, scores)
    assert area is not None
    assert min(scores) - 1e-9 <= area <= max(scores) + 1e-9
    assert area == pytest.approx(area_under_curve([2 * b for b in budgets], scores), abs=1e-6)


def test_a_summary_is_over_what_each_seed_reached(study: Study) -> None:
    # Seeds of entropy+spatial run 30, 38, 46 % and 31, 39, 47 % over 20, 40, 80 regions; the target is 42.75 %.
    assert target_of(study) == pytest.approx(0.4275)
    found = {s.strategy: s for s in summaries(study)}
    spatial = found["entropy+spatial"]
    reach = [40 * 2 ** (4.75 / 8), 40 * 2 ** (3.75 / 8)]
    assert spatial.reached == spatial.seeds == 2
    assert spatial.budget == Spread(pytest.approx(sum(reach) / 2), pytest.approx(stdev(reach)), 2)
    assert spatial.pixels is not None
    assert spatial.pixels.mean == pytest.approx(100 * sum(reach) / 2 / 432, rel=1e-6)
    assert spatial.area == Spread(pytest.approx(0.385), pytest.approx(stdev([0.38, 0.39])), 2)


def test_seeds_that_do_not_reach_the_target_leave_no_mean(study: Study) -> None:
    found = {s.strategy: s for s in summaries(study)}
    # Entropy ends at 42 % and 43 %: one of its seeds gets there.
    assert (found["entropy"].reached, found["entropy"].budget, found["entropy"].pixels) == (1, None, None)
    assert found["entropy"].first == pytest.approx(40 * 2 ** (5.75 / 6))
    assert (found["random"].reached, found["random"].first) == (0, None)
    rows = {(s.strategy, s.seed): s for s in seed_summaries(study)}
    assert rows["entropy", 0].budget is None
    assert rows["entropy", 1].budget == found["entropy"].first


def test_differences_are_paired_by_seed(study: Study) -> None:
    found = {(d.strategy, d.reference, d.budget): d for d in differences(study)}
    assert set(found) == {
        (*pair, budget)
        for pair in (("entropy", "random"), ("entropy+spatial", "random"), ("entropy+spatial", "entropy"))
        for budget in (40, 80)
    }
    last = found["entropy+spatial", "random", 80]
    assert last.seeds == (0, 1)
    # The seeds differ by a point, the differences do not: that is what pairing is for.
    assert last.values == pytest.approx([0.06, 0.06])
    assert last.interval == pytest.approx((0.06, 0.06))


def test_an_interval_by_hand(tmp_path) -> None:
    study = store_with(tmp_path, 0.6)
    store = Folder(str(tmp_path))
    run = next(r.run for r in study.runs if r.config.strategy.label == "entropy" and r.config.seed == 1)
    from raylab.runs import RunStore

    store.delete((last_round := RunStore(store, run).round(2)).path("train.json"))
    last_round.commit("train", train_record(0.47))
    (last,) = [d for d in differences(read_study(store, "small")) if d.budget == 80 and d.strategy == "entropy"]
    # Differences of 2 and 6 points: mean 4, t(0.95, 1) * sqrt(8) / sqrt(2) = 25.4.
    assert last.values == pytest.approx([0.02, 0.06])
    assert last.interval == pytest.approx((0.04 - 0.254124, 0.04 + 0.254124), abs=1e-6)


def test_one_seed_has_no_interval_and_unfinished_runs_have_no_area(tmp_path) -> None:
    store = Folder(str(tmp_path))
    config = CONFIG.model_copy(update={"seeds": (0,), "supervised": False})
    write_study(store, config.model_copy(update={"strategies": ("random",)}))
    begin_study(store, resolved_study(config))
    write_rounds(store, resolved_runs(config)[1], stop=2)
    study = read_study(store, "small")
    (only,) = differences(study)
    assert (only.strategy, only.budget, only.half_width, only.interval) == ("entropy", 40, None, None)
    found = {s.strategy: s for s in summaries(study)}
    assert set(found) == {"random", "entropy"}
    assert found["random"].area == Spread(pytest.approx(0.35), None, 1)
    assert found["entropy"].area is None
    assert found["random"].reached is None


def test_without_random_the_first_strategy_is_the_reference(study: Study) -> None:
    assert reference_of(study) == "random"
    others = tuple(run for run in study.runs if run.config.strategy.label != "random")
    assert reference_of(Study("s", study.config, others, ())) == "entropy"
