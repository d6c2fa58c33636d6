"""What a strategy maximises: the weights of its terms (Eq. 4), and the scaling of the uncertainty to [0, 1].

The potential of a region x, given the set S = L_t + B_t of regions labelled or picked so far, is

    Max-Min   phi(x) = lambda_u u(x) + min_{y in S} [lambda_f d_f(x, y) + lambda_s d_s(x, y)]
    Max-Sum   phi(x) = lambda_u u(x) / 2 + sum_{y in S} [lambda_f d_f(x, y) + lambda_s d_s(x, y)]

in float64, in exactly this order of operations, so that every optimiser, namespace and machine gives the same
picks. Over an empty S the minimum is the largest value of each weighted term, the sum is 0.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from raylab.errors import ConfigError
from raylab.regions.table import PREDICTED_CLASS


@dataclass(frozen=True)
class Acquisition:
    """A strategy, as a row of numbers.

    Attributes:
        uncertainty: lambda_u of Eq. 4.
        feature: lambda_f of Eq. 4.
        spatial: lambda_s of Eq. 4.
        random: share of the batch that is drawn uniformly at random, after the rest is picked by the potential.
            Of k regions floor(random * k) are drawn, so of an odd batch Entropy+Random takes one more by entropy.
        distance: the spatial distance, "piecewise" (Eq. 6) or "linear" (Eq. 5).
        tau: radius of the neighbourhood of Eq. 6 in pixels; None is the region size N.
        a: distance within tau in one image (Eq. 6).
        b: distance beyond tau in one image (Eq. 6).
        c: distance across images (Eq. 6).
        p: which L_p norm measures the distance of two centres, 1 or more, may be infinite.
        set_function: "max_min" (Algorithm 1) or "max_sum" (the greedy of Borodin et al.).
        map: which per-pixel map the uncertainty is the region's mean of; selection only sees its numbers.
        class_balanced: weight the scaled uncertainty of a region whose pixels are mostly predicted as class c by
            exp(-p_c), p_c being the share of such regions in the pool (Cai et al., CVPR 2021).

    Raises:
        ConfigError: a field has a value that cannot work; the message names it.
    """

    uncertainty: float = 0.0
    feature: float = 0.0
    spatial: float = 0.0
    random: float = 0.0
    distance: Literal["piecewise", "linear"] = "piecewise"
    tau: float | None = None
    a: float = 1.0
    b: float = 2.0
    c: float = 2.0
    p: float = math.inf
    set_function: Literal["max_min", "max_sum"] = "max_min"
    map: str = "entropy"
    class_balanced: bool = False

    def __post_init__(self) -> None:
        for name in ("uncertainty", "feature", "spatial", "a", "b", "c"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"acquisition.{name}: {value} is not a finite number of 0 or more")
        if not 0 <= self.random <= 1:
            raise ConfigError(f"acquisition.random: {self.random} is not a share between 0 and 1")
        if self.tau is not None and not self.tau >= 0:
            raise ConfigError(f"acquisition.tau: {self.tau} is not a number of pixels")
        if not self.p >= 1:
            raise ConfigError(f"acquisition.p: {self.p} is less than 1, so it is no norm")
        choices = {"distance": ("piecewise", "linear"), "set_function": ("max_min", "max_sum")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"acquisition.{name}: {getattr(self, name)!r} is none of {', '.join(known)}")
        if max(self.b, self.c) == 0:
            raise ConfigError("acquisition.b: b and c are both 0, so the spatial distance has no scale")
        if self.random < 1 and max(self.uncertainty, self.feature, self.spatial) == 0:
            raise ConfigError("acquisition.uncertainty: all weights are 0, so there is nothing to select by")
        if self.spatial > 0 and self.distance == "piecewise" and not self.is_metric:
            warnings.warn(
                f"acquisition: a={self.a}, b={self.b}, c={self.c} is no metric (a <= b <= 2a and c >= b); "
                "the approximation guarantees of the greedy do not hold",
                stacklevel=3,
            )

    @property
    def is_metric(self) -> bool:
        """Whether Eq. 6 with this (a, b, c) is a metric."""
        return self.a <= self.b <= 2 * self.a and self.c >= self.b

    @property
    def needs_uncertainty(self) -> bool:
        """Whether `select` must be given the regions' uncertainty."""
        return self.random < 1 and self.uncertainty > 0

    @property
    def maps(self) -> tuple[str, ...]:
        """Columns of the region table, beside the features, that `select` must be given."""
        if not self.needs_uncertainty:
            return ()
        return (self.map, PREDICTED_CLASS) if self.class_balanced else (self.map,)

    @property
    def needs_features(self) -> bool:
        """Whether `select` must be given the regions' features."""
        return self.random < 1 and self.feature > 0

    @property
    def needs_spatial(self) -> bool:
        """Whether the spatial distances take part."""
        return self.random < 1 and self.spatial > 0

    @property
    def is_sum(self) -> bool:
        """Whether the set function is Max-Sum."""
        return self.set_function == "max_sum"


@dataclass(frozen=True)
class Selection:
    """The picks of one round, in the order in which they were made, with the terms that made them.

    The terms are scaled and unweighted, those at the time of the pick, and 0 where the strategy does not use
    them. Under Max-Min with both distances they are those of the pair that attains the minimum, so that
    phi = lambda_u uncertainty + lambda_f feature + lambda_s spatial; under Max-Sum they are the sums over S and
    the uncertainty counts half. Regions drawn at random have phi = feature = spatial = 0.

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
    _, place, count = np.unique(predicted_class, return_inverse=True, return_counts=True)
    # By math, value by value: NumPy's exp depends on its vector width.
    weights = np.array([math.exp(-n / len(predicted_class)) for n in count.tolist()])
    return np.asarray(weights[place.reshape(-1)], np.float64)


def selection_columns(
    acquisition: Acquisition, maps: Mapping[str, NDArray[Any]], features: NDArray[np.float32] | None
) -> dict[str, Any]:
    """What `select` takes, out of a region table's columns.

    Args:
        acquisition: the strategy.
        maps: (n,) columns by name; a table of one map may call it "uncertainty".
        features: (n, d) float32 or None.
    """
    return {
        "uncertainty": maps.get(acquisition.map, maps.get("uncertainty")),
        "predicted_class": maps.get(PREDICTED_CLASS),
        "features": features,
    }
