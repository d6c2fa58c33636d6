"""One round's picks by potential, over the shards of a pool: Algorithm 1 with the work where the features are."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raylab.acquisition import Acquisition
from raylab.regions.base import Regions
from raylab.selection.by_image import Picks
from raylab.selection.distance import SpatialDistance
from raylab.selection.epochs import Greedy, Highest, Pick, run_epochs
from raylab.selection.image_blocks import ImageDistances
from raylab.selection.max_min import MaxMinGreedy
from raylab.selection.max_sum import MaxSumGreedy, SumSteps
from raylab.selection.non_metric import first_image
from raylab.selection.objective import Selection
from raylab.selection.shards import Shards

Floats = NDArray[np.float64]


class Coordinator:
    """One selection; holds no features but those of an epoch.

    Args:
        regions: of the pool.
        acquisition: the strategy.
        shards: of the pool.
        labelled: (m,) int64 region ids, rising.

    Attributes:
        evaluated: feature distances that were computed.
        exchanges: how often the shards were asked.
        epochs: how many of those asked for survivors.
    """

    def __init__(self, regions: Regions, acquisition: Acquisition, shards: Shards, labelled: NDArray[np.int64]) -> None:
        self.regions, self.acquisition, self.shards, self.labelled = regions, acquisition, shards, labelled
        self.distance = SpatialDistance(regions, acquisition) if acquisition.needs_spatial else None
        self._cuts = [int(regions.offset[first]) for first, _ in shards.images[1:]]
        self.evaluated = self.exchanges = self.epochs = 0

    def select(self, k: int, u: Floats | None, features: Any) -> Selection:
        """The next k picks, which there must be.

        Args:
            k: how many, at least 1.
            u: (n,) float64 the scaled uncertainty; None where it counts nothing.
            features: as the shards take them; ignored where the strategy needs none.

        Raises:
            BeginAgainError: a shard cannot go on; the selection can.
        """
        q = self.acquisition
        weight = 0.5 * q.uncertainty if q.is_sum else q.uncertainty
        potential = np.zeros(self.regions.n_regions) if u is None else weight * u
        potential[self.labelled] = -np.inf
        if q.needs_features:
            return self._with_features(k, u, potential, features)
        if self.distance is not None:
            ids, phi, spatial = self._by_images(k, potential, self.distance)
        else:
            ids = _highest(potential, k)
            phi, spatial = potential[ids], np.zeros(k)
        return self._result(ids, phi, u, np.zeros(k), spatial)

    def _ask(self, message: str, arguments: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        self.exchanges += 1
        return self.shards.ask(message, arguments)

    def _by_shard(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """(n,) values of all regions, cut into the shards'."""
        return np.split(values, self._cuts)

    def _of_shards(self, region: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Rising region ids, cut into those of each shard."""
        return np.split(region, np.searchsorted(region, self._cuts))

    def _by_images(self, k: int, potential: Floats, distance: SpatialDistance) -> Picks:
        head, weight = None, self._spatial_weight(k)
        if not distance.bounded_by_cross and not self.acquisition.is_sum:
            head = first_image(self.regions, potential, distance, self.labelled, weight, k)
            if len(head[0]) == k:
                return head
        picked = np.zeros(0, np.int64) if head is None else head[0]
        parts = zip(self._by_shard(potential), self._of_shards(self.labelled), strict=True)
        found = self._ask("by_images", [(*part, picked, weight, k - len(picked)) for part in parts])
        rest = _merged(found, k - len(picked))
        if head is None:
            return rest
        ids, phi, term = (np.concatenate(pair) for pair in zip(head, rest, strict=True))
        return ids, phi, term

    def _summands(self, k: int) -> int:
        return self.acquisition.summands(len(self.labelled), k)

    def _spatial_weight(self, k: int) -> float:
        """lambda_s; of Max-Sum, whose sums are not scaled while they grow, by what they are divided by."""
        q = self.acquisition
        if self.distance is None or not q.is_sum:
            return q.spatial
        return q.spatial / (self.distance.scale * self._summands(k))

    def _result(
        self, ids: NDArray[np.int64], phi: Floats, u: Floats | None, feature: Floats, spatial: Floats
    ) -> Selection:
        if self.acquisition.is_sum and self.distance is not None:
            # the sums were relative to the distance across images, and not scaled
            across = self.distance.raw_cross * (len(self.labelled) + np.arange(len(ids)))
            phi = phi + self._spatial_weight(len(ids)) * across
            spatial = (spatial + across) / (self.distance.scale * self._summands(len(ids)))
        return Selection(ids, phi, np.zeros(len(ids)) if u is None else u[ids], feature, spatial)

    def _with_features(self, k: int, u: Floats | None, potential: Floats, features: Any) -> Selection:
        q, members, picks = self.acquisition, self.labelled, list[Pick]()
        if not len(members):
            picks = [self._first(potential)]
            members = np.array([picks[0].region])
        self.exchanges += 1
        largest, rows = zip(*self.shards.load(features, self._of_shards(members)), strict=True)
        most, given = max(largest), np.concatenate(rows)
        parts = self._by_shard(potential)
        met = self._ask("meet", [(most, members, given, part, k - len(picks)) for part in parts])
        s2, longest = (max(values) for values in zip(*met, strict=True))
        if len(picks) < k:
            heads, greedy = (self._max_sum if q.is_sum else self._max_min)(k, most, s2, longest)
            rest, self.epochs = run_epochs(self._ask, heads, greedy, k - len(picks))
            picks += rest
            self.evaluated += greedy.evaluated
        self.evaluated += sum(self._ask("end", [()] * len(parts)))
        ids = np.array([pick.region for pick in picks], np.int64)
        phi, feature, spatial = (np.array([pick[i] for pick in picks]) for i in (1, 2, 3))
        if q.is_sum:
            feature = feature / self._summands(k)
        else:
            feature = np.where(feature < 0, 1.0, np.sqrt(np.abs(feature)) / math.sqrt(s2) if s2 > 0 else 0.0)
        return self._result(ids, phi, u, feature, spatial)

    def _first(self, potential: Floats) -> Pick:
        """The pick where nothing is labelled; under Max-Min its squared distance is -1, that of an empty set."""
        q, best = self.acquisition, int(np.argmax(potential))
        phi = float(potential[best])
        potential[best] = -np.inf
        if q.is_sum:
            return Pick(best, phi, 0.0, 0.0)
        spatial = 0.0 if self.distance is None else self.distance.empty
        return Pick(best, phi + (q.feature + q.spatial * spatial), -1.0, spatial)

    def _distances(self) -> ImageDistances | None:
        if self.distance is None:
            return None
        return ImageDistances(np, self.regions, self.distance, self.acquisition.is_sum)

    def _max_min(self, k: int, largest: float, s2: float, longest: float) -> tuple[list[Highest], Greedy]:
        q, s = self.acquisition, math.sqrt(s2)
        scale = q.feature / s if s > 0 else 0.0
        heads = self._ask("start_max_min", [(scale,)] * len(self.shards.images))
        return heads, MaxMinGreedy(largest, scale, self.regions, self._distances(), q.spatial)

    def _max_sum(self, k: int, largest: float, s2: float, longest: float) -> tuple[list[Highest], Greedy]:
        weights = self.acquisition.feature / self._summands(k), self._spatial_weight(k)
        steps = SumSteps.of(self.regions.n_regions, longest, s2, *weights)
        heads = self._ask("start_max_sum", [(steps, part) for part in self._of_shards(self.labelled)])
        radius = max(head.radius for head in heads)
        return heads, MaxSumGreedy(largest, steps, radius, self.regions, self._distances())


def _highest(values: Floats, k: int) -> NDArray[np.int64]:
    """Indices of the k highest, highest first, the first of equal ones first."""
    least = np.partition(values, len(values) - k)[len(values) - k]
    some = np.flatnonzero(values >= least)
    return some[np.argsort(-values[some], kind="stable")][:k]


def _merged(parts: list[Picks], k: int) -> Picks:
    """The k picks of a pool whose shards never meet: the best of their next ones, again and again."""
    if len(parts) == 1:
        return parts[0]

    def order(part: int) -> Iterator[tuple[float, int, int, int]]:
        region, phi, _ = parts[part]
        # in a shard's own order, in which phi may rise: `heapq.merge` looks at the next ones only
        for i, (value, one) in enumerate(zip(phi.tolist(), region.tolist(), strict=True)):
            yield -value, one, part, i

    streams = heapq.merge(*(order(part) for part in range(len(parts))))
    found = [(part, i) for (_, _, part, i), _ in zip(streams, range(k), strict=False)]
    ids, phi, term = (np.array([parts[part][column][i] for part, i in found]) for column in range(3))
    return ids, phi, term
