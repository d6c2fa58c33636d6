"""Small configurations that the tests share."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from raylab.acquisition import FIELDS, Acquisition
from raylab.config import (
    BudgetConfig,
    ComputeConfig,
    DataConfig,
    ModelConfig,
    RegionConfig,
    RunConfig,
    ScoringConfig,
    StrategyConfig,
    StudyConfig,
    SyntheticConfig,
    TrainingConfig,
)
from raylab.errors import ConfigError
from raylab.files import Folder
from raylab.runs import ResolvedRun, ResolvedStudy, resolve, resolve_study
from raylab.runs.inputs import read_inputs


def resolved(config: RunConfig, store: Folder | None = None) -> ResolvedRun:
    """What a run is, its data and weights read."""
    return resolve(config, read_inputs(config, store))


def resolved_study(config: StudyConfig) -> ResolvedStudy:
    """The same of a study."""
    return resolve_study(config, read_inputs(config.run))


def resolved_runs(config: StudyConfig) -> list[ResolvedRun]:
    """The runs of a study, in the order of its grid."""
    return list(resolved_study(config).runs)


def tiny_run(storage: str = "unused", strategy: str = "entropy+spatial", **changes: Any) -> RunConfig:
    """Eight generated scenes of 64x96, an untrained backbone and two rounds after the first: seconds a round."""
    values: dict[str, Any] = {
        "data": DataConfig(synthetic=SyntheticConfig(train_images=8, val_images=3, height=64, width=96)),
        "regions": RegionConfig(size=16),
        "model": ModelConfig(weights="random", channels=16),
        "training": TrainingConfig(
            iterations=4, batch_size=4, crop=64, learning_rate=0.05, crop_tries=5, checkpoint_every=2
        ),
        "scoring": ScoringConfig(batch_size=3, pca=8),
        "budget": BudgetConfig(initial=12, rounds=(12, 24)),
        "strategy": StrategyConfig(name=strategy),
        "compute": ComputeConfig(),
        "storage": storage,
    }
    return RunConfig(**(values | changes))


def other_values() -> dict[str, Any]:
    """A value of every field of an acquisition that is not its default: a new field needs no row in the tests."""
    return {name: _other_value(name) for name in FIELDS}


def _other_value(name: str) -> Any:
    kind = get_type_hints(Acquisition)[name]
    default = getattr(Acquisition(uncertainty=1), name)
    for value in (*(get_args(kind) if get_origin(kind) is Literal else ()), 0.5, 2.0, 2, True, "margin"):
        try:
            # Of the type that the field gives it.
            found = getattr(Acquisition(**{"uncertainty": 1.0, name: value}), name)
        except ConfigError:
            continue
        if found != default:
            return found
    raise AssertionError(f"{name}: no value but its default was found; add one to those that are tried")
