"""Greedy Max-Sum selection (the 2-approximation of Borodin et al.) with features: lazy, exact to the pick.

The feature distances are rounded to a power-of-two grid before they are added, so that the running sums are exact
and know no order. Sums rise with every pick, so an old sum is no bound by itself; but over the m members that a
region has not met, sum d <= sqrt(m sum d^2) (Cauchy-Schwarz), and sum d^2 takes one inner product with the sum of
the members. An epoch bounds every region so, brings the highest up to date, and picks among those that stay above the
others; how fast the others may rise meanwhile is bounded by the triangle inequality through the mean.
"""

from __future__ import annotations

import math

import numpy as np

from raylab.selection.arrays import Array
from raylab.selection.by_image import SpatialState
from raylab.selection.features import Centres, Features
from raylab.selection.max_min import Pick

POOL = 4096
"""How many regions an epoch brings up to date."""
CHUNK = 256
"""Members of the set per matrix product."""
_SLACK = 1 + 1e-9  # for the rounding of bounds; nothing exact depends on it


class MaxSum:
    """One round's Max-Sum objective and its state.

    phi(x) = (potential(x) + weight F(x)) + spatial_weight R(x), with F the sum of the scaled and rounded feature
    distances to the set and R that of the spatial ones relative to the distance across images, before they are scaled.

    Args:
        features: of the pool.
        centres: the set, not empty, with room for the picks.
        potential: (n,) float64, half the modular part, -inf where a region cannot be picked; it is used up.
        weight: lambda_f, over what the sum is divided by.
        s2: squared scale s, on the features' grid.
        spatial: the spatial sums for the set, which grow with the picks; None without.
        spatial_weight: lambda_s, over what the sum is divided by.
    """

    def __init__(
        self,
        features: Features,
        centres: Centres,
        potential: Array,
        weight: float,
        s2: float,
        spatial: SpatialState | None,
        spatial_weight: float,
    ) -> None:
        xp, n = features.xp, len(features)
        self.xp, self.features, self.centres = xp, features, centres
        self.potential, self.weight, self.spatial, self.spatial_weight = potential, weight, spatial, spatial_weight
        self._scale = 1 / math.sqrt(s2) if s2 > 0 else 0.0
        # |x| + |y| bounds any distance, so that n of at most this many steps stay below 2^53
        longest = 2 * math.sqrt(float(features.norms.max())) * self._scale
        self._step = 2.0 ** -math.floor(52 - math.log2(n) - math.log2(max(longest, 1.0)))
        self._total, self._seen, self._along = xp.zeros(n), xp.zeros(n, xp.int64), xp.zeros(n)
        capacity, d = len(centres.index), features.dimensions
        self._norms = xp.zeros(capacity + 1)  # of the first i members
        self._sum, self._summed = xp.zeros(d), 0  # of the first `_summed` members
        self._mean = features.values(slice(None, None, max(1, n // 4096))).mean(axis=0)
        self._radius2 = float(self._mean @ self._mean) + features.norms - 2 * self._times(self._mean)
        free = xp.where(potential > -xp.inf, self._radius2, 0.0)
        self._radius = math.sqrt(max(float(free.max()), 0.0)) * _SLACK
        self._rise = 0.0 if spatial is None else spatial_weight * max(spatial.largest, 0.0)

    def _times(self, vector: Array) -> Array:
        """(n,) inner products of all regions' features with a vector."""
        f, out = self.features, self.xp.empty(len(self.features))

        def multiply(start: int, stop: int) -> None:
            out[start:stop] = f.values(slice(start, stop)) @ vector

        f.blocks.run(len(f), 8 * f.dimensions, multiply)
        return out

    def _follow(self) -> None:
        """Takes the members that joined the set into their sum."""
        for low in range(self._summed, self.centres.count, CHUNK):
            new = slice(low, min(low + CHUNK, self.centres.count))
            self._sum += self.features.values(self.centres.index[new]).sum(axis=0)
            norms = self.features.norms[self.centres.index[new]]
            self._norms[new.start + 1 : new.stop + 1] = float(self._norms[new.start]) + norms.cumsum()
        self._summed = self.centres.count

    def _phi(self, index: Array | slice, total: Array) -> Array:
        value = self.weight * total
        value += self.potential[index]
        if self.spatial is not None:
            value += self.spatial_weight * self.spatial.term[index]
        return value

    def _bounds(self) -> Array:
        """(n,) float64 bounds on phi; phi itself where a region is up to date."""
        xp, now = self.xp, self.centres.count
        unmet = now - self._seen
        squares = unmet * self.features.norms
        squares -= 2 * (self._times(self._sum) - self._along)
        squares += float(self._norms[now]) - self._norms[self._seen]
        # rounding may not hide anything: the sums above are at most this large, and off by less than 2^-36 of it
        squares += 2.0**-36 * (now * self.features.norms + float(self._norms[now]))
        more = xp.sqrt(xp.maximum(squares, 0.0) * unmet)
        more *= self._scale * _SLACK
        more += unmet * self._step
        return self._phi(slice(None), self._total + xp.where(unmet > 0, more, 0.0))

    def _met(self, rows: Array, norms: Array, low: int, high: int) -> Array:
        """(r, high - low) scaled and rounded distances to members of the set."""
        d = rows @ self.centres.factors[low:high].T
        d += norms[:, None]
        self.features.evaluated += d.size
        self.xp.sqrt(d, out=d)
        d *= self._scale
        d /= self._step
        self.xp.rint(d, out=d)
        d *= self._step
        return d

    def _refresh(self, index: Array) -> None:
        """Brings regions up to date with the set."""
        now = self.centres.count
        done: list[tuple[slice, Array, Array]] = []  # kept apart: a block may be met twice, a sum may not grow twice

        def meet(start: int, stop: int) -> None:
            part = index[start:stop]
            rows, norms, seen = self.features.rows(part), self.features.norms[part], self._seen[part]
            total = self._total[part]
            for low in range(int(seen.min()), now, CHUNK):
                high = min(low + CHUNK, now)
                d = self._met(rows, norms, low, high)
                d[seen[:, None] > self.xp.arange(low, high)[None, :]] = 0
                total += d.sum(axis=1)
            done.append((slice(start, stop), total, rows[:, :-1] @ self._sum))

        self.features.blocks.run(len(index), 8 * (self.features.dimensions + 2 * CHUNK), meet)
        for block, total, along in done:
            part = index[block]
            self._total[part], self._seen[part], self._along[part] = total, now, along

    def picks(self, k: int) -> list[Pick]:
        """The next k picks; `d2` of each is F, `spatial` is R."""
        xp, picks = self.xp, list[Pick]()
        n = len(self.features)
        while len(picks) < k:
            self._follow()
            bound = self._bounds()
            while True:
                size = min(POOL, n)
                least = float(xp.partition(bound, n - size)[n - size])
                index = xp.flatnonzero((bound >= least) & (bound > -xp.inf))[: 4 * size]
                index = xp.sort(xp.concatenate([index, xp.argmax(bound).reshape(1)]))
                index = index[xp.concatenate([xp.full(1, True), index[1:] != index[:-1]])]
                self._refresh(index[self._seen[index] < self.centres.count])
                bound[index] = self._phi(index, self._total[index])
                best = int(xp.argmax(bound))
                if int(self._seen[best]) == self.centres.count:
                    break
            self._pick_among(index, best, bound, picks, k)
        return picks

    def _pick_among(self, index: Array, first: int, bound: Array, picks: list[Pick], k: int) -> None:
        """Picks `first`, which is certain, and others of `index` while they are."""
        xp, f = self.xp, self.features
        inside = xp.full(len(bound), False)
        inside[index] = True
        others = float(xp.where(inside, -xp.inf, bound).max())
        index = index[(bound[index] > others) | (index == first)]
        if not bool((index == first).any()):
            index = xp.asarray([first])
        rows, norms, total, phi = f.rows(index), f.norms[index], self._total[index], bound[index]
        certain = -math.inf
        while len(picks) < k:
            best = int(xp.argmax(phi))
            value, region = float(phi[best]), int(index[best])
            if value <= certain or value == -math.inf:
                break
            term = 0.0 if self.spatial is None else float(self.spatial.term[region])
            picks.append(Pick(region, value, float(total[best]), term))
            self.potential[region] = -xp.inf
            self.centres.append(xp.asarray([region]))
            if self.spatial is not None:
                self.spatial.add(np.array([region]))
            now = self.centres.count
            total += self._met(rows, norms, now - 1, now)[:, 0]
            phi = self._phi(index, total)
            reach = (self._radius + math.sqrt(max(float(self._radius2[region]), 0.0))) * self._scale
            others += (self.weight * (reach + self._step) + self._rise) * _SLACK
            certain = others + abs(others) * (_SLACK - 1)
        self._follow()
        self._total[index], self._seen[index], self._along[index] = total, self._summed, rows[:, :-1] @ self._sum
