"""Small configurations that the tests share."""

from __future__ import annotations

from typing import Any

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
