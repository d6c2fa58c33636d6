"""The whole configuration of a run and of a study, as frozen pydantic models.

A run's identity is the canonical hash of what decides its result (`RunConfig.identity`): where results lie, how many
workers compute them and what is logged are left out, so a run may move to another machine and continue.
"""

from raylab.config.run import RunConfig
from raylab.config.sections import (
    BudgetConfig,
    ComputeConfig,
    DataConfig,
    ModelConfig,
    PretrainingConfig,
    RegionConfig,
    ScoringConfig,
    SyntheticConfig,
    TrainingConfig,
)
from raylab.config.strategy import StrategyConfig, parse_strategy
from raylab.config.study import StudyConfig

__all__ = [
    "BudgetConfig",
    "ComputeConfig",
    "DataConfig",
    "ModelConfig",
    "PretrainingConfig",
    "RegionConfig",
    "RunConfig",
    "ScoringConfig",
    "StrategyConfig",
    "StudyConfig",
    "SyntheticConfig",
    "TrainingConfig",
    "parse_strategy",
]
