"""From a batch of images to region rows: forward, uncertainty, region means. Plain torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import load

from raylab.config import ComputeConfig, DataConfig, ModelConfig, RunConfig
from raylab.models import DeepLabV3Plus
from raylab.models.deeplab import build_model
from raylab.regions import RegionGrid
from raylab.regions.table import region_table
from raylab.scoring.pooling import region_means
from raylab.scoring.uncertainty import UNCERTAINTIES
from raylab.training.step import autocast, to_input


@dataclass(frozen=True)
class ScoringJob:
    """What scoring a pool needs to know: small, picklable.

    Attributes:
        data: whose `train` split is scored.
        grid: the pool's geometry.
        n_classes: channels of the logits.
        uncertainty: key of `UNCERTAINTIES`.
        features: whether region features are wanted.
        pca: dimension they are reduced to.
        batch_size: images in one forward pass.
        precision: `fp32` or `bf16`.
    """

    data: DataConfig
    model: ModelConfig
    compute: ComputeConfig
    grid: RegionGrid
    n_classes: int
    uncertainty: str
    features: bool
    pca: int
    batch_size: int
    precision: str


def scoring_job(config: RunConfig, grid: RegionGrid, n_classes: int, features: bool) -> ScoringJob:
    """The scoring of a run's pool.

    Args:
        config: of the run.
        grid: the pool's geometry.
        n_classes: of the data set.
        features: whether the strategy needs region features.
    """
    return ScoringJob(
        data=config.data,
        model=config.model,
        compute=config.compute,
        grid=grid,
        n_classes=n_classes,
        uncertainty=config.scoring.uncertainty,
        features=features,
        pca=config.scoring.pca,
        batch_size=config.scoring.batch_size,
        precision=config.training.precision,
    )


def load_model(config: ModelConfig, n_classes: int, weights: bytes, device: torch.device) -> DeepLabV3Plus:
    """A trained model.

    Args:
        config: it was built with.
        n_classes: channels of its logits.
        weights: a safetensors file's bytes.
        device: to put it on.
    """
    model = build_model(config.model_copy(update={"weights": "random"}), n_classes, seed=0)
    model.load_state_dict(load(weights))
    return model.to(device).eval()


class Predictor:
    """A trained model that turns images into region rows."""

    def __init__(self, job: ScoringJob, model: DeepLabV3Plus, device: torch.device) -> None:
        self.job = job
        self.device = device
        self.model = model.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, indices: list[int], images: list[NDArray[np.uint8]]) -> pa.Table:
        """Score images of one size.

        Args:
            indices: of the images in the pool.
            images: (H, W, 3) uint8 each.

        Returns:
            A region table (`raylab.regions.table.region_schema`), features not yet reduced.
        """
        grid, size = self.job.grid, images[0].shape[:2]
        with autocast(self.device, self.job.precision):
            features = self.model.features(to_input(images, self.device))
            logits = self.model.logits(features, size)
        uncertainty = UNCERTAINTIES[self.job.uncertainty](logits)
        scores = region_means(uncertainty[:, None], size, grid.region_size)
        rows = None
        if self.job.features:
            rows = region_means(features, size, grid.region_size).permute(0, 2, 3, 1).flatten(0, 2).cpu().numpy()
        region_id = np.concatenate([np.arange(grid.offset[i], grid.offset[i + 1]) for i in indices])
        return region_table(region_id, scores.flatten().cpu().numpy(), rows)
