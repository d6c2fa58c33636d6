"""The selection as the paper writes it: one pick after another, every region against every member, float64 NumPy.

Nothing here is shared with `raylab.selection` but the `Acquisition`. It is the oracle of the tests.
"""

from __future__ import annotations

import math

import numpy as np

from raylab.acquisition import Acquisition
from raylab.regions.base import Regions
from raylab.regions.grid import RegionGrid
from tests.selection.pools import Case

STEP = 2.0**-32  # Max-Sum's grid for spatial distances


def snapped(features: np.ndarray) -> np.ndarray:
    """Features as whole numbers (docs/definitions.md, Exactness), int64."""
    d = features.shape[1]
    bits = math.floor((53 - math.ceil(math.log2(d))) / 2) - 1
    largest = float(np.abs(features).max(initial=0))
    exponent = math.frexp(largest)[1] if largest > 0 else 0
    return np.rint(np.ldexp(features.astype(np.float64), bits - exponent)).astype(np.int64)


def grid_norm(dr: float, dc: float, p: float) -> float:
    """L_p norm of whole rows and columns."""
    high, low = max(dr, dc), min(dr, dc)
    if low == 0 or math.isinf(p):
        return float(high)
    if p == 1:
        return float(high + low)
    if p == 2:
        return math.sqrt(high * high + low * low)
    return float(high) * math.pow(1 + math.pow(low / high, p), 1 / p)


def scattered_norm(dy: float, dx: float, p: float) -> float:
    """L_p norm of differences of any centres: powers by arithmetic alone, as the definition has it."""
    if math.isinf(p) or p in (1, 2):
        return {1: dy + dx, 2: math.sqrt(dy * dy + dx * dx)}.get(p, max(dy, dx))
    high, low = max(dy, dx), min(dy, dx)
    return high * plain_power(1 + plain_power(low / high if high else 0.0, p), 1 / p)


def plain_power(x: float, exponent: float) -> float:
    m, e = math.frexp(max(x, 2.0**-1000))
    if m < math.sqrt(0.5):
        m, e = 2 * m, e - 1
    s = (m - 1) / (m + 1)
    series = 1 / 25
    for n in range(23, 0, -2):
        series = series * (s * s) + 1 / n
    t = max(exponent * (2 * s * series + e * math.log(2)), -50.0)
    k = round(t / math.log(2))
    r = t - k * math.log(2)
    value = 1.0
    for n in range(16, 0, -1):
        value = 1 + value * r / n
    return math.ldexp(value, k)


class Oracle:
    """All pairwise terms of a small pool."""

    def __init__(self, regions: Regions, q: Acquisition, features: np.ndarray | None) -> None:
        n = regions.n_regions
        ids = np.arange(n)
        self.q, self.n = q, n
        image = regions.image_of(ids)
        self.same = image[:, None] == image[None, :]
        centres = np.zeros((n, n))
        place, step = regions.centres(ids).tolist(), 1
        norm = scattered_norm
        if isinstance(regions, RegionGrid):
            place, step, norm = np.stack(regions.row_col(ids), axis=1).tolist(), regions.region_size, grid_norm
        for x in range(n):
            for y in range(n):
                if self.same[x, y]:
                    dy, dx = abs(place[x][0] - place[y][0]), abs(place[x][1] - place[y][1])
                    centres[x, y] = step * norm(dy, dx, q.p)
        if q.distance == "linear":
            largest = centres.max(initial=0)
            self.spatial = np.where(self.same, centres, largest) / largest if largest > 0 else np.zeros((n, n))
            self.cross = self.empty = 1.0 if largest > 0 else 0.0
        else:
            tau = regions.region_size if q.tau is None else q.tau
            inside = np.where(ids[:, None] == ids[None, :], 0.0, np.where(centres <= tau, q.a, q.b))
            self.spatial = np.where(self.same, inside, q.c) / max(q.b, q.c)
            self.cross, self.empty = q.c / max(q.b, q.c), 1.0
        self.d2 = None
        if features is not None and q.feature > 0:
            f = snapped(features)
            self.d2 = ((f[:, None] - f[None]) ** 2).sum(axis=2).astype(np.float64)
            self.longest = 2 * math.sqrt(float((f * f).sum(axis=1).max()))

    def scale(self, free: list[int], members: list[int]) -> float:
        """s: the largest distance of a free region to its nearest member, 0 when there is none."""
        if self.d2 is None or not free or not members:
            return 0.0
        return math.sqrt(max(self.d2[x, members].min() for x in free))

    def phi(self, x: int, u: np.ndarray, members: list[int], s: float) -> float:
        q = self.q
        if q.set_function == "max_sum":
            value = 0.5 * q.uncertainty * u[x]
            if self.d2 is not None:
                value += q.feature * self.feature_sum(x, members, s)
            if q.spatial > 0:
                relative = np.rint((self.spatial[x, members] - self.cross) / STEP) * STEP
                value += q.spatial * relative.sum()
            return float(value)
        if not members:
            return float(q.uncertainty * u[x] + (q.feature + q.spatial * self.empty))
        distance = np.zeros(len(members))
        if self.d2 is not None:
            distance = np.sqrt(self.d2[x, members]) * (q.feature / s if s > 0 else 0.0)
        if q.spatial > 0:
            distance = distance + q.spatial * self.spatial[x, members]
        return float(q.uncertainty * u[x] + distance.min())

    def feature_sum(self, x: int, members: list[int], s: float) -> float:
        if not members or s == 0:
            return 0.0
        bound = max(self.longest / s, 1.0)
        step = 2.0 ** -math.floor(53 - math.log2(self.n) - math.log2(bound) - 1)
        return float((np.rint(np.sqrt(self.d2[x, members]) * (1 / s) / step) * step).sum())


def reference(
    regions: Regions,
    q: Acquisition,
    k: int,
    *,
    labelled: np.ndarray,
    uncertainty: np.ndarray | None,
    features: np.ndarray | None,
    predicted_class: np.ndarray | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The picks and their phi (0 for regions drawn at random; relative to |S| d_s across images under Max-Sum)."""
    n = regions.n_regions
    u = np.zeros(n)
    if uncertainty is not None and q.uncertainty > 0 and n:
        u = uncertainty.astype(np.float64)
        span = u.max() - u.min()
        u = (u - u.min()) / span if span > 0 else np.zeros(n)
        if q.class_balanced:
            assert predicted_class is not None
            classes = predicted_class.tolist()
            u = u * [math.exp(-classes.count(c) / n) for c in classes]
    members = sorted({int(i) for i in labelled})
    free = [i for i in range(n) if i not in set(members)]
    k = min(k, len(free))
    drawn = math.floor(q.random * k + 1e-9)
    picks, values = [], []
    oracle = Oracle(regions, q, features) if drawn < k else None
    s = oracle.scale(free, members) if oracle else 0.0
    for _ in range(k - drawn):
        phi = [oracle.phi(x, u, members, s) for x in free]
        best = int(np.argmax(phi))
        values.append(phi[best])
        picks.append(free.pop(best))
        members.append(picks[-1])
        if len(members) == 1:
            s = oracle.scale(free, members)
    picks += np.random.default_rng(seed).permutation(np.array(free, np.int64))[:drawn].tolist()
    return np.array(picks, np.int64), np.array(values + [0.0] * drawn)


def naive(q: Acquisition, case: Case) -> np.ndarray:
    """Max-Min for thousands of regions, with something labelled: the naive algorithm, each pick by whole arrays."""
    regions, n = case.regions, case.regions.n_regions
    u = case.uncertainty
    potential = q.uncertainty * ((u - u.min()) / (u.max() - u.min()))
    image = regions.image_of(np.arange(n))
    y_of, x_of = regions.centres(np.arange(n)).T
    f = snapped(case.features)
    nearest = np.full(n, np.inf)
    for y in case.labelled:
        nearest = np.minimum(nearest, ((f - f[y]) ** 2).sum(axis=1))
    free = np.ones(n, bool)
    free[case.labelled] = False
    weight = q.feature / math.sqrt(nearest[free].max())
    least = np.full(n, np.inf)

    def meet(y: int) -> np.ndarray:
        free[y] = False
        distance = np.sqrt(((f - f[y]) ** 2).sum(axis=1).astype(np.float64)) * weight
        if q.spatial > 0:
            near = np.maximum(abs(y_of - y_of[y]), abs(x_of - x_of[y])) <= regions.region_size
            inside = np.where(np.arange(n) == y, 0.0, np.where(near, q.a, q.b))
            distance = distance + q.spatial * (np.where(image == image[y], inside, q.c) / max(q.b, q.c))
        return np.minimum(least, distance)

    for y in case.labelled:
        least = meet(y)
    picks = []
    for _ in range(case.k):
        picks.append(int(np.argmax(np.where(free, potential + least, -np.inf))))
        least = meet(picks[-1])
    return np.array(picks)
