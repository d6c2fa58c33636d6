from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from raylab.config import (
    BudgetConfig,
    RegionConfig,
    RunConfig,
    StudyConfig,
)
from raylab.config.leaves import Option, options_of
from raylab.config.options import parse
from raylab.errors import ConfigError, RaylabError


def test_configurations_are_frozen_and_refuse_unknown_fields():
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig().seed = 3
    with pytest.raises(ValidationError, match="Extra inputs"):
        RunConfig.model_validate({"regions": {"sizes": 3}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.learning_rate", float("inf")),
        ("training.learning_rate", 0),
        ("training.weight_decay", float("nan")),
        ("training.momentum", 1),
        ("model.atrous_rates", (6, 0)),
        ("budget.rounds", (0,)),
        ("seed", -1),
        ("compute.workers", -1),
        ("regions.size", 0),
    ],
)
def test_values_that_cannot_work_name_their_field(path, value):
    values: Any = value
    for part in reversed(path.split(".")):
        values = {part: values}
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate(values)
    assert ".".join(map(str, caught.value.errors()[0]["loc"])).startswith(path)


def test_python_gets_the_lines_that_the_command_line_prints(capsys: pytest.CaptureFixture[str]) -> None:
    values: Any = {
        "strategies": "random",
        "seeds": (0, -1),
        "nam": "x",
        "run": {"regions": {"sise": 3}, "training": {"scale": (1,), "precision": "bf61"}},
    }
    with pytest.raises(RaylabError) as caught:
        StudyConfig(**values)
    assert type(caught.value) is ConfigError
    assert set(str(caught.value).splitlines()) == {
        "strategies: must be a list (got 'random'); write [random]",
        "seeds[1]: must be greater than or equal to 0 (got -1)",
        "nam: no such field; did you mean 'name'?",
        "run.regions.sise: no such field; did you mean 'size'?",
        "run.training.scale: must have more values (got (1,))",
        "run.training.precision: must be 'fp32' or 'bf16' (got 'bf61'); did you mean 'bf16'?",
    }
    with pytest.raises(ConfigError) as read:
        parse(StudyConfig, ["--seeds", "0", "-1"], "x")
    assert str(read.value) in str(caught.value).splitlines()


def test_every_strategy_that_cannot_be_read_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        StudyConfig(strategies=("entrpy", "random", "margin,taw=3")).runs()
    assert str(caught.value).splitlines() == [
        "strategy: 'entrpy' is not known; did you mean 'entropy'?",
        "strategies: 'margin,taw=3': taw: no such field; did you mean 'tau'?",
    ]


NUMBERS = [option for option in options_of(RunConfig) if "float" in str(option.field.annotation)]


@pytest.mark.parametrize("option", NUMBERS, ids=lambda option: option.path)
@pytest.mark.parametrize("word", ["1e999", "nan", "inf"])
def test_numbers_that_are_none_are_refused_with_their_field(option: Option, word: str) -> None:
    if option.path == "strategy.p" and word in ("inf", "1e999"):
        return  # the order of the maximum norm
    words = [word] * option.several if isinstance(option.several, int) else [word]
    with pytest.raises(ConfigError, match=rf"^{option.path}(\[0\])?: must be (a finite number|1, 2 or inf)"):
        parse(RunConfig, [option.flag, *words], "raylab run")


def test_the_grid_is_in_the_order_strategies_sizes_seeds():
    study = StudyConfig(strategies=("random", "entropy+spatial,tau=64"), seeds=(0, 3), region_sizes=(32, 16))
    grid = study.runs()
    assert [(run.strategy.label, run.regions.size, run.seed) for run in grid] == [
        (strategy, size, seed)
        for strategy in ("random", "entropy+spatial,tau=64")
        for size in (32, 16)
        for seed in (0, 3)
    ]


def test_the_sizes_of_a_grid_are_those_of_run_when_none_are_given():
    study = StudyConfig(run=RunConfig(regions=RegionConfig(size=40)))
    assert {run.regions.size for run in study.runs()} == {40}


@pytest.mark.parametrize(
    "lists",
    [
        {"strategies": ("random", "random")},
        {"strategies": ("entropy+spatial,tau=64", "entropy+spatial,tau=64.0")},
        {"strategies": ("entropy+spatial,tau=32", "entropy+spatial")},  # N is 32
        {"strategies": ("entropy+spatial,b=2,p=inf", "entropy+spatial")},
        {"seeds": (1, 1)},
        {"region_sizes": (16, 16)},
    ],
)
def test_a_run_named_twice_is_refused(lists):
    with pytest.raises(ConfigError, match=r"strategies, seeds or region_sizes: the run .* is named twice"):
        StudyConfig(**lists).runs()


@pytest.mark.parametrize("lists", [{"strategies": ()}, {"seeds": ()}])
def test_an_empty_grid_is_refused(lists):
    with pytest.raises(ConfigError, match="strategies and seeds must each name at least one value"):
        StudyConfig(**lists)


def test_budgets_keep_their_pixels_when_n_changes():
    run = RunConfig(regions=RegionConfig(size=128), budget=BudgetConfig(initial=1000, rounds=(1000, 2000, 3)))
    budgets = {
        r.regions.size: r.budget
        for r in StudyConfig(run=run, strategies=("random",), region_sizes=(128, 64, 32, 256, 96)).runs()
    }
    assert budgets[128] == run.budget
    assert budgets[64] == BudgetConfig(initial=4000, rounds=(4000, 8000, 12))
    assert budgets[32] == BudgetConfig(initial=16000, rounds=(16000, 32000, 48))
    assert budgets[256] == BudgetConfig(initial=250, rounds=(250, 500, 1))  # 0.75 rounds to 1
    assert budgets[96] == BudgetConfig(initial=1778, rounds=(1778, 3556, 5))
    assert budgets[256].total == 1001


def test_a_budget_never_falls_to_nothing():
    run = RunConfig(regions=RegionConfig(size=16), budget=BudgetConfig(initial=4, rounds=(1,)))
    (one,) = StudyConfig(run=run, strategies=("random",), region_sizes=(64,)).runs()
    assert one.budget == BudgetConfig(initial=1, rounds=(1,))
