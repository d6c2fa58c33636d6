"""The crops of a training, numbered: crop k is the same whichever worker draws it, and after a restart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from raylab.data import open_dataset
from raylab.data.base import SegmentationDataset
from raylab.labels import reveal
from raylab.object_store import start_method
from raylab.training.augment import augment
from raylab.training.job import TrainingJob


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Crop k of the training: image by a fresh permutation each epoch, augmentation by a generator of its own."""

    def __init__(self, job: TrainingJob, pad: NDArray[np.uint8]) -> None:
        self.job = job
        self.pad = pad
        self.dataset: SegmentationDataset = open_dataset(job.data)
        self.regions = job.regions
        if job.labelled is None:
            self.images = np.arange(self.regions.n_images)
        else:
            self.images = np.unique(self.regions.image_of(job.labelled))

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        """((3, crop, crop) uint8, (crop, crop) uint8) of crop k."""
        epoch, at = divmod(k, len(self.images))
        order = np.random.default_rng([self.job.seed, 0, epoch]).permutation(self.images)
        index = int(order[at])
        # The image first: its size is then known, to which the mask's is compared.
        pixels = self.dataset.read_image("train", index)
        mask = self.dataset.read_mask("train", index)
        if self.job.labelled is not None:
            here = self.job.labelled[self.regions.image_of(self.job.labelled) == index]
            mask = reveal(mask, self.regions.covered(index, here))
        config = self.job.training
        image, labels = augment(
            pixels,
            mask,
            crop=config.crop,
            scale=config.scale,
            pad=self.pad,
            rng=np.random.default_rng([self.job.seed, 1, k]),
            tries=config.crop_tries,
        )
        return image, labels

    def batches(
        self, start: int, rank: int, workers: int, loader_workers: int, pinned: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """This worker's share of the global batches from iteration `start` on: every `workers`-th crop."""
        size = self.job.training.batch_size
        shares = [list(range(i * size + rank, (i + 1) * size, workers)) for i in range(start, self.job.iterations)]
        # A forked process cannot read from an object store, so there its processes are started in another way.
        context = start_method() if loader_workers else None
        return iter(
            DataLoader(
                self,
                batch_sampler=shares,
                num_workers=loader_workers,
                pin_memory=pinned,
                multiprocessing_context=context,
            )
        )
