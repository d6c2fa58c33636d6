"""PCA of the region features, fitted on the pool each round (docs/definitions.md). Plain NumPy.

The pool's parts are summed up where they are; their sums are added in the parts' order, and each part is projected
alone. So the axes do not depend on who held which part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 65_536
_BITS = 16


class Moments(NamedTuple):
    """What the axes depend on of some rows.

    Attributes:
        rows: how many.
        sums: (d,) float64.
        products: (d, d) float64 sums of the products of two features.
    """

    rows: int
    sums: NDArray[np.float64]
    products: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> Moments:
        """Those of (n, d) finite float32 rows.

        Of each value its leading bits count, 16 for the largest of the rows: then the sums are whole numbers below
        2^53 (for up to 2^20 rows) and exact, whatever order a machine's BLAS adds in.
        """
        largest = float(np.abs(features).max(initial=0.0))
        step = 2.0 ** (math.frexp(largest)[1] - _BITS)
        d = features.shape[1]
        sums, products = np.zeros(d), np.zeros((d, d))
        for start in range(0, len(features), _BLOCK):
            whole = np.rint(features[start : start + _BLOCK].astype(np.float64) / step)
            sums += whole.sum(axis=0)
            products += whole.T @ whole
        return cls(len(features), sums * step, products * step**2)


class Projection(NamedTuple):
    """Centred features on their leading principal axes.

    Attributes:
        mean: (d,) float64.
        axes: (d, k) float64, a column an axis, in the order of falling variance.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    @classmethod
    def of(cls, parts: Sequence[Moments], dimension: int) -> Projection:
        """The one of a pool.

        Each axis is turned so that its largest entry is positive: the sign LAPACK gives is arbitrary.

        Args:
            parts: of the pool, in their order.
            dimension: axes to keep; all d where it is not smaller.
        """
        rows = sum(part.rows for part in parts)
        sums = np.sum([part.sums for part in parts], axis=0)
        products = np.sum([part.products for part in parts], axis=0)
        mean = sums / rows
        _, vectors = np.linalg.eigh(products - rows * np.outer(mean, mean))
        axes = vectors[:, ::-1][:, :dimension]
        axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)
        return cls(mean, axes)

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, d) float32 rows projected, (n, k) float32; in blocks, without a float64 copy of them all."""
        blocks = (features[start : start + _BLOCK] for start in range(0, len(features), _BLOCK))
        return np.concatenate([((block - self.mean) @ self.axes).astype(np.float32) for block in blocks])


def principal_components(features: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """The features of a pool in one part, reduced.

    Args:
        features: (n, d) float32.
        dimension: axes to keep; all d where it is not smaller.

    Returns:
        (n, min(d, dimension)) float32.
    """
    return Projection.of([Moments.of(features)], dimension)(features)
