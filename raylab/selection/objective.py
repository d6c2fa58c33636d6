"""What a strategy maximises: the weights of its terms (Eq. 4), and the scaling of the uncertainty to [0, 1].

The potential of a region x, given the set S = L_t + B_t of regions labelled or picked so far, is

    Max-Min   phi(x) = lambda_u u(x) + min_{y in S} [lambda_f d_f(x, y) + lambda_s d_s(x, y)]
    Max-Sum   phi(x) = lambda_u u(x) / 2 + sum_{y in S} [lambda_f d_f(x, y) + lambda_s d_s(x, y)] / M

with M = |L_t| + K, the largest number of distances that a round can add up (1 for the raw sum), in float64, in exactly
this order of operations, so that every optimiser, namespace and machine gives the same picks. Over an empty S the
minimum is the largest value of each weighted term, the sum is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raylab.acquisition import PREDICTED_CLASS, Acquisition

TERMS = ("phi", "uncertainty", "feature", "spatial")
"""The numbers that are written down of every pick: its potential and the terms that made it."""


@dataclass(frozen=True)
class Selection:
    """The picks of one round, in the order in which they were made, with the terms that made them.

    The terms are scaled and unweighted, those at the time of the pick, and 0 where the strategy does not use
    them. Under Max-Min with both distances they are those of the pair that attains the minimum, so that
    phi = lambda_u uncertainty + lambda_f feature + lambda_s spatial; under Max-Sum they are the sums over S, divided
    by M, and the uncertainty counts half. Regions drawn at random have phi = feature = spatial = 0.

    Attributes:
        region_id: (k,) int64.
        phi: (k,) float64 potential.
        uncertainty: (k,) float64.
        feature: (k,) float64.
        spatial: (k,) float64.
    """

    region_id: NDArray[np.int64]
    phi: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    feature: NDArray[np.float64]
    spatial: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.region_id)

    @classmethod
    def empty(cls) -> Selection:
        """No picks at all."""
        zero = np.zeros(0)
        return cls(np.zeros(0, np.int64), zero, zero, zero, zero)

    def terms(self) -> dict[str, NDArray[np.float64]]:
        """The potential and each term of the picks, by the ledger's names."""
        return {name: getattr(self, name) for name in TERMS}

    def head(self, k: int) -> Selection:
        """The first k picks."""
        return self.take(slice(k))

    def take(self, order: NDArray[np.int64] | slice) -> Selection:
        """Some picks, in another order."""
        return Selection(*(getattr(self, f.name)[order] for f in fields(self)))

    def __add__(self, other: Selection) -> Selection:
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Selection(*(np.concatenate(pair) for pair in pairs))


def scale_uncertainty(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Uncertainty scaled to [0, 1] by the least and the largest value of the whole pool; a constant becomes 0.

    Args:
        values: (n,) finite, any float type.

    Returns:
        (n,) float64.
    """
    scaled = values.astype(np.float64)
    if len(scaled):
        low, high = scaled.min(), scaled.max()
        scaled -= low
        span = high - low
        if span > 0:
            scaled /= span
    return scaled


def class_weights(predicted_class: NDArray[np.integer]) -> NDArray[np.float64]:
    """exp(-p_c) of every region, p_c being the share of the pool's regions that are predicted as its class c.

    Args:
        predicted_class: (n,) the class most pixels of each region are predicted as.

    Returns:
        (n,) float64, in 1/e..1.
    """
    _, index, count = np.unique(predicted_class, return_inverse=True, return_counts=True)
    # By math, value by value: NumPy's exp depends on its vector width.
    weights = np.array([math.exp(-n / len(predicted_class)) for n in count.tolist()])
    return np.asarray(weights[index.reshape(-1)], np.float64)


def selection_columns(acquisition: Acquisition, maps: Mapping[str, NDArray[Any]], features: Any) -> dict[str, Any]:
    """What `select` takes, out of a region table's columns.

    Args:
        acquisition: the strategy.
        maps: (n,) columns by name; a table of one map may call it "uncertainty".
        features: (n, d) float32, here or as the shards take them; or None.
    """
    return {
        "uncertainty": maps.get(acquisition.map, maps.get("uncertainty")),
        "predicted_class": maps.get(PREDICTED_CLASS),
        "features": features,
    }
