"""What one round's training needs to know: small, picklable, the same on every worker."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raylab.config import ComputeConfig, DataConfig, ModelConfig, RunConfig, TrainingConfig
from raylab.regions import Regions


@dataclass(frozen=True)
class TrainingJob:
    """One training from the pre-trained backbone, and the evaluation of what it gives.

    Attributes:
        data: the data set, opened anew in every worker.
        regions: the pool's geometry.
        labelled: (n,) int64 region ids whose masks are known; None for all pixels of all images (fully supervised).
        n_classes: channels of the logits.
        iterations: optimiser steps.
        seed: of the head's weights, the order of the images and the augmentation.
        eval_batch: images in one forward pass of the evaluation.
        plugins: modules that the data set or the model may be registered in.
    """

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    compute: ComputeConfig
    regions: Regions
    labelled: NDArray[np.int64] | None
    n_classes: int
    iterations: int
    seed: int
    eval_batch: int
    plugins: tuple[str, ...] = ()


def training_job(
    config: RunConfig,
    regions: Regions,
    n_classes: int,
    labelled: NDArray[np.int64] | None,
    iterations: int | None = None,
    start: str | None = None,
) -> TrainingJob:
    """The training of one round of a run.

    Args:
        config: of the run.
        regions: the pool's geometry.
        n_classes: of the data set.
        labelled: (n,) int64 region ids, or None for the fully supervised bound.
        iterations: optimiser steps; when None those of the configuration, whose epochs count the labelled images.
        start: path or URI of the pre-trained model it starts from, in place of `model.weights`.
    """
    if iterations is None:
        iterations = config.training.iterations
    if iterations is None:
        images = regions.n_images if labelled is None else len(np.unique(regions.image_of(labelled)))
        iterations = max(1, math.ceil(config.training.epochs * images / config.training.batch_size))
    return TrainingJob(
        data=config.data,
        model=config.model if start is None else config.model.model_copy(update={"weights": start}),
        training=config.training,
        compute=config.compute,
        regions=regions,
        labelled=None if labelled is None else np.sort(labelled),
        n_classes=n_classes,
        iterations=iterations,
        seed=config.seed,
        eval_batch=config.scoring.batch_size,
        plugins=config.plugins,
    )
