"""Greedy Max-Sum selection (the 2-approximation of Borodin et al.) with features: lazy, exact to the pick.

The feature distances are rounded to a power-of-two grid before they are added, so that the running sums are exact
and know no order. Sums rise with every pick, so an old sum is no bound by itself; but over the m members that a
region has not met, sum d <= sqrt(m sum d^2) (Cauchy-Schwarz), and sum d^2 takes one inner product with the sum of
the members. An epoch bounds every region so, brings the highest up to date, and picks among those that stay above the
others; how fast the others may rise meanwhile is bounded by the triangle inequality through the mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from raylab.regions.base import Regions
from raylab.selection import epochs
from raylab.selection.arrays import HOST_BLOCK, Array, Blocks, to_host
from raylab.selection.by_image import SpatialState
from raylab.selection.epochs import Highest, Limit, Pick, Settled, Survivors, highest
from raylab.selection.features import Centres, Features
from raylab.selection.image_blocks import ImageDistances

CHUNK = 256
"""Members of the set per matrix product."""
_SLACK = 1 + 1e-9  # for the rounding of bounds; nothing exact depends on it


class SumSteps(NamedTuple):
    """How distances are scaled and rounded before they are added, the same in all shards, and what their sum weighs.

    Attributes:
        scale: 1 / s, s in steps of the features' grid.
        step: power of two that scaled distances are multiples of.
        weight: lambda_f, over what the sum is divided by.
        spatial: lambda_s, over the same.
    """

    scale: float
    step: float
    weight: float
    spatial: float

    @classmethod
    def of(cls, regions: int, longest: float, s2: float, weight: float, spatial: float) -> SumSteps:
        """The steps of a pool.

        Args:
            regions: in the pool.
            longest: largest squared length of its features on the grid.
            s2: squared scale s, on the grid.
            weight: see above.
            spatial: see above.
        """
        scale = 1 / math.sqrt(s2) if s2 > 0 else 0.0
        # |x| + |y| bounds any distance, so that n of at most this many steps stay below 2^53
        most = max(2 * math.sqrt(longest) * scale, 1.0)
        return cls(scale, 2.0 ** -math.floor(52 - math.log2(regions) - math.log2(most)), weight, spatial)

    def between(self, features: Features, rows: Array, norms: Array, factors: Array) -> Array:
        """(r, m) scaled and rounded distances of regions to members of the set.

        Args:
            features: they are of.
            rows: (r, d + 1) of `Features.rows`.
            norms: (r,) squared lengths.
            factors: (m, d + 1) of `Centres.factors`.
        """
        d, xp = rows @ factors.T, features.xp
        d += norms[:, None]
        features.evaluated += d.size
        xp.sqrt(d, out=d)
        d *= self.scale
        d /= self.step
        xp.rint(d, out=d)
        d *= self.step
        return d

    def phi(self, potential: Array, total: Array, term: Array | None) -> Array:
        """phi of some regions: (potential + weight F) + spatial R."""
        value = self.weight * total
        value += potential
        if term is not None:
            value += self.spatial * term
        return value


class MaxSumShard:
    """A shard's half: bounds on phi of all its regions.

    phi(x) = (potential(x) + weight F(x)) + spatial R(x), with F the sum of the scaled and rounded feature distances to
    the set and R that of the spatial ones relative to the distance across images, before they are scaled.

    Args:
        features: of the shard.
        region: gives the region_id of some of them.
        centres: the set, not empty, with room for the picks.
        potential: (n,) float64, half the modular part, -inf where a region cannot be picked; it is used up.
        steps: of the pool.
        state: the spatial sums for the set, which grow with the picks; None without.
    """

    def __init__(
        self,
        features: Features,
        region: Callable[[Array], Array],
        centres: Centres,
        potential: Array,
        steps: SumSteps,
        state: SpatialState | None,
    ) -> None:
        xp, n = features.xp, len(features)
        self._xp, self._features, self._region, self._centres = xp, features, region, centres
        self._potential, self._steps, self._state = potential, steps, state
        self._total, self._seen, self._along = xp.zeros(n), xp.zeros(n, xp.int64), xp.zeros(n)
        self._norms = xp.zeros(len(centres.factors) + 1)  # of the first i members
        self._sum, self._summed = xp.zeros(features.dimensions), 0  # of the first `_summed` members
        self._follow()
        mean = self._sum / centres.count
        length2 = float(mean @ mean)
        self._radius2 = length2 + features.norms - 2 * self._times(mean)
        self._radius2 += 2.0**-40 * (features.norms + length2)  # for the rounding, which is relative to these
        free = xp.where(potential > -xp.inf, self._radius2, 0.0)
        self._radius = math.sqrt(max(float(free.max()), 0.0)) * _SLACK
        self._bound, self._bounded = self._bounds(), self._summed
        self._out: Array = None

    def _times(self, vector: Array) -> Array:
        """(n,) inner products of all regions' features with a vector."""
        f, out = self._features, self._xp.empty(len(self._features))

        def multiply(start: int, stop: int) -> None:
            out[start:stop] = f.values(slice(start, stop)) @ vector

        f.blocks.run(len(f), 8 * f.dimensions, multiply)
        return out

    def _follow(self) -> None:
        """Takes the members that joined the set into their sum."""
        for low in range(self._summed, self._centres.count, CHUNK):
            new = slice(low, min(low + CHUNK, self._centres.count))
            self._sum += self._centres.values(new).sum(axis=0)
            norms = self._centres.factors[new, -1]
            self._norms[new.start + 1 : new.stop + 1] = float(self._norms[new.start]) + norms.cumsum()
        self._summed = self._centres.count

    def _phi(self, index: Array | slice, total: Array) -> Array:
        term = None if self._state is None else self._state.term[index]
        return self._steps.phi(self._potential[index], total, term)

    def _bounds(self) -> Array:
        """(n,) float64 bounds on phi; phi itself where a region is up to date."""
        xp, now = self._xp, self._centres.count
        unmet = now - self._seen
        squares = unmet * self._features.norms
        squares -= 2 * (self._times(self._sum) - self._along)
        squares += float(self._norms[now]) - self._norms[self._seen]
        # rounding may not hide anything: the sums above are at most this large, and off by less than 2^-36 of it
        squares += 2.0**-36 * (now * self._features.norms + float(self._norms[now]))
        more = xp.sqrt(xp.maximum(squares, 0.0) * unmet)
        more *= self._steps.scale * _SLACK
        more += unmet * self._steps.step
        return self._phi(slice(None), self._total + xp.where(unmet > 0, more, 0.0))

    def _refresh(self, index: Array) -> None:
        """Brings regions up to date with the set."""
        now = self._centres.count
        done: list[tuple[slice, Array, Array]] = []  # kept apart: a block may be met twice, a sum may not grow twice

        def meet(start: int, stop: int) -> None:
            part = index[start:stop]
            rows, norms, seen = self._features.rows(part), self._features.norms[part], self._seen[part]
            total = self._total[part]
            for low in range(int(seen.min()), now, CHUNK):
                high = min(low + CHUNK, now)
                d = self._steps.between(self._features, rows, norms, self._centres.factors[low:high])
                d[seen[:, None] > self._xp.arange(low, high)[None, :]] = 0
                total += d.sum(axis=1)
            done.append((slice(start, stop), total, rows[:, :-1] @ self._sum))

        self._features.blocks.run(len(index), 8 * (self._features.dimensions + 2 * CHUNK), meet)
        for block, total, along in done:
            part = index[block]
            self._total[part], self._seen[part], self._along[part] = total, now, along

    def highest(self) -> Highest:
        """The highest bounds."""
        if self._bounded < self._summed:
            self._bound, self._bounded = self._bounds(), self._summed
        self._out, limit = highest(self._xp, self._bound, self._region, epochs.EPOCH, Limit())
        return Highest(to_host(self._bound[self._out]), to_host(self._region(self._out)), limit, self._radius)

    def survivors(self, limit: Limit) -> Survivors:
        """Those of the `highest` that come before the limit and, brought up to date, still do."""
        rows = self._out[limit.allowed(self._bound[self._out], self._region(self._out))]
        self._refresh(rows[self._seen[rows] < self._centres.count])
        self._bound[rows] = self._phi(rows, self._total[rows])
        rows = self._out = rows[self._bound[rows] >= limit.phi]
        term = np.zeros(len(rows)) if self._state is None else to_host(self._state.term[rows])
        terms = np.stack([to_host(self._total[rows]), term, to_host(self._radius2[rows])])
        features, potential = to_host(self._features.given(rows)), to_host(self._potential[rows])
        return Survivors(to_host(self._region(rows)), features, potential, terms)

    def settle(self, settled: Settled, mine: Array, image: Array) -> None:
        """Takes the picks of an epoch into the set.

        Args:
            settled: of the coordinator; its regions have met all picks.
            mine: rows of the picks that lie in this shard.
            image: (p,) image of every pick, -1 in another shard.
        """
        xp, rows = self._xp, self._out[: len(settled.met)]
        if not len(settled.region):
            return
        self._centres.append(xp.asarray(settled.features), image)
        self._potential[mine] = -xp.inf
        if self._state is not None:
            self._state.add(to_host(mine))
        self._follow()
        self._total[rows], self._seen[rows] = xp.asarray(settled.met), self._summed
        self._along[rows] = self._features.values(rows) @ self._sum


class MaxSumGreedy:
    """The coordinator's half.

    Args:
        largest: of the pool's features.
        steps: of the pool.
        radius: no region of the pool lies farther from the mean of the set that the round began with.
        regions: of the pool.
        distances: within its images, relative to the one across images; None without a spatial term.
    """

    def __init__(
        self, largest: float, steps: SumSteps, radius: float, regions: Regions, distances: ImageDistances | None
    ) -> None:
        self._largest, self._steps, self._radius = largest, steps, radius
        self._regions, self._distances = regions, distances
        self._rise = 0.0 if distances is None else steps.spatial * max(distances.largest, 0.0)
        self._blocks = Blocks(HOST_BLOCK)
        self.evaluated = 0

    def among(self, survivors: Survivors, limit: Limit, k: int) -> tuple[list[Pick], Array, Array]:
        """See `epochs.Greedy.among`; `met` is F, and all have met all picks."""
        f = Features(np, survivors.features, self._blocks, self._largest)
        centres, rows, norms = Centres(f, min(k, len(f))), f.rows(slice(None)), f.norms
        (total, term, radius2), potential = survivors.terms.copy(), survivors.potential.copy()
        phi, picks = self._steps.phi(potential, total, term), list[Pick]()
        others, certain = limit.phi, limit
        while len(picks) < min(k, len(f)):
            best = int(np.argmax(phi))
            value, region = float(phi[best]), int(survivors.region[best])
            if value == -math.inf or not certain.allows(value, region):
                break
            picks.append(Pick(region, value, float(total[best]), float(term[best])))
            potential[best] = -np.inf
            centres.append(survivors.features[best : best + 1], -1)
            total += self._steps.between(f, rows, norms, centres.factors[centres.count - 1 : centres.count])[:, 0]
            self._add_spatial(survivors, term, region)
            phi = self._steps.phi(potential, total, term)
            reach = (self._radius + math.sqrt(max(float(radius2[best]), 0.0))) * self._steps.scale
            others += (self._steps.weight * (reach + self._steps.step) + self._rise) * _SLACK
            certain = Limit(others + abs(others) * (_SLACK - 1))
        self.evaluated += f.evaluated
        return picks, total, np.full(len(f), len(picks))

    def _add_spatial(self, survivors: Survivors, term: Array, region: int) -> None:
        if self._distances is None:
            return
        image = int(self._regions.image_of(region))
        first, end = self._regions.offset[image : image + 2].tolist()
        inside = slice(*np.searchsorted(survivors.region, (first, end)).tolist())
        term[inside] += self._distances(image, np.array([region - first]))[0, survivors.region[inside] - first]
