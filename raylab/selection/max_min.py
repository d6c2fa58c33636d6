"""Greedy Max-Min selection with features: nested epochs of lazy evaluation, exact to the pick.

phi never rises as the set grows, so what a region's phi was over part of the set is a bound on what it is now. An
epoch takes the regions with the highest bounds, brings them up to date by matrix products, and picks among those
that stay above the best bound left outside, until their best falls under it. Epochs are nested: the plain greedy on
a few hundred regions, inside the few thousand that the shards of the pool send (`epochs`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from raylab.regions.base import Regions
from raylab.selection import epochs
from raylab.selection.arrays import HOST_BLOCK, Array, Blocks, to_host
from raylab.selection.epochs import Highest, Limit, Pick, Settled, Survivors, highest
from raylab.selection.features import FAR, Centres, Features
from raylab.selection.image_blocks import ImageDistances
from raylab.selection.prefix_bounds import PrefixBounds
from raylab.selection.same_image import LocalTerm

INNER = 256
"""How many regions the plain greedy takes."""
FIRST, CHUNK = 64, 256
"""Members of the set per matrix product: the first ones, which every region of the pool meets, and the others."""


class Problem:
    """One round's objective over some regions.

    phi(x) = potential(x) + min(scale * sqrt(min_y d2(x, y)) + cross, local(x)), where d2 is the squared feature
    distance on the grid and `local` the least weighted distance to members of the set in the same image.

    Attributes:
        features: of the regions.
        region: gives the region_id of some of them, which are named by their row.
        centres: the members of the set that they meet.
        potential: (n,) float64, -inf where a region cannot be picked.
        prefix: bounds that rule out pairs, where they are worth their while.
        scale: lambda_f / s, s in steps of the grid.
        image: (n,) int64 image of every region where the other half must leave the members of the same image out.
    """

    def __init__(
        self,
        features: Features,
        region: Callable[[Array], Array],
        centres: Centres,
        potential: Array,
        prefix: PrefixBounds | None = None,
        local: LocalTerm | None = None,
        scale: float = 1.0,
        image: Array | None = None,
    ) -> None:
        self.xp, self.features, self.region, self.centres = features.xp, features, region, centres
        self.prefix, self.potential, self.local, self.scale, self.image = prefix, potential, local, scale, image

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

    def pick(self, row: int, phi: float, d2: float) -> Pick:
        """Moves a region into the set."""
        spatial = 0.0
        if self.local is not None:
            d2, spatial = self.local.pair(row, d2, self.scale)
        self.potential[row] = -self.xp.inf
        one = slice(row, row + 1)
        self.centres.append(self.features.given(one), -1 if self.image is None else self.image[one])
        if self.local is not None:
            self.local.add(row, self.scale)
        return Pick(int(self.region(row)), phi, d2, spatial)


class Candidates:
    """Regions with a bound on phi each.

    Attributes:
        index: (m,) their rows in the problem, rising.
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
        """All regions of a problem, none of which has met anyone."""
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
            d2[p.image[self.index[rows]][:, None] == p.centres.image[low:high][None, :]] = FAR
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

    def highest(self, size: int, limit: Limit) -> tuple[Array, Limit]:
        """The indices of the `size` highest bounds within the limit, and the limit that the others set."""
        return highest(self.problem.xp, self.bound, lambda rows: self.problem.region(self.index[rows]), size, limit)

    def epoch(self, limit: Limit, k: int) -> list[Pick]:
        """Up to k picks in order, as long as they are certain, among the highest of these.

        Args:
            limit: all regions outside these come at or behind it.
            k: number of picks.
        """
        rows, limit = self.highest(INNER, limit)
        rows = self.refresh(rows, limit.phi)
        if not len(rows):
            return []
        inner = Candidates(self.problem, self.index[rows], self.d2[rows], self.seen[rows], copy_rows=True)
        picks = inner.greedy(limit, k)
        self.d2[rows], self.seen[rows], self.bound[rows] = inner.d2, inner.seen, inner.bound
        return picks

    def greedy(self, limit: Limit, k: int) -> list[Pick]:
        """Algorithm 1 on these candidates, all of which are up to date."""
        p, xp, picks = self.problem, self.problem.xp, list[Pick]()
        everywhere, potential = xp.arange(len(self.index)), p.potential[self.index]
        while len(picks) < k:
            best = int(xp.argmax(self.bound))
            phi, row = float(self.bound[best]), int(self.index[best])
            if phi == -np.inf or not limit.allows(phi, int(p.region(row))):
                break
            picks.append(p.pick(row, phi, float(self.d2[best])))
            potential[best] = -xp.inf
            xp.minimum(self.d2, self._nearest(everywhere, p.centres.count - 1, p.centres.count), out=self.d2)
            p.features.evaluated += len(everywhere)
            self.bound = p.phi(self.index, potential, self.d2)
        self.seen[:] = p.centres.count
        return picks

    def farthest(self) -> float:
        """Under phi = sqrt(d2): the largest squared distance of a region that can be picked, 0 if there is none."""
        self.refresh(self.problem.xp.arange(len(self.index)), np.inf)
        while True:
            rows, limit = self.highest(INNER, Limit())
            rows = self.refresh(rows, limit.phi)
            if not len(rows) and limit.phi == -np.inf:
                return 0.0
            if len(rows):
                best = int(rows[self.problem.xp.argmax(self.bound[rows])])
                if limit.allows(float(self.bound[best]), int(self.problem.region(self.index[best]))):
                    return float(self.d2[best])


class MaxMinShard:
    """A shard's half: the bounds of all its regions.

    Args:
        candidates: all of them, with what they have met of the labelled set.
    """

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._out: Array = None

    def highest(self) -> Highest:
        """The highest bounds."""
        c = self._candidates
        self._out, limit = c.highest(epochs.EPOCH, Limit())
        return Highest(to_host(c.bound[self._out]), to_host(c.problem.region(self._out)), limit)

    def survivors(self, limit: Limit) -> Survivors:
        """Those of the `highest` that come before the limit and, brought up to date, still do."""
        c, p = self._candidates, self._candidates.problem
        rows = self._out[limit.allowed(c.bound[self._out], p.region(self._out))]
        rows = self._out = c.refresh(rows, limit.phi)
        terms = to_host(c.d2[rows])[None]
        if p.local is not None:
            terms = np.stack([terms[0], *(to_host(values[rows]) for values in p.local.terms())])
        region, potential = to_host(p.region(rows)), to_host(p.potential[rows])
        return Survivors(region, to_host(p.features.given(rows)), potential, terms)

    def settle(self, settled: Settled, mine: Array, image: Array) -> None:
        """Takes the picks of an epoch into the set.

        Args:
            settled: of the coordinator.
            mine: rows of the picks that lie in this shard.
            image: (p,) image of every pick, -1 in another shard.
        """
        c, p, xp = self._candidates, self._candidates.problem, self._candidates.problem.xp
        begun = p.centres.count
        p.centres.append(xp.asarray(settled.features), image)
        p.potential[mine] = -xp.inf
        if p.local is not None:
            p.local.add_all(to_host(mine), p.scale)
        rows = self._out[: len(settled.met)]
        c.d2[rows], c.seen[rows] = xp.asarray(settled.met), begun + xp.asarray(settled.seen)
        c.bound[rows] = p.phi(rows, p.potential[rows], c.d2[rows])


class MaxMinGreedy:
    """The coordinator's half: Algorithm 1 on what the shards send.

    Args:
        largest: of the pool's features.
        scale: lambda_f / s, s in steps of the grid.
        regions: of the pool.
        distances: within its images; None without a spatial term.
        weight: lambda_s.
    """

    def __init__(
        self, largest: float, scale: float, regions: Regions, distances: ImageDistances | None, weight: float
    ) -> None:
        self._largest, self._scale, self._regions = largest, scale, regions
        self._distances, self._weight = distances, weight
        self._blocks = Blocks(HOST_BLOCK)
        self.evaluated = 0

    def among(self, survivors: Survivors, limit: Limit, k: int) -> tuple[list[Pick], Array, Array]:
        """See `epochs.Greedy.among`; `met` is d2."""
        features = Features(np, survivors.features, self._blocks, self._largest)
        centres = Centres(features, min(k, len(features)))
        d2, seen = survivors.terms[0].copy(), np.zeros(len(features), np.int64)
        local = image = None
        if self._distances is not None:
            local = LocalTerm(features, self._distances, self._weight, self._regions, survivors.region)
            local.restore(survivors.terms[1:])
            if local.apart:
                image = self._regions.image_of(survivors.region)
        region, potential = survivors.region.__getitem__, survivors.potential.copy()
        problem = Problem(features, region, centres, potential, None, local, self._scale, image)
        candidates = Candidates(problem, np.arange(len(features)), d2, seen, copy_rows=True)
        picks = list[Pick]()
        while len(picks) < k and len(features):
            best = int(np.argmax(candidates.bound))
            phi = float(candidates.bound[best])
            if phi == -np.inf or not limit.allows(phi, int(survivors.region[best])):
                break
            picks += candidates.epoch(limit, k - len(picks))
        self.evaluated += features.evaluated
        return picks, candidates.d2, candidates.seen
