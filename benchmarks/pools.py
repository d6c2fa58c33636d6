"""Pools of Cityscapes' geometry that selection is measured on."""

from __future__ import annotations

from typing import Any

import numpy as np

from raylab.regions.grid import RegionGrid

DIMENSIONS, REGION, CLASSES = 128, 128, 40
Floats = Any


def entropies(rng: np.random.Generator, images: int, rows: int, cols: int) -> Floats:
    """(images, rows, cols) float64, correlated within an image: a smoothed field plus the image's level."""
    entropy = np.pad(rng.gamma(2, 0.15, (images, rows, cols)), ((0, 0), (1, 1), (1, 1)), mode="edge")
    entropy = np.mean([entropy[:, i : i + rows, j : j + cols] for i in range(3) for j in range(3)], axis=0)
    return entropy + rng.gamma(2, 0.05, (images, 1, 1))


def pool(images: int, decay: float = 0.8, seed: int = 0) -> tuple[RegionGrid, Floats, Floats]:
    """A pool of Cityscapes' geometry with structure.

    Entropies are as `entropies` says; features are a mixture of classes, images and noise over a spectrum that decays
    as PCA's does.

    Args:
        images: of 8 x 16 regions each.
        decay: component i has the standard deviation i^-decay; 0 is the hardest.
        seed: of all that is drawn.

    Returns:
        The grid, (n,) float64 entropies, (n, 128) float32 features.
    """
    rng = np.random.default_rng(seed)
    regions = RegionGrid(np.tile([[1024, 2048]], (images, 1)), REGION)
    rows, cols = int(regions.rows[0]), int(regions.cols[0])
    entropy = entropies(rng, images, rows, cols)
    spectrum = (np.arange(1, DIMENSIONS + 1) ** -decay).astype(np.float32)
    centres = rng.standard_normal((CLASSES, DIMENSIONS), np.float32)
    features = np.empty((images, rows * cols, DIMENSIONS), np.float32)
    for image in features:
        image[:] = centres[rng.integers(0, CLASSES, rows * cols)]
        image += 0.5 * rng.standard_normal(DIMENSIONS, np.float32)
        image += 0.7 * rng.standard_normal(image.shape, np.float32)
        image *= spectrum
    return regions, entropy.reshape(-1), features.reshape(-1, DIMENSIONS)
