"""The regions of a run's pool, whichever shape its configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raylab.data.base import SegmentationDataset
from raylab.regions.base import Regions
from raylab.regions.grid import RegionGrid

if TYPE_CHECKING:
    from raylab.config import RunConfig
    from raylab.regions.slic import Progress
    from raylab.store import Store


def open_regions(
    config: RunConfig,
    dataset: SegmentationDataset,
    store: Store,
    progress: Progress | None = None,
    *,
    build: bool = True,
) -> Regions:
    """The regions of a run's pool; superpixels are computed by the first run that asks for them.

    Args:
        config: of the run.
        dataset: whose `train` split is the pool.
        store: of the results.
        progress: told of every image while superpixels are computed, as stage `regions`.
        build: False refuses superpixels that are not there instead of computing them.

    Raises:
        ConfigError: N does not suit the images, or scikit-image is needed and not installed.
        StoreError: stored superpixels are damaged, or missing and `build` is False.
    """
    shape = config.regions
    if shape.shape == "grid":
        return RegionGrid(dataset.image_sizes("train"), shape.size)
    from raylab.regions.slic import open_or_build

    return open_or_build(dataset, store, shape.size, shape.compactness, progress, build)
