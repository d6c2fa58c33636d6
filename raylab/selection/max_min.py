"""Greedy Max-Min selection with features: nested epochs of lazy evaluation, exact to the pick.

phi never rises as the set grows, so what a region's phi was over part of the set is a bound on what it is now. An
epoch takes the regions with the highest bounds, brings them up to date by matrix products, and picks among those
that stay above the best bound left outside, until their best falls under it. Epochs are nested: the plain greedy on
a few hundred regions, inside a few thousand, inside the pool.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raylab.selection.arrays import Array
from raylab.selection.features import FAR, Centres, Features
from raylab.selection.prefix_bounds import PrefixBounds
from raylab.selection.same_image import LocalTerm

EPOCH_SIZES = (4096, 256)
"""How many regions an epoch takes, from the outermost to the plain greedy."""
FIRST, CHUNK = 64, 256
"""Members of the set per matrix product: the first ones, which every region of the pool meets, and the others."""


class Pick(NamedTuple):
    """A pick; `d2` (squared feature distance on the grid) and `spatial` are those of the pair of the minimum."""

    region: int
    phi: float
    d2: float
    spatial: float


class Limit(NamedTuple):
    """Picks are certain as long as they come before this pair in the order of (-phi, region_id)."""

    phi: float
    region: int

    def allows(self, phi: float, region: int) -> bool:
        """Whether a region of that phi comes before."""
        return phi > self.phi or (phi == self.phi and region < self.region)


class Problem:
    """One round's objective over the whole pool, and the picks made so far.

    phi(x) = potential(x) + min(scale * sqrt(min_y d2(x, y)) + cross, local(x)), where d2 is the squared feature
    distance on the grid and `local` the least weighted distance to members of the set in the same image.

    Attributes:
        prefix: bounds that rule out pairs, where they are worth their while.
        potential: (n,) float64, -inf where a region cannot be picked.
        scale: lambda_f / s, s in steps of the grid.
        picks: in order.
    """

    def __init__(
        self,
        features: Features,
        centres: Centres,
        prefix: PrefixBounds | None,
        potential: Array,
        local: LocalTerm | None = None,
        scale: float = 1.0,
    ) -> None:
        self.xp, self.features, self.centres, self.prefix = features.xp, features, centres, prefix
        self.potential, self.local, self.scale = potential, local, scale
        self.image = None if local is None else local.image
        self.picks: list[Pick] = []

    def phi(self, index: Array, potential: Array, d2: Array) -> Array:
        """phi of some regions, given their squared feature distances; all float64, one rounding an operation."""
        value = self.xp.sqrt(d2)
        if self.scale > 0:
            value *= self.scale
        else:
            value[value < FAR**0.5] = 0
        if self.local is not None:
            value += self.local.cross
            self.xp.minimum(value, self.local.value[index], out=value)
        value += potential
        return value

    def pick(self, region: int, phi: float, d2: float) -> None:
        """Moves a region into the set."""
        spatial = 0.0
        if self.local is not None:
            d2, spatial = self.local.pair(region, d2, self.scale)
        self.picks.append(Pick(region, phi, d2, spatial))
        self.potential[region] = -self.xp.inf
        self.centres.append(self.xp.asarray([region]))
        if self.local is not None:
            self.local.add(region, self.scale)


class Candidates:
    """Regions with a bound on phi each.

    Attributes:
        index: (m,) region ids, rising.
        d2: (m,) float64 least squared feature distance to the first `seen` members of the set.
        seen: (m,) int64.
        bound: (m,) float64, phi over those members.
    """

    def __init__(self, problem: Problem, index: Array, d2: Array, seen: Array, copy_rows: bool) -> None:
        self.problem, self.index, self.d2, self.seen = problem, index, d2, seen
        self._rows = problem.features.rows(index) if copy_rows else None
        self._norms = problem.features.norms[index]
        self.rebound(problem)

    @classmethod
    def whole(cls, problem: Problem) -> Candidates:
        """All regions of the pool, none of which has met anyone."""
        xp, n = problem.xp, len(problem.features)
        return cls(problem, xp.arange(n), xp.full(n, FAR), xp.zeros(n, xp.int64), copy_rows=False)

    def rebound(self, problem: Problem) -> None:
        """Takes up another objective over the same set: computes all bounds anew."""
        self.problem = problem
        self.bound = problem.phi(self.index, problem.potential[self.index], self.d2)

    def _nearest(self, rows: Array, low: int, high: int) -> Array:
        """(r,) least squared distance to members low..high of the set."""
        p = self.problem
        factors = p.features.rows(self.index[rows]) if self._rows is None else self._rows[rows]
        d2 = factors @ p.centres.factors[low:high].T
        if p.image is not None:
            d2[p.image[self.index[rows]][:, None] == p.image[p.centres.index[low:high]][None, :]] = FAR
        nearest = d2.min(axis=1)
        nearest += self._norms[rows]
        return nearest

    def refresh(self, rows: Array, least: float) -> Array:
        """Brings regions up to date with the whole set, except those whose bound falls below `least` on the way.

        Args:
            rows: (r,) indices into these candidates, rising.
            least: float64.

        Returns:
            The indices that are up to date and not below.
        """
        p, xp = self.problem, self.problem.xp
        prefix = p.prefix if p.image is None else None
        if prefix is not None:
            prefix.follow(p.centres)
        low = int(self.seen[rows].min()) if len(rows) else p.centres.count
        while low < p.centres.count and len(rows):
            high = min(low + (CHUNK if low else FIRST), p.centres.count)
            late = rows[self.seen[rows] < high]

            def meet(start: int, stop: int, late: Array = late, low: int = low, high: int = high) -> None:
                part = late[start:stop]
                d2 = self.d2[part]
                if prefix is not None and low > 0:
                    prefix.lower(self.index[part], d2, p.centres, low, high)
                else:
                    xp.minimum(d2, self._nearest(part, low, high), out=d2)
                self.d2[part] = d2

            p.features.blocks.run(len(late), 8 * (p.centres.factors.shape[1] + high - low), meet)
            p.features.evaluated += len(late) * (high - low)
            self.seen[late] = high
            index = self.index[late]
            self.bound[late] = p.phi(index, p.potential[index], self.d2[late])
            rows = rows[self.bound[rows] >= least]
            low = high
        return rows

    def _highest(self, size: int, limit: Limit) -> tuple[Array, Limit]:
        """The indices of the `size` highest bounds within the limit, and the limit that the others set."""
        xp, m = self.problem.xp, len(self.index)
        least = float(xp.partition(self.bound, m - size)[m - size]) if m > size else -np.inf
        if least > limit.phi:
            limit = Limit(least, len(self.problem.features))
        above, ties = xp.flatnonzero(self.bound > limit.phi), xp.flatnonzero(self.bound == limit.phi)
        ties = ties[self.index[ties] < limit.region]
        room = max(size - len(above), 1)  # many may be tied, with duplicate features for one
        if limit.phi == -np.inf:
            ties = ties[:0]
        elif len(ties) > room:
            limit = Limit(limit.phi, int(self.index[ties[room]]))
            ties = ties[:room]
        return xp.sort(xp.concatenate([above, ties])), limit

    def epoch(self, sizes: tuple[int, ...], limit: Limit, k: int) -> None:
        """Picks regions in order, as long as the picks are certain, among the highest of these.

        Args:
            sizes: of the candidates inside these.
            limit: all regions outside these come at or behind it.
            k: number of picks in all.
        """
        p = self.problem
        rows, limit = self._highest(sizes[0], limit)
        rows = self.refresh(rows, limit.phi)
        if not len(rows):
            return
        inner = Candidates(p, self.index[rows], self.d2[rows], self.seen[rows], copy_rows=True)
        if len(sizes) == 1:
            inner._greedy(limit, k)
        else:
            while len(p.picks) < k:
                best = int(p.xp.argmax(inner.bound))
                phi = float(inner.bound[best])
                if phi == -np.inf or not limit.allows(phi, int(inner.index[best])):
                    break
                inner.epoch(sizes[1:], limit, k)
        self.d2[rows], self.seen[rows], self.bound[rows] = inner.d2, inner.seen, inner.bound

    def _greedy(self, limit: Limit, k: int) -> None:
        """Algorithm 1 on these candidates, all of which are up to date."""
        p, xp = self.problem, self.problem.xp
        everywhere, potential = xp.arange(len(self.index)), p.potential[self.index]
        while len(p.picks) < k:
            best = int(xp.argmax(self.bound))
            phi, region = float(self.bound[best]), int(self.index[best])
            if phi == -np.inf or not limit.allows(phi, region):
                break
            p.pick(region, phi, float(self.d2[best]))
            potential[best] = -xp.inf
            xp.minimum(self.d2, self._nearest(everywhere, p.centres.count - 1, p.centres.count), out=self.d2)
            p.features.evaluated += len(everywhere)
            self.bound = p.phi(self.index, potential, self.d2)
        self.seen[:] = p.centres.count

    def farthest(self) -> float:
        """Under phi = sqrt(d2): the largest squared distance of a region that can be picked, 0 if there is none."""
        self.refresh(self.problem.xp.arange(len(self.index)), np.inf)
        while True:
            rows, limit = self._highest(EPOCH_SIZES[-1], Limit(-np.inf, 0))
            rows = self.refresh(rows, limit.phi)
            if not len(rows) and limit.phi == -np.inf:
                return 0.0
            if len(rows):
                best = int(rows[self.problem.xp.argmax(self.bound[rows])])
                if limit.allows(float(self.bound[best]), int(self.index[best])):
                    return float(self.d2[best])


def greedy(candidates: Candidates, k: int) -> list[Pick]:
    """Algorithm 1 over the whole pool.

    Args:
        candidates: all regions; their problem holds the picks, of which some may have been made.
        k: number of picks in all.
    """
    problem = candidates.problem
    while len(problem.picks) < k and float(candidates.bound.max()) > -np.inf:
        candidates.epoch(EPOCH_SIZES, Limit(-np.inf, 0), k)
    return problem.picks
