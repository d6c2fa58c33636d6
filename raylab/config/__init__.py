"""The whole configuration of a run and of a study, as frozen pydantic models.

What a run is, as told by the numbers and bytes that its configuration names, is `raylab.runs.identity`'s to say.
"""

from raylab.config.run import RunConfig
from raylab.config.sections import (
    BudgetConfig,
    ComputeConfig,
    DataConfig,
    ExpectConfig,
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
    "ExpectConfig",
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
