"""From a batch of images to region rows: forward, uncertainty, region means. Plain torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor

from raylab.acquisition import PREDICTED_CLASS
from raylab.config import ComputeConfig, DataConfig, ModelConfig, RunConfig
from raylab.data import open_dataset
from raylab.data.base import SegmentationDataset
from raylab.files import Folder
from raylab.models import Segmenter, build_model
from raylab.progress import Progress
from raylab.regions import RegionGrid, Regions
from raylab.regions.table import gathered, region_table
from raylab.scoring.parts import PartWriter, Written, bounds, check_finite, in_parts, moments
from raylab.scoring.pooling import label_means, region_means
from raylab.scoring.reduce import Moments, Projection
from raylab.scoring.uncertainty import MAPS, Committee
from raylab.training.step import autocast, image_batches, seeded, to_input, torch_settings

StoredModel: TypeAlias = tuple[str, str | None]
"""Path of a model's weights below the storage root, and the SHA-256 that they must have; None takes any."""


@dataclass(frozen=True)
class ScoringJob:
    """What scoring a pool needs to know: small, picklable.

    Attributes:
        data: whose `train` split is scored.
        regions: the pool's geometry.
        n_classes: channels of the logits.
        maps: columns wanted: names of `MAPS`, and `PREDICTED_CLASS`.
        features: whether region features are wanted.
        pca: dimension they are reduced to.
        passes: stochastic passes with every model, for the maps of a committee.
        dropout: share dropped before the classifier in each of them.
        seed: of those passes.
        batch_size: images in one forward pass.
        precision: `fp32` or `bf16`.
        plugins: modules that the maps, the data set or the model may be registered in.
    """

    data: DataConfig
    model: ModelConfig
    compute: ComputeConfig
    regions: Regions
    n_classes: int
    maps: tuple[str, ...]
    features: bool
    pca: int
    passes: int
    dropout: float
    seed: int
    batch_size: int
    precision: str
    plugins: tuple[str, ...] = ()

    @property
    def reduces(self) -> bool:
        """Whether features are reduced."""
        return self.features and self.pca > 0


def scoring_job(config: RunConfig, regions: Regions, n_classes: int, maps: Sequence[str], features: bool) -> ScoringJob:
    """The scoring of a run's pool.

    Args:
        config: of the run.
        regions: the pool's geometry.
        n_classes: of the data set.
        maps: columns that the strategies need.
        features: whether they need region features.
    """
    return ScoringJob(
        data=config.data,
        model=config.model,
        compute=config.compute,
        regions=regions,
        n_classes=n_classes,
        maps=tuple(maps),
        features=features,
        pca=config.pca,
        passes=config.passes,
        dropout=config.pass_dropout,
        seed=config.seed,
        batch_size=config.scoring.batch_size,
        precision=config.training.precision,
        plugins=config.plugins,
    )


def load_model(config: ModelConfig, n_classes: int, weights: bytes, device: torch.device) -> Segmenter:
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


def load_predictor(job: ScoringJob, store: Folder, models: Sequence[StoredModel], device: torch.device) -> Predictor:
    """The predictor of trained models.

    Args:
        job: what to compute.
        store: of the models.
        models: the weights of every member of the ensemble.
        device: to put them on.

    Raises:
        StoreError: a file is missing, or not the one that was committed.
    """
    loaded = [load_model(job.model, job.n_classes, store.read_bytes(*model), device) for model in models]
    return Predictor(job, loaded, device)


def pool_batches(job: ScoringJob, dataset: SegmentationDataset) -> Iterator[list[int]]:
    """Which images share a forward pass, in the pool's order: the same wherever a run is scored.

    Convolutions may round differently with the size of the batch, and a run must select the same regions each time.
    """
    return image_batches(dataset, "train", np.arange(job.regions.n_images), job.batch_size)


def score_in_process(
    job: ScoringJob,
    store: Folder,
    models: Sequence[StoredModel],
    folder: str,
    device: torch.device,
    progress: Progress,
) -> list[Written]:
    """Score every region of the pool in this process.

    Args:
        job: what to compute.
        store: of the models, and of the region table.
        models: the weights of every member of the ensemble.
        folder: where the region table goes, features reduced by PCA.
        device: where to compute.
        progress: told of every batch.

    Returns:
        The parts of the region table.

    Raises:
        StoreError: a model is missing, or not the one that was committed.
        TrainingError: a number is not finite.
    """
    dataset = open_dataset(job.data)
    parts = list(in_parts(pool_batches(job, dataset), job.regions))
    write = PartWriter(store, folder, job.regions)

    def scored(part: list[list[int]]) -> Iterator[pa.Table]:
        for batch in part:
            yield predict(batch, [dataset.read_image("train", index) for index in batch])
            progress("score", bounds([batch], job.regions)[1], job.regions.n_regions)

    kept, written, sums = list[pa.Table](), list[Written](), list[Moments]()
    with torch_settings(job.compute.threads):
        predict = load_predictor(job, store, models, device)
        for part in parts:
            first, stop = bounds(part, job.regions)
            table = gathered(scored(part), stop - first)
            check_finite(table, folder)
            if job.reduces:
                sums.append(moments(table))
                kept.append(table)
            else:
                written.append(write(table, None))
    if job.reduces:
        projection = Projection.of(sums, job.pca)
        written = [write(kept.pop(0), projection) for _ in parts]
    return written


class Predictor:
    """Trained models that turn images into region rows.

    Args:
        job: what to compute.
        models: the first gives features and the maps of one posterior; all of them are the committee.
        device: where they lie.
    """

    def __init__(self, job: ScoringJob, models: Sequence[Segmenter], device: torch.device) -> None:
        self.job = job
        self.device = device
        self.models = [model.to(memory_format=torch.channels_last) for model in models]

    @torch.inference_mode()
    def __call__(self, indices: list[int], images: list[NDArray[np.uint8]]) -> pa.Table:
        """Score images of one size.

        Args:
            indices: of the images in the pool.
            images: (H, W, 3) uint8 each.

        Returns:
            A region table (`raylab.regions.table.region_schema`), features not yet reduced.
        """
        job = self.job
        height, width = images[0].shape[:2]
        size = (height, width)
        x = to_input(images, self.device)
        with autocast(self.device, job.precision):
            encoded = self.models[0].encode(self.models[0].normalise(x))
            features = self.models[0].decode(encoded, stochastic=False)
            logits = self.models[0].logits(features, size)
        rows = {name: MAPS.find(name) for name in job.maps if name != PREDICTED_CLASS}
        asked = any(row.committee for row in rows.values())
        committee = self._committee(x, encoded, indices, size) if asked else None
        pixels = {name: row.function(committee if row.committee else logits).float() for name, row in rows.items()}

        def pool(maps: Tensor) -> NDArray[np.float32]:
            return self._pool(maps, size, indices).cpu().numpy()

        columns: dict[str, NDArray[Any]] = {}
        if pixels:
            means = pool(torch.stack([*pixels.values()], dim=1))
            columns = {name: np.ascontiguousarray(means[:, i]) for i, name in enumerate(pixels)}
        if PREDICTED_CLASS in job.maps:
            shares = pool(F.one_hot(logits.argmax(1), job.n_classes).permute(0, 3, 1, 2).float())
            columns[PREDICTED_CLASS] = shares.argmax(axis=1).astype(np.int16)
        region_id = np.concatenate([np.arange(job.regions.offset[i], job.regions.offset[i + 1]) for i in indices])
        ordered = {name: columns[name] for name in job.maps}
        return region_table(region_id, ordered, pool(features) if job.features else None)

    def _pool(self, maps: Tensor, size: tuple[int, int], indices: list[int]) -> Tensor:
        """(regions of these images, C) means of (B, C, h, w) maps."""
        regions = self.job.regions
        if isinstance(regions, RegionGrid):
            return region_means(maps, size, regions.region_size).permute(0, 2, 3, 1).flatten(0, 2)
        counts = np.diff(regions.offset)
        return torch.cat(
            [label_means(maps[i], regions.label_map(index), int(counts[index])) for i, index in enumerate(indices)]
        )

    def _committee(
        self, x: Tensor, encoded: tuple[Tensor, ...], indices: list[int], size: tuple[int, int]
    ) -> Committee:
        """Every pass of every model; what no dropout touches is computed once a model."""
        committee = Committee()
        for member, model in enumerate(self.models):
            with autocast(self.device, self.job.precision):
                known = encoded if member == 0 else model.encode(model.normalise(x))
            for t in range(self.job.passes):
                # A pass is a function of (run, images, member, t), whichever actor computes it and however often.
                key = [self.job.seed, indices[0], member, t]
                with seeded(self.device, key), autocast(self.device, self.job.precision):
                    features = model.drop(model.decode(known, stochastic=True), self.job.dropout)
                    committee.add(model.logits(features, size))
        return committee
