"""Selection of a round's regions: checks what it is given and chooses the optimiser by what the objective needs."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raylab.acquisition import Acquisition
from raylab.errors import ConfigError, ResourceError
from raylab.regions.base import Regions
from raylab.selection.arrays import BeginAgainError, to_host
from raylab.selection.coordinator import Coordinator
from raylab.selection.objective import Selection, class_weights, scale_uncertainty
from raylab.selection.shards import LocalShards, Shards

Seed = int | Sequence[int]
_TRIES = 8  # a device takes less with each, and after five none of it


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
    selector = GreedySelector(regions, acquisition, LocalShards(regions, acquisition, 1, xp, block_bytes))
    selector.label(labelled)
    return selector.select(k, uncertainty=uncertainty, features=features, predicted_class=predicted_class, seed=seed)


class GreedySelector:
    """Selects round after round, and knows the labelled set in between.

    Uncertainties and potentials, a number a region, are its own; features are its shards'.

    Args:
        regions: the pool's geometry.
        acquisition: the strategy.
        shards: of the pool, with the same acquisition; None makes one, in this process and on NumPy.

    Attributes:
        evaluated: feature distances computed by the last `select`, of the (n - labelled) * (labelled + k) there are.
        exchanges: how often the last `select` asked its shards and waited for them.
        epochs: how many of those asked for survivors.
    """

    def __init__(self, regions: Regions, acquisition: Acquisition, shards: Shards | None = None) -> None:
        self.regions, self.acquisition = regions, acquisition
        self.shards: Shards = shards or LocalShards(regions, acquisition)
        self._is_labelled = np.zeros(regions.n_regions, bool)
        self.evaluated = self.exchanges = self.epochs = 0

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
            features: of this round, as the shards take them: (n_regions, d) float32, NumPy or of their namespace,
                where they are in this process.
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
        if q.needs_features and features is None:
            raise ConfigError("features: this strategy needs the regions' features, and none are given")
        free = np.flatnonzero(~self._is_labelled)
        k = min(k, len(free))
        random = int(q.random * k + 1e-9)
        picks = self._greedy(k - random, u, features) if k > random else Selection.empty()
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

    def _draw(self, free: NDArray[np.int64], size: int, u: NDArray[np.float64] | None, seed: Seed) -> Selection:
        """Uniformly at random, on the host: the same on every namespace, and fewer are the first of more."""
        return drawn(np.random.default_rng(seed).permutation(free)[:size], u)

    def _greedy(self, k: int, u: NDArray[np.float64] | None, features: Any) -> Selection:
        """The picks by potential; 1 <= k <= regions left. Begun again where a shard asks for it."""
        reason: Exception | None = None
        for _ in range(_TRIES * len(self.shards.images)):
            coordinator = Coordinator(self.regions, self.acquisition, self.shards, self.labelled)
            try:
                picks = coordinator.select(k, u, features)
            except BeginAgainError as error:
                reason = error
                continue
            self.evaluated, self.exchanges = coordinator.evaluated, coordinator.exchanges
            self.epochs = coordinator.epochs
            return picks
        raise ResourceError(f"the selection was begun {_TRIES} times a shard, in vain ({reason}); give it more memory")


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
