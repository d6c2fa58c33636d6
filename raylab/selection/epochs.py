"""What the shards of a pool and their coordinator tell each other, an epoch after another.

phi never rises as the set grows (Max-Min), or by no more than is known (Max-Sum), so what a region's phi was bounds
what it is. In an epoch each shard names its highest bounds, the coordinator answers with the limit that those left
outside set, the shards bring what comes before it up to date and send what still does, and the coordinator picks among
these until its best falls behind the limit. Who holds which region changes no pick: a pool in one piece is one shard.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from raylab.selection.arrays import Array

EPOCH = 4096
"""How many regions an epoch takes from all shards together."""
_EVERY = 1 << 62  # above any region_id


class Pick(NamedTuple):
    """A pick; `feature` is the squared distance on the grid of the pair of the minimum, or the sum of the distances."""

    region: int
    phi: float
    feature: float
    spatial: float


class Limit(NamedTuple):
    """Picks are certain as long as they come before this pair in the order of (-phi, region_id)."""

    phi: float = -math.inf
    region: int = 0

    def allows(self, phi: float, region: int) -> bool:
        """Whether a region of that phi comes before."""
        return phi > self.phi or (phi == self.phi and region < self.region)

    def allowed(self, phi: Array, region: Array) -> Array:
        """(m,) bool: which of some regions do."""
        return (phi > self.phi) | ((phi == self.phi) & (region < self.region))


def highest(
    xp: ModuleType, bound: Array, region: Callable[[Array], Array], size: int, limit: Limit
) -> tuple[Array, Limit]:
    """The rows of the `size` highest bounds within a limit, and the limit that the others set.

    Args:
        xp: array namespace.
        bound: (m,) float64; rows of -inf are never among them.
        region: gives the region_id of some rows; they rise with the rows.
        size: of the result, at least 1.
        limit: that of regions which are not among these.
    """
    m = len(bound)
    least = float(xp.partition(bound, m - size)[m - size]) if m > size else -math.inf
    if least > limit.phi:
        limit = Limit(least, _EVERY)
    above, ties = xp.flatnonzero(bound > limit.phi), xp.flatnonzero(bound == limit.phi)
    ties = ties[region(ties) < limit.region]
    room = max(size - len(above), 1)  # many may be tied, with duplicate features for one
    if limit.phi == -math.inf:
        ties = ties[:0]
    elif len(ties) > room:
        limit = Limit(limit.phi, int(region(ties[room])))
        ties = ties[:room]
    return xp.sort(xp.concatenate([above, ties])), limit


class Highest(NamedTuple):
    """A shard's highest bounds.

    Attributes:
        bound: (m,) float64.
        region: (m,) int64, rising.
        limit: set by its other regions.
        radius: Max-Sum, how far a region of the shard lies from the mean of the set that the round began with.
    """

    bound: NDArray[np.float64]
    region: NDArray[np.int64]
    limit: Limit
    radius: float = 0.0


class Survivors(NamedTuple):
    """Regions that have met the whole set and still come before the limit.

    Attributes:
        region: (m,) int64, rising.
        features: (m, d) float32, as scored.
        potential: (m,) float64, the modular part of phi.
        terms: (c, m) float64, what the set function knows of each.
    """

    region: NDArray[np.int64]
    features: NDArray[np.float32]
    potential: NDArray[np.float64]
    terms: NDArray[np.float64]


class Settled(NamedTuple):
    """How an epoch ended.

    Attributes:
        region: (p,) int64 the picks, in order.
        features: (p, d) float32, theirs.
        met: (m,) float64, of the shard's survivors: the first of their terms, after they met some of the picks.
        seen: (m,) int64 how many of them.
    """

    region: NDArray[np.int64]
    features: NDArray[np.float32]
    met: NDArray[np.float64]
    seen: NDArray[np.int64]


class Greedy(Protocol):
    """The coordinator's half of a set function.

    Attributes:
        evaluated: feature distances that it computed.
    """

    evaluated: int

    def among(self, survivors: Survivors, limit: Limit, k: int) -> tuple[list[Pick], Array, Array]:
        """Up to k picks, as long as they are certain; and `met` and `seen` of all survivors (see `Settled`)."""
        ...


Ask = Callable[[str, Sequence[tuple[Any, ...] | None]], list[Any]]
"""Asks every shard the same, each with its own arguments; None where one is not asked, and where it did not answer."""


def run_epochs(ask: Ask, heads: list[Highest], greedy: Greedy, k: int) -> tuple[list[Pick], int]:
    """The next k picks, which there must be, and the number of epochs.

    Args:
        ask: the shards.
        heads: what each of them answered when the round began.
        greedy: of the set function.
        k: number of picks.
    """
    picks, epochs = list[Pick](), 0
    while True:
        epochs += 1
        limit, before = _merged(heads)
        found = ask("survivors", [(limit,) if some else None for some in before])
        parts = [part for part in found if part is not None]
        ends = np.cumsum([0 if part is None else len(part.region) for part in found])
        survivors = parts[0] if len(parts) == 1 else _joined(parts)
        new, met, seen = greedy.among(survivors, limit, k - len(picks))
        picks += new
        if len(picks) == k:
            return picks, epochs
        region = np.array([pick.region for pick in new], np.int64)
        features = survivors.features[np.searchsorted(survivors.region, region)]
        shares = zip(np.split(met, ends[:-1]), np.split(seen, ends[:-1]), strict=True)
        heads = ask("settle", [(Settled(region, features, *share),) for share in shares])


def _merged(heads: list[Highest]) -> tuple[Limit, list[bool]]:
    """The limit of the highest of all shards, and whether each shard has some before it."""
    limit = max((head.limit for head in heads), key=lambda one: (one.phi, -one.region))
    bound, region = (np.concatenate([head[i] for head in heads]) for i in (0, 1))
    rows, limit = highest(np, bound, region.__getitem__, EPOCH, limit)
    ends = np.cumsum([len(head.region) for head in heads])
    return limit, [bool(some) for some in np.bincount(np.searchsorted(ends, rows, side="right"), minlength=len(heads))]


def _joined(parts: list[Survivors]) -> Survivors:
    region, features, potential = (np.concatenate([part[i] for part in parts]) for i in (0, 1, 2))
    return Survivors(region, features, potential, np.concatenate([part.terms for part in parts], axis=1))
