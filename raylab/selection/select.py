"""Selection of a round's regions: checks what it is given and chooses the optimiser by what the objective needs."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raylab.acquisition import Acquisition
from raylab.errors import ConfigError
from raylab.files import first_line
from raylab.regions.base import Regions
from raylab.selection.arrays import (
    HOST_BLOCK,
    Array,
    Blocks,
    default_block_bytes,
    either,
    is_out_of_memory,
    release,
    to_host,
)
from raylab.selection.by_image import Picks, SpatialState, lock_step
from raylab.selection.features import Centres, Features
from raylab.selection.max_min import Candidates, Pick, Problem, greedy
from raylab.selection.max_sum import MaxSum
from raylab.selection.non_metric import greedy_min, greedy_sum
from raylab.selection.objective import Selection, class_weights, scale_uncertainty
from raylab.selection.prefix_bounds import prefix_bounds
from raylab.selection.same_image import LocalTerm

_log = logging.getLogger(__name__)

Seed = int | Sequence[int]


def select(
    regions: Regions,
    acquisition: Acquisition,
    k: int,
    *,
    labelled: ArrayLike,
    uncertainty: ArrayLike | None = None,
    features: Any = None,
    predicted_class: ArrayLike | None = None,
    seed: Seed = 0,
    xp: ModuleType = np,
    block_bytes: int | None = None,
) -> Selection:
    """Picks the next k regions of a pool; a pure function of its arguments.

    Args:
        regions: the pool's geometry.
        acquisition: the strategy.
        k: how many to pick; all that are left when it is more than that.
        labelled: (m,) integer ids of the labelled regions, in any order.
        uncertainty: (n_regions,) float; needed when `acquisition.needs_uncertainty`, else ignored.
        features: (n_regions, d) float32; needed when `acquisition.needs_features`, else ignored.
        predicted_class: (n_regions,) integer; needed when `acquisition.class_balanced`, else ignored.
        seed: of the regions drawn at random.
        xp: array namespace, NumPy or CuPy.
        block_bytes: bound on the temporary arrays of one step; None chooses it by the namespace.

    Raises:
        ConfigError: an argument is missing, of the wrong length, not finite or out of range; the message names it.
    """
    selector = GreedySelector(regions, acquisition, xp, block_bytes)
    selector.label(labelled)
    return selector.select(k, uncertainty=uncertainty, features=features, predicted_class=predicted_class, seed=seed)


class GreedySelector:
    """Selects round after round; keeps the labelled set and its spatial distances, on the device, in between.

    On a device that runs out of memory it goes on with smaller blocks, then on NumPy: slower, and with the same picks.

    Args:
        regions: the pool's geometry.
        acquisition: the strategy.
        xp: array namespace, NumPy or CuPy.
        block_bytes: bound on the temporary arrays of one step; None chooses it by the namespace.

    Attributes:
        xp: array namespace in use.
        evaluated: feature distances computed by the last `select`, of the (n - labelled) * (labelled + k) there are.
    """

    def __init__(
        self, regions: Regions, acquisition: Acquisition, xp: ModuleType = np, block_bytes: int | None = None
    ) -> None:
        self.regions, self.acquisition, self.xp = regions, acquisition, xp
        if block_bytes is not None and block_bytes < 1:
            raise ConfigError(f"block_bytes: {block_bytes} is not a positive number of bytes")
        self._blocks = Blocks(block_bytes or default_block_bytes(xp))
        self._is_labelled = np.zeros(regions.n_regions, bool)
        self._state: SpatialState | None = None
        self._in_state = np.zeros(regions.n_regions, bool)
        self.evaluated = 0

    @property
    def labelled(self) -> NDArray[np.int64]:
        """(m,) int64 ids of the labelled regions, rising."""
        return np.flatnonzero(self._is_labelled)

    def label(self, ids: ArrayLike) -> None:
        """Adds regions to the labelled set; those that are in it already change nothing.

        Args:
            ids: (m,) integer ids.

        Raises:
            ConfigError: an id is no region of the pool.
        """
        table = np.asarray(ids).reshape(-1)
        if len(table) and table.dtype.kind not in "iu":
            raise ConfigError(f"labelled: region ids are whole numbers, not {table.dtype}")
        new = np.unique(table.astype(np.int64))
        if len(new) and not (new[0] >= 0 and new[-1] < self.regions.n_regions):
            wrong = new[0] if new[0] < 0 else new[-1]
            raise ConfigError(f"labelled: {wrong} is no region of this pool, which has {self.regions.n_regions}")
        self._is_labelled[new] = True

    def select(
        self,
        k: int,
        *,
        uncertainty: ArrayLike | None = None,
        features: Any = None,
        predicted_class: ArrayLike | None = None,
        seed: Seed = 0,
    ) -> Selection:
        """Picks the next k regions; does not label them.

        Args:
            k: how many to pick; all that are left when it is more than that.
            uncertainty: (n_regions,) float, of this round.
            features: (n_regions, d) float32, of this round; NumPy or of the namespace.
            predicted_class: (n_regions,) integer, of this round.
            seed: of the regions drawn at random.

        Raises:
            ConfigError: an argument is missing, of the wrong length, not finite or out of range.
        """
        q = self.acquisition
        if k < 0:
            raise ConfigError(f"k: {k} is less than 0")
        u = self._check_uncertainty(uncertainty) if q.needs_uncertainty else None
        if u is not None and q.class_balanced:
            u *= self._class_weights(predicted_class)
        if q.needs_features:
            self._check_features(features)
        free = np.flatnonzero(~self._is_labelled)
        k = min(k, len(free))
        random = int(q.random * k + 1e-9)
        picks = self._within_memory(k - random, u, features) if k > random else Selection.empty()
        if random:
            picks += self._draw(np.setdiff1d(free, picks.region_id, assume_unique=True), random, u, seed)
        return picks

    def _check_uncertainty(self, values: ArrayLike | None) -> NDArray[np.float64]:
        if values is None:
            raise ConfigError("uncertainty: this strategy needs the regions' uncertainty, and none is given")
        table = to_host(values)
        if table.shape != (self.regions.n_regions,):
            raise ConfigError(f"uncertainty: shape {table.shape} does not match {self.regions.n_regions} regions")
        scaled = table.astype(np.float64)
        if not np.isfinite(scaled.sum()) and not np.isfinite(scaled).all():
            raise ConfigError(f"uncertainty: region {np.flatnonzero(~np.isfinite(scaled))[0]} is not finite")
        return scale_uncertainty(scaled)

    def _class_weights(self, predicted_class: ArrayLike | None) -> NDArray[np.float64]:
        classes: NDArray[Any] = np.empty(0, np.int64) if predicted_class is None else to_host(predicted_class)
        if classes.shape != (self.regions.n_regions,):
            raise ConfigError(f"predicted_class: shape {classes.shape} does not match {self.regions.n_regions} regions")
        return class_weights(classes)

    def _check_features(self, values: Any) -> None:
        if values is None:
            raise ConfigError("features: this strategy needs the regions' features, and none are given")
        shape = np.shape(values)
        if len(shape) != 2 or shape[0] != self.regions.n_regions or shape[1] < 1:
            raise ConfigError(f"features: shape {shape} does not match {self.regions.n_regions} regions")

    def _draw(self, free: NDArray[np.int64], size: int, u: NDArray[np.float64] | None, seed: Seed) -> Selection:
        """Uniformly at random, on the host: the same on every namespace, and fewer are the first of more."""
        return drawn(np.random.default_rng(seed).permutation(free)[:size], u)

    def _within_memory(self, k: int, u: NDArray[np.float64] | None, features: Any) -> Selection:
        """`_greedy`, again in less memory where the device has too little: a pure function, so with equal picks."""
        while True:
            try:
                return self._greedy(k, u, features)
            except Exception as error:  # CuPy has errors of its own
                if self.xp is np or not is_out_of_memory(error):
                    raise
                reason = first_line(error)
            finally:
                release(self.xp)
            # Not in the block above: the error holds the frames, and they hold the arrays, until it is over.
            self._take_less(reason)

    def _take_less(self, reason: str) -> None:
        """Give up the device's arrays, and choose smaller blocks or, when they are small already, NumPy."""
        self._state = None
        release(self.xp)
        if (smaller := self._blocks.block_bytes // 8) >= HOST_BLOCK:
            self._blocks = Blocks(smaller)
            _log.warning("out of memory on the GPU (%s); selection goes on with blocks of %d bytes", reason, smaller)
            return
        self.xp, self._blocks = np, Blocks(HOST_BLOCK)
        warnings.warn(f"out of memory on the GPU ({reason}); the selection goes on on NumPy, picks equal", stacklevel=2)

    def _follow(self) -> None:
        """Bring the spatial distances up to the labelled set."""
        if not self.acquisition.needs_spatial:
            return
        if self._state is None:
            self._state = SpatialState(self.xp, self.regions, self.acquisition)
            self._in_state[:] = False
        new = np.flatnonzero(self._is_labelled & ~self._in_state)
        self._state.add(new)
        self._in_state[new] = True

    def _greedy(self, k: int, u: NDArray[np.float64] | None, features: Any) -> Selection:
        """The picks by potential; 1 <= k <= regions left."""
        self._follow()
        q, xp = self.acquisition, self.xp
        weight = 0.5 * q.uncertainty if q.is_sum else q.uncertainty
        potential = np.zeros(self.regions.n_regions) if u is None else weight * u
        potential[self._is_labelled] = -np.inf
        self.evaluated = 0
        if q.needs_features:
            features = xp.asarray(to_host(features) if xp is np else features, xp.float32)
            return self._with_features(k, u, xp.asarray(potential), features)
        if self._state is not None:
            ids, phi, spatial = self._by_images(k, xp.asarray(potential), self._state)
        else:
            ids = _highest(potential, k)
            phi, spatial = potential[ids], np.zeros(k)
        return self._result(ids, phi, u, np.zeros(k), spatial)

    def _by_images(self, k: int, potential: Array, state: SpatialState) -> Picks:
        xp, weight = self.xp, self._spatial_weight(k)
        if state.distance.bounded_by_cross:
            return lock_step(xp, potential, state, weight, k, self._blocks)
        if state.is_sum:
            return greedy_sum(xp, self.regions, potential, state, weight, k)
        return greedy_min(xp, self.regions, potential, state, weight, k, self._blocks)

    def _summands(self, k: int) -> int:
        return self.acquisition.summands(int(self._is_labelled.sum()), k)

    def _spatial_weight(self, k: int) -> float:
        """lambda_s; of Max-Sum, whose sums are not scaled while they grow, by what they are divided by."""
        q = self.acquisition
        if self._state is None or not q.is_sum:
            return q.spatial
        return q.spatial / (self._state.distance.scale * self._summands(k))

    def _result(
        self,
        ids: NDArray[np.int64],
        phi: NDArray[np.float64],
        u: NDArray[np.float64] | None,
        feature: NDArray[np.float64],
        spatial: NDArray[np.float64],
    ) -> Selection:
        q = self.acquisition
        if q.is_sum and self._state is not None:  # the sums were relative to the distance across images, and not scaled
            distance, members = self._state.distance, self._state.count + np.arange(len(ids))
            across = distance.raw_cross * members
            phi = phi + self._spatial_weight(len(ids)) * across
            spatial = (spatial + across) / (distance.scale * self._summands(len(ids)))
        return Selection(ids, phi, np.zeros(len(ids)) if u is None else u[ids], feature, spatial)

    def _with_features(self, k: int, u: NDArray[np.float64] | None, potential: Array, values: Array) -> Selection:
        features = Features(self.xp, values, self._blocks)
        run = self._max_sum if self.acquisition.is_sum else self._max_min
        picks, s = run(k, potential, features)
        self.evaluated = features.evaluated
        ids = np.array([p.region for p in picks], np.int64)
        phi, feature, spatial = (np.array([p[i] for p in picks]) for i in (1, 2, 3))
        if self.acquisition.is_sum:
            feature = feature / self._summands(k)
        else:
            feature = np.where(feature < 0, 1.0, np.sqrt(np.abs(feature)) / s if s > 0 else 0.0)
        return self._result(ids, phi, u, feature, spatial)

    def _max_min(self, k: int, potential: Array, features: Features) -> tuple[list[Pick], float]:
        """Max-Min; a pick's `d2` is -1 where the term is that of an empty set."""
        q, xp, state = self.acquisition, self.xp, self._state
        labelled = self.labelled
        centres = Centres(features, max(len(labelled), 1) + k)
        picks = []
        if not len(labelled):
            best = int(xp.argmax(potential))
            spatial = 0.0 if state is None else state.distance.empty
            phi = float(potential[best]) + (q.feature + q.spatial * spatial)
            picks.append(Pick(best, phi, -1.0, spatial))
            labelled = np.array([best])
            potential[best] = -xp.inf
        centres.append(xp.asarray(labelled))
        prefix = prefix_bounds(features, centres)
        candidates = Candidates.whole(Problem(features, centres, prefix, either(xp, potential > -xp.inf, 0.0, -xp.inf)))
        s = math.sqrt(candidates.farthest())
        local, scale = None, q.feature / s if s > 0 else 0.0
        if state is not None:
            local = LocalTerm(self.regions, state, q.spatial, features)
            local.add_all(labelled, scale)
        problem = Problem(features, centres, prefix, potential, local, scale)
        problem.picks = picks
        if local is not None and local.image is not None:
            candidates = Candidates.whole(problem)  # what was met so far includes members of the same image
        else:
            candidates.rebound(problem)
        return greedy(candidates, k), s

    def _max_sum(self, k: int, potential: Array, features: Features) -> tuple[list[Pick], float]:
        """Max-Sum; a pick's `d2` is its sum of scaled distances."""
        q, xp = self.acquisition, self.xp
        spatial = None if self._state is None else self._state.copy()
        labelled, picks = self.labelled, list[Pick]()
        if not len(labelled):
            best = int(xp.argmax(potential))
            picks.append(Pick(best, float(potential[best]), 0.0, 0.0))
            labelled = np.array([best])
            potential[best] = -xp.inf
            if spatial is not None:
                spatial.add(labelled)
        centres = Centres(features, len(labelled) + k)
        centres.append(xp.asarray(labelled))
        free = either(xp, potential > -xp.inf, 0.0, -xp.inf)
        s2 = Candidates.whole(Problem(features, centres, prefix_bounds(features, centres), free)).farthest()
        weight, spatial_weight = q.feature / self._summands(k), self._spatial_weight(k)
        rest = MaxSum(features, centres, potential, weight, s2, spatial, spatial_weight).picks(k - len(picks))
        return picks + rest, math.sqrt(s2)


def drawn(region_id: NDArray[np.int64], u: NDArray[np.float64] | None = None) -> Selection:
    """Regions drawn at random as a selection; (n_regions,) `u` is written down where it is known."""
    zero = np.zeros(len(region_id))
    return Selection(region_id, zero, zero if u is None else u[region_id], zero, zero)


def interleave(picks: Selection, share: float) -> Selection:
    """The picks with those drawn at random spread evenly among the others, as a budget that ends early needs them.

    Args:
        picks: of `select`: first those by potential, then those drawn.
        share: of random picks in the acquisition.
    """
    random = int(share * len(picks) + 1e-9)
    chosen = len(picks) - random
    if not (random and chosen):
        return picks
    share_done = np.concatenate([np.arange(chosen) / chosen, (np.arange(random) + 0.5) / random])
    return picks.take(np.argsort(share_done, kind="stable"))


def first_draw(regions: Regions, k: int, seed: int) -> NDArray[np.int64]:
    """Round 0: `k` different regions of the pool, uniform, in the order drawn; the same for every strategy."""
    return np.random.default_rng([seed, 0]).choice(regions.n_regions, k, replace=False).astype(np.int64)


def _highest(values: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Indices of the k highest, highest first, the first of equal ones first."""
    least = np.partition(values, len(values) - k)[len(values) - k]
    some = np.flatnonzero(values >= least)
    return some[np.argsort(-values[some], kind="stable")][:k]
