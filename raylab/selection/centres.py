"""L_p distances between region centres that lie anywhere: one rounding an operation, the same on NumPy and CuPy.

Every step is an elementwise operation that IEEE 754 rounds correctly (+ - * / sqrt, powers of two), run on its own so
that no multiplication is fused with an addition. Libraries differ in pow, exp and log, so none of them is called.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from raylab.regions.base import Regions
from raylab.selection.arrays import Array

LN2 = math.log(2)
_BLOCK = 1 << 17  # pairs looked at in one step
_SLACK = 1 + 1e-9  # what rounding may hide in a bound


def lp_norm(xp: ModuleType, dy: Array, dx: Array, p: float) -> Array:
    """L_p norm of differences.

    For p other than 1, 2 and infinity it is h (1 + (l / h)^p)^(1/p), h being the larger and l the smaller difference,
    with powers by `power`.

    Args:
        xp: array namespace.
        dy: float64, none negative.
        dx: float64, none negative, shaped like `dy`.
        p: 1 or more.
    """
    if math.isinf(p):
        return xp.maximum(dy, dx)
    if p == 1:
        return dy + dx
    if p == 2:
        return xp.sqrt(dy * dy + dx * dx)
    high, low = xp.maximum(dy, dx), xp.minimum(dy, dx)
    share = low / xp.where(high > 0, high, 1.0)
    return high * power(xp, 1.0 + power(xp, share, p), 1 / p)


def power(xp: ModuleType, x: Array, exponent: float) -> Array:
    """x to a power, to some 14 digits: float64 in 0..2, and a positive exponent. What is below e^-50 becomes that."""
    t = xp.maximum(exponent * _ln(xp, x), -50.0)
    k = xp.rint(t / LN2)
    r = t - k * LN2
    value = xp.full(r.shape, 1.0)
    for n in range(16, 0, -1):  # exp(r), |r| <= 0.35, by its Taylor series
        value = 1.0 + value * r / n
    return xp.ldexp(value, k.astype(xp.int32))


def _ln(xp: ModuleType, x: Array) -> Array:
    """Natural logarithm, exactly 0 at 1."""
    m, e = xp.frexp(xp.maximum(x, 2.0**-1000))
    below = m < math.sqrt(0.5)
    m, e = xp.where(below, 2 * m, m), xp.where(below, e - 1, e)
    s = (m - 1.0) / (m + 1.0)
    s2 = s * s
    series = xp.full(s.shape, 1 / 25)
    for n in range(23, 0, -2):  # artanh(s) = s + s^3 / 3 + s^5 / 5 + ..., |s| <= 0.18
        series = series * s2 + 1 / n
    return 2 * s * series + e * LN2


def largest_distance(regions: Regions, p: float) -> float:
    """The largest L_p distance of the centres of two regions of one image, on the host.

    Regions that can be far from others by the extent of their image are looked at first, until no other can be
    farther than the pair found.
    """
    ids = np.arange(regions.n_regions)
    if not len(ids):
        return 0.0
    y, x = regions.centres(ids).T
    image, first = regions.image_of(ids), regions.offset[:-1]
    reach = []
    for place in (y, x):
        low, high = np.minimum.reduceat(place, first)[image], np.maximum.reduceat(place, first)[image]
        reach.append(np.maximum(place - low, high - place))
    bound = lp_norm(np, reach[0], reach[1], p) * _SLACK
    count = np.diff(regions.offset)
    others = np.arange(int(count.max()))
    order, best = np.argsort(-bound, kind="stable"), 0.0
    for step in np.array_split(order, max(1, len(order) * len(others) // _BLOCK)):
        if bound[step[0]] < best:
            break
        of = image[step]
        pairs = first[of][:, None] + np.minimum(others[None, :], count[of][:, None] - 1)
        found = lp_norm(np, np.abs(y[pairs] - y[step][:, None]), np.abs(x[pairs] - x[step][:, None]), p)
        best = max(best, float(found.max()))
    return best
