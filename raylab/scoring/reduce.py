"""PCA of the region features, fitted on the pool each round (docs/definitions.md). Plain NumPy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylab.regions.table import columns_of, region_table


def reduce_features(table: pa.Table, n_regions: int, dimension: int) -> pa.Table:
    """A scored pool's table with its features reduced.

    Args:
        table: a region table sorted by region_id.
        n_regions: what the pool holds.
        dimension: axes to keep; 0 keeps the features as they are.

    Raises:
        StoreError: the rows are not exactly the pool's regions.
    """
    maps, features = columns_of(table, n_regions)
    if features is None or not dimension:
        return table
    return region_table(np.arange(n_regions), maps, principal_components(features, dimension))


def principal_components(features: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Project centred features on their leading principal axes.

    Each axis is turned so that its largest entry is positive: the sign LAPACK gives is arbitrary.

    Args:
        features: (n, d) float32.
        dimension: axes to keep; all d where it is not smaller.

    Returns:
        (n, min(d, dimension)) float32.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    # Covariance and projection in blocks of rows: float64 accuracy without a float64 copy of the matrix.
    blocks = [features[i : i + 65536] for i in range(0, len(features), 65536)]
    covariance = np.zeros((features.shape[1],) * 2)
    for block in blocks:
        centred = block - mean
        covariance += centred.T @ centred
    _, vectors = np.linalg.eigh(covariance)
    axes = vectors[:, ::-1][:, :dimension]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    return np.concatenate([((block - mean) @ axes).astype(np.float32) for block in blocks])
