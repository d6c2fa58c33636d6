"""Algorithm 1 and its objectives as the paper writes them: "Entropy+Spatial on one page".

Nothing here is fast, and nothing is shared with the optimisers of this package: no bounds, no lazy evaluation, NumPy
alone, a time of O(n (|L| + k)). `raylab.select` gives these picks, in this order; the tests compare the two. Where
the paper is silent (scaling, ties, exact arithmetic), docs/definitions.md says what is meant.

Six regions in two images, the first of them labelled. Entropy alone would pick 1, 2 and 3:

>>> import numpy as np
>>> from raylab.acquisition import STRATEGIES
>>> from raylab.regions import RegionGrid
>>> from raylab.selection.reference import algorithm_1
>>> pool = RegionGrid([(16, 48), (16, 48)], 16)
>>> entropy = np.array([0.9, 0.8, 0.7, 0.5, 0.4, 0.1])
>>> picks, phi = algorithm_1(pool, STRATEGIES["entropy+spatial"], 3, labelled=[0], uncertainty=entropy)
>>> picks.tolist(), phi.tolist()
([2, 3, 1], [1.75, 1.5, 1.375])
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raylab.acquisition import Acquisition
from raylab.regions import Regions

Floats = NDArray[np.float64]


def algorithm_1(
    regions: Regions,
    acquisition: Acquisition,
    k: int,
    *,
    labelled: ArrayLike,
    uncertainty: ArrayLike | None = None,
    features: ArrayLike | None = None,
    predicted_class: ArrayLike | None = None,
    seed: int | Sequence[int] = 0,
) -> tuple[NDArray[np.int64], Floats]:
    """The batch B_t of one round, region by region (Algorithm 1).

    Args:
        regions: of the pool, n in all.
        acquisition: the strategy.
        k: regions to pick; all that are left when it is more than that.
        labelled: (m,) ids of L_t.
        uncertainty: (n,) float u(x), as scored.
        features: (n, d) float32 f(x), as scored.
        predicted_class: (n,) integer; for class-balanced strategies.
        seed: of the regions that are drawn at random.

    Returns:
        region_id (k,) int64 in the order of the picks, and (k,) float64 the potential phi of each at its pick; 0 for
        regions drawn at random.
    """
    q, n = acquisition, regions.n_regions
    members = np.unique(np.asarray(labelled, np.int64)).tolist()  # S = L_t + B_t
    free = np.full(n, True)
    free[members] = False
    k = min(k, n - len(members))
    random = math.floor(q.random * k + 1e-9)
    u = np.zeros(n)
    if q.needs_uncertainty:
        u = scaled(np.asarray(uncertainty, np.float64))
        if q.class_balanced:
            u = u * class_weights(np.asarray(predicted_class))
    distances = Distances(regions, q, np.asarray(features) if q.needs_features else None)
    objective = MaxSum(q, u, distances, len(members) + k - random) if q.is_sum else MaxMin(q, u, distances)
    objective.begin(members, free)
    picks, potentials = list[int](), list[float]()
    for _ in range(k - random):
        phi = np.where(free, objective.phi(), -np.inf)
        best = int(np.argmax(phi))  # of equal ones the first: the lowest id
        picks.append(best)
        potentials.append(float(phi[best]) + objective.common)
        free[best] = False
        objective.add(best, free)
    picks += np.random.default_rng(seed).permutation(np.flatnonzero(free))[:random].tolist()
    return np.array(picks, np.int64), np.array(potentials + random * [0.0])


def scaled(uncertainty: Floats) -> Floats:
    """u(x) of Eq. 4, from 0 to 1 over the whole pool; a constant becomes 0."""
    low, high = uncertainty.min(initial=np.inf), uncertainty.max(initial=-np.inf)
    return (uncertainty - low) / (high - low) if high > low else np.zeros(len(uncertainty))


def class_weights(predicted_class: NDArray[np.integer]) -> Floats:
    """exp(-p_c) of every region, p_c being the share of the pool that is predicted as its class c."""
    classes = predicted_class.tolist()
    share = {c: classes.count(c) / len(classes) for c in set(classes)}
    return np.array([math.exp(-share[c]) for c in classes])


def snapped(features: NDArray[np.floating]) -> NDArray[np.int64]:
    """Features as whole numbers of b bits, so that every squared distance is exact ("Exactness")."""
    bits = math.floor((53 - math.ceil(math.log2(features.shape[1]))) / 2) - 1
    largest = float(np.abs(features).max(initial=0))
    exponent = math.frexp(largest)[1] if largest > 0 else 0
    return np.rint(np.ldexp(features.astype(np.float64), bits - exponent)).astype(np.int64)


class Distances:
    """The distances of all regions to one: d_f by features, d_s by location.

    Attributes:
        elsewhere: the spatial distance of regions of different images, before it is scaled.
        scale: what spatial distances are divided by.
        largest: d_s over an empty set: its largest value.
    """

    def __init__(self, regions: Regions, acquisition: Acquisition, features: NDArray[np.floating] | None) -> None:
        self.q, self.n = acquisition, regions.n_regions
        self.features = None if features is None else snapped(features)
        self.image = regions.image_of(np.arange(self.n))
        self.y, self.x = regions.centres(np.arange(self.n)).T
        q = self.q
        if q.distance == "linear":
            self.elsewhere = max((float(self.within(y).max()) for y in range(self.n)), default=0.0)
            self.scale, self.largest = self.elsewhere or 1.0, 1.0 if self.elsewhere > 0 else 0.0
        else:
            self._tau = regions.region_size if q.tau is None else q.tau
            self.elsewhere, self.scale, self.largest = q.c, max(q.b, q.c), 1.0

    def within(self, y: int) -> Floats:
        """(n,) the L_p distance of the centres in pixels, 0 for regions of other images than y's."""
        dy, dx = np.abs(self.y - self.y[y]), np.abs(self.x - self.x[y])
        norm = {1.0: dy + dx, 2.0: np.sqrt(dy * dy + dx * dx), math.inf: np.maximum(dy, dx)}[self.q.p]
        return np.where(self.image == self.image[y], norm, 0.0)

    def spatial(self, y: int) -> Floats:
        """(n,) d_s(x, y), in [0, 1]."""
        return self.unscaled(y) / self.scale

    def unscaled(self, y: int) -> Floats:
        """(n,) the same before it is scaled: Eq. 5 where the distance is linear, else Eq. 6."""
        q, pixels, same_image = self.q, self.within(y), self.image == self.image[y]
        if q.distance == "linear":
            return np.where(same_image, pixels, self.elsewhere)
        same_region = np.arange(self.n) == y
        return np.where(same_region, 0.0, np.where(~same_image, q.c, np.where(pixels <= self._tau, q.a, q.b)))

    def feature(self, y: int) -> Floats:
        """(n,) ||f(x) - f(y)||_2, not scaled: the root of an exact number; 0 where features play no part."""
        if self.features is None:
            return np.zeros(self.n)
        difference = self.features - self.features[y]
        return np.sqrt((difference * difference).sum(axis=1).astype(np.float64))

    def feature_scale(self, members: Sequence[int], free: NDArray[np.bool_]) -> float:
        """s: the largest distance of an unlabelled region to its nearest labelled one, as the round begins."""
        if self.features is None or not members or not free.any():
            return 0.0
        return float(np.min([self.feature(y) for y in members], axis=0)[free].max())


class MaxMin:
    """phi(x) = lambda_u u(x) + min over y in S of [ lambda_f d_f(x, y) + lambda_s d_s(x, y) ]  (Eq. 4)."""

    common = 0.0

    def __init__(self, acquisition: Acquisition, u: Floats, distances: Distances) -> None:
        self.q, self.u, self.distances = acquisition, u, distances
        self.least: Floats | None = None  # over an empty S the largest value of each term

    def begin(self, members: Sequence[int], free: NDArray[np.bool_]) -> None:
        """Takes the labelled regions into S, and fixes the scale of d_f."""
        if members:
            s = self.distances.feature_scale(members, free)
            self.weight = self.q.feature / s if s > 0 else 0.0
            self.least = np.min([self.distance(y) for y in members], axis=0)

    def distance(self, y: int) -> Floats:
        """(n,) lambda_f d_f(x, y) + lambda_s d_s(x, y)."""
        feature = self.weight * self.distances.feature(y)
        return feature + self.q.spatial * self.distances.spatial(y) if self.q.spatial > 0 else feature

    def phi(self) -> Floats:
        """(n,) the potential of every region."""
        if self.least is None:
            return self.q.uncertainty * self.u + (self.q.feature + self.q.spatial * self.distances.largest)
        return self.q.uncertainty * self.u + self.least

    def add(self, pick: int, free: NDArray[np.bool_]) -> None:
        """Takes a pick into S."""
        if self.least is None:
            self.begin([pick], free)
        else:
            self.least = np.minimum(self.least, self.distance(pick))


class MaxSum:
    """phi(x) = lambda_u u(x) / 2 + 1/M sum over y in S of [ lambda_f d_f(x, y) + lambda_s d_s(x, y) ].

    M is the largest |S| that the round can come to, 1 for the raw sum. The distances are rounded to multiples of a
    power of two and added before they are scaled, so that the sums are exact. Spatial distances are added up relative
    to the one across images: |S| times that one is `common` to all regions.
    """

    def __init__(self, acquisition: Acquisition, u: Floats, distances: Distances, largest: int) -> None:
        self.q, self.u, self.distances = acquisition, u, distances
        m = 1 if acquisition.set_function == "max_sum_raw" else max(largest, 1)
        self.feature_weight, self.spatial_weight = self.q.feature / m, self.q.spatial / (distances.scale * m)
        self.members, self.s = 0, 0.0
        self.feature, self.spatial = np.zeros(distances.n), np.zeros(distances.n)

    def begin(self, members: Sequence[int], free: NDArray[np.bool_]) -> None:
        """Takes the labelled regions into S, and fixes the scale of d_f."""
        self.s = self.distances.feature_scale(members, free)
        for y in members:
            self._sum(y)

    @property
    def common(self) -> float:
        """What the potential of every region holds beside `phi`."""
        return self.spatial_weight * (self.distances.elsewhere * self.members)

    def _sum(self, y: int) -> None:
        self.members += 1
        if self.s > 0:
            step = self._step()
            self.feature += np.rint(self.distances.feature(y) * (1 / self.s) / step) * step
        if self.q.spatial > 0:
            nearer, step = self.distances.unscaled(y) - self.distances.elsewhere, 2.0**-32
            if self.q.distance == "linear":  # in pixels
                step = 2.0**-20
            self.spatial += np.rint(nearer / step) * step

    def _step(self) -> float:
        """A step so small, and so large, that n distances add up to fewer than 2^53 of it."""
        features, n = self.distances.features, self.distances.n
        assert features is not None
        longest = 2 * math.sqrt(float((features * features).sum(axis=1).max())) / self.s
        return 2.0 ** -math.floor(52 - math.log2(n) - math.log2(max(longest, 1.0)))

    def phi(self) -> Floats:
        """(n,) the potential of every region."""
        phi = self.feature_weight * self.feature + 0.5 * self.q.uncertainty * self.u
        return phi + self.spatial_weight * self.spatial

    def add(self, pick: int, free: NDArray[np.bool_]) -> None:
        """Takes a pick into S."""
        if not self.members:
            self.begin([pick], free)
        else:
            self._sum(pick)
