"""The configuration of a run."""

from __future__ import annotations

from raylab.acquisition import Acquisition
from raylab.config.names import Name
from raylab.config.sections import (
    BudgetConfig,
    ComputeConfig,
    DataConfig,
    Extensible,
    ModelConfig,
    NonNegative,
    PretrainingConfig,
    RegionConfig,
    ScoringConfig,
    TrainingConfig,
)
from raylab.config.strategy import StrategyConfig


class RunConfig(Extensible):
    """One strategy and seed through all rounds."""

    name: Name | None = None
    """Name of the report and the MLflow parent run; when not given, made of strategy, N, seed and identity."""
    data: DataConfig = DataConfig()
    regions: RegionConfig = RegionConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    pretraining: PretrainingConfig = PretrainingConfig()
    scoring: ScoringConfig = ScoringConfig()
    budget: BudgetConfig = BudgetConfig()
    strategy: StrategyConfig = StrategyConfig()
    seed: NonNegative = 0
    """Seed of the first draw, the augmentation and the head's initial weights."""
    compute: ComputeConfig = ComputeConfig()
    storage: str = "raylab-results"
    """Folder or URI (s3://, gs://) under which every result lies."""
    tracking: str | None = None
    """MLflow tracking URI; when not given, MLFLOW_TRACKING_URI, else an SQLite file under the storage root."""
    experiment: str | None = None
    """MLflow experiment; when not given, MLFLOW_EXPERIMENT_NAME, else `raylab`."""

    @property
    def datasets(self) -> tuple[DataConfig, ...]:
        """The data sets that are read: its own, and what is pre-trained on."""
        return (self.data, *[self.pretraining.data] * bool(self.pretraining.iterations))

    def acquisition(self) -> Acquisition:
        """The strategy's numbers today, those it does not use as by default; `tau` is None where it is N.

        Raises:
            ConfigError: the strategy is unknown or has a value that cannot work.
        """
        return self.strategy.acquisition().effective(self.regions.size)

    @property
    def pass_dropout(self) -> float:
        """Share of the activations dropped before the classifier in a stochastic pass."""
        return self.model.dropout if self.scoring.dropout is None else self.scoring.dropout

    @property
    def passes(self) -> int:
        """Stochastic passes with every model; one where nothing is dropped, as all would be the same."""
        return self.scoring.passes if self.pass_dropout or self.model.aspp_dropout else 1

    @property
    def pca(self) -> int:
        """Dimension the region features are reduced to; 0 keeps them as they are."""
        return self.scoring.pca if self.strategy.pca is None else self.strategy.pca
