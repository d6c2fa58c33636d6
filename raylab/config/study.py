"""The configuration of a study: a grid of runs."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError, model_validator

from raylab.acquisition import STRATEGIES, strategy
from raylab.config.run import RunConfig
from raylab.config.sections import Frozen, NonNegative, Positive, StrategyConfig
from raylab.errors import ConfigError


class StudyConfig(Frozen):
    """A grid of runs: every strategy x region size x seed of the lists below, the rest as in `run`."""

    name: str = "study"
    """Folder and MLflow parent run."""
    run: RunConfig = RunConfig()
    """What all runs share."""
    strategies: tuple[str, ...] = ("random", "entropy", "entropy+spatial")
    """Names, each with changes if wanted: `entropy+spatial,tau=64`."""
    seeds: tuple[NonNegative, ...] = (0,)
    region_sizes: tuple[Positive, ...] = ()
    """N of every run; when empty, that of `run`. Budgets keep their number of pixels (docs/definitions.md)."""
    supervised: bool = False
    """Also train on every mask of the pool: the upper bound the curves are compared with."""
    supervised_iterations: Positive | None = None
    """Iterations of that training; when not given, those of a round."""
    paper: str | None = None
    """Table or figure of the paper whose printed values the report puts beside ours: `Table II`, `Fig. 5`."""
    concurrent_runs: NonNegative = 0
    """Runs in progress at once; 0: as many as the CPUs and GPUs hold."""

    @model_validator(mode="after")
    def _not_empty(self) -> StudyConfig:
        if not self.strategies or not self.seeds:
            raise ValueError("strategies and seeds must each name at least one value")
        return self

    def runs(self) -> list[RunConfig]:
        """The grid, in the order strategies, sizes, seeds.

        Raises:
            ConfigError: a strategy is unknown or named twice with the same values.
        """
        grid = [
            _resize(self.run, size).model_copy(update={"strategy": parse_strategy(text), "seed": seed})
            for text in self.strategies
            for size in (self.region_sizes or (self.run.regions.size,))
            for seed in self.seeds
        ]
        for run in grid:
            run.strategy.acquisition()
        labels = [run.label for run in grid]
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise ConfigError(f"strategies, seeds or region_sizes: the run {twice} is named twice; name it once")
        return grid


def parse_strategy(text: str) -> StrategyConfig:
    """Read `name` or `name,tau=64,a=1`.

    Raises:
        ConfigError: unknown name or parameter, or a value that is no number.
    """
    name, *changes = text.split(",")
    values: dict[str, Any] = {}
    for change in changes:
        key, _, value = change.strip().partition("=")
        if key in values:
            raise ConfigError(f"strategies: {text!r}: {key} is given twice; give it once")
        try:
            values[key] = float(value)
        except ValueError:
            raise ConfigError(f"strategies: {text!r}: {change!r} is not of the form key=number") from None
        if key not in StrategyConfig.model_fields or key == "name":
            raise ConfigError(f"strategies: {text!r}: unknown parameter {key!r}; known are tau, a, b, c, p, pca")
    if name not in STRATEGIES:
        strategy(name)
    try:
        return StrategyConfig(name=name, **values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(f"strategies: {text!r}: {problem['loc'][0]}: {problem['msg']}") from None


def _resize(run: RunConfig, size: int) -> RunConfig:
    if size == run.regions.size:
        return run
    regions = run.regions.model_copy(update={"size": size})
    if run.budget.unit != "regions":
        return run.model_copy(update={"regions": regions})
    factor = (run.regions.size / size) ** 2
    return run.model_copy(update={"regions": regions, "budget": run.budget.scaled(factor)})
