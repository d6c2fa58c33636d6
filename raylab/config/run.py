"""The configuration of a run, and its identity."""

from __future__ import annotations

import hashlib
import json
from typing import Any

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

    name: str | None = None
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
    experiment: str = "raylab"
    """MLflow experiment."""

    def identity(self) -> str:
        """12 hexadecimal digits over everything that decides the run's result."""
        return _digest(self.decisive())

    def decisive(self) -> dict[str, Any]:
        """The fields that decide the run's result, as plain JSON values."""
        dump = self.model_dump(mode="json", exclude={"plugins", "name", "compute", "storage", "tracking", "experiment"})
        dump["strategy"] = {"acquisition": self.strategy.acquisition().to_json(), "pca": self.strategy.pca}
        dump["training"].pop("checkpoint_every")
        dump["data"] = self.data.decisive()
        dump["pretraining"] = {
            "iterations": self.pretraining.iterations,
            "data": self.pretraining.data.decisive() if self.pretraining.iterations else None,
        }
        if self.regions.shape == "grid":
            dump["regions"].pop("compactness")
        return dump

    def pretraining_identity(self) -> str:
        """12 hexadecimal digits over what decides the weights that every round starts from."""
        dump = self.decisive()
        for name in ("iterations", "epochs", "ensemble"):
            dump["training"].pop(name)
        return _digest({key: dump[key] for key in ("pretraining", "model", "training")} | self._norms())

    def supervised_identity(self) -> str:
        """12 hexadecimal digits over what decides a training on all masks, but for its iterations."""
        dump = self.decisive()
        dump["training"].pop("ensemble")
        return _digest({key: dump[key] for key in ("data", "pretraining", "model", "training", "seed")} | self._norms())

    def _norms(self) -> dict[str, int]:
        """The size of the batches in which batch norm is measured, where it is."""
        return {"norm_batch": self.scoring.batch_size} if self.training.norm_images else {}

    def round0_identity(self) -> str:
        """12 hexadecimal digits over what decides round 0: every strategy of a (data set, N, seed) shares it."""
        dump = self.decisive()
        dump.pop("strategy")
        dump["budget"].pop("rounds")
        return _digest(dump)

    @property
    def pca(self) -> int:
        """Dimension the region features are reduced to; 0 keeps them as they are."""
        return self.scoring.pca if self.strategy.pca is None else self.strategy.pca

    @property
    def label(self) -> str:
        """Folder and MLflow name of the run, e.g. `entropy+spatial-N32-seed0-1f2e3d4c5b6a`."""
        return f"{self.strategy.label}-N{self.regions.size}-seed{self.seed}-{self.identity()}"


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
