"""The configuration of a study: a grid of runs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from raylab.config.names import NameOrEmpty
from raylab.config.run import RunConfig
from raylab.config.sections import Extensible, NonNegative, Positive
from raylab.config.strategy import StrategyConfig, parse_strategy
from raylab.errors import ConfigError


def _as_text(value: Any) -> Any:
    """A strategy that was given as a mapping or as a `StrategyConfig`, as text."""
    if isinstance(value, dict):
        value = StrategyConfig.model_validate(value)
    return value.label if isinstance(value, StrategyConfig) else value


class StudyConfig(Extensible):
    """A grid of runs: every strategy x region size x seed of the lists below, the rest as in `run`.

    The defaults of `run` are the paper's training and budgets, which generated scenes, the default data, are too small
    for: there a command line or file takes from the preset `synthetic` what it does not say. Python says so itself:

    >>> from raylab.config.load import read_layers, read_preset
    >>> read_layers(StudyConfig, [], {}) == read_preset(StudyConfig, "synthetic")
    True

    Raises:
        ConfigError: a line for each field that is unknown or cannot have its value.
    """

    name: NameOrEmpty = "study"
    """Of the study: its folder below the storage root and its MLflow parent run. When empty, that of its one run."""
    run: RunConfig = RunConfig()
    """What all runs share."""
    strategies: tuple[Annotated[str, BeforeValidator(_as_text)], ...] = ("random", "entropy", "entropy+spatial")
    """To compare, each with changes if wanted: `entropy+spatial,tau=64,map=margin` (`raylab strategies` lists them)."""
    seeds: tuple[NonNegative, ...] = (0,)
    """A run of every strategy for each: of the first draw, the augmentation and the head's initial weights."""
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

    @model_validator(mode="after")
    def _share_plugins(self) -> StudyConfig:
        """Jobs are made of `run`, so what the study loads its runs load, and the other way round."""
        plugins = tuple(dict.fromkeys((*self.plugins, *self.run.plugins)))
        object.__setattr__(self, "plugins", plugins)
        object.__setattr__(self, "run", self.run.model_copy(update={"plugins": plugins}))
        return self

    def runs(self) -> list[RunConfig]:
        """The grid, in the order strategies, sizes, seeds.

        Raises:
            ConfigError: a strategy is unknown or named twice with the same values.
        """
        grid = [
            _resize(self.run, size).model_copy(update={"strategy": strategy, "seed": seed})
            for strategy in _parse_each(self.strategies)
            for size in (self.region_sizes or (self.run.regions.size,))
            for seed in self.seeds
        ]
        said: dict[Hashable, RunConfig] = {}
        for run in grid:
            # Two spellings of the same numbers are one run.
            what = run.acquisition(), run.pca, run.regions.size, run.seed
            if (other := said.setdefault(what, run)) is not run:
                spelled = list(dict.fromkeys([other.strategy.label, run.strategy.label]))
                raise ConfigError(
                    f"strategies, seeds or region_sizes: the run {' alias '.join(spelled)}, N {run.regions.size}, seed "
                    f"{run.seed} is named twice; name it once"
                )
        return grid


def _parse_each(texts: Sequence[str]) -> list[StrategyConfig]:
    """Every strategy of a list, or an error that names all that cannot be read."""
    found, problems = [], []
    for text in texts:
        try:
            found.append(parse_strategy(text))
        except ConfigError as error:
            problems += str(error).splitlines()
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _resize(run: RunConfig, size: int) -> RunConfig:
    if size == run.regions.size:
        return run
    regions = run.regions.model_copy(update={"size": size})
    if run.budget.unit != "regions":
        return run.model_copy(update={"regions": regions})
    factor = (run.regions.size / size) ** 2
    return run.model_copy(update={"regions": regions, "budget": run.budget.scaled(factor)})
