"""Features on an exact grid (docs/definitions.md), and squared distances by matrix products.

Snapped features are integers of few enough bits that every sum a squared distance can be computed by stays below
2^53: any formula, order, BLAS or device gives the same float64, in units of the grid's step squared.
"""

from __future__ import annotations

import math
from types import ModuleType

from raylab.errors import ConfigError
from raylab.selection.arrays import Array, Blocks

FAR = 1e300
"""Squared distance to no one: above all others, and finite, so that -inf can be added to what comes of it."""


def grid_bits(dimensions: int) -> int:
    """Magnitude bits of a snapped feature, so that squared distances in `dimensions` are exact in float64."""
    return (53 - math.ceil(math.log2(max(1, dimensions)))) // 2 - 1


class Features:
    """The pool's features of one round, and their snapped values: whole numbers of at most `grid_bits(d)` bits.

    Only the features as given are kept; rows are snapped when they are used, which costs less than a second copy.

    Attributes:
        norms: (n,) float64, squared lengths of the snapped values, exact.
        evaluated: pairs of regions whose distance has been computed, or ruled out, so far.

    Raises:
        ConfigError: a feature is not finite.
    """

    def __init__(self, xp: ModuleType, features: Array, blocks: Blocks) -> None:
        n, self.dimensions = features.shape
        largest = max(float(features.max()), -float(features.min())) if n else 0.0
        if not math.isfinite(largest):  # both pass NaN on
            raise ConfigError("features: not all of them are finite")
        self.xp, self.blocks, self.evaluated, self._features = xp, blocks, 0, features
        # a power of two within float64's range whatever the float32 features: the product is exact
        self._scale = 2.0 ** (grid_bits(self.dimensions) - (math.frexp(largest)[1] if largest > 0 else 0))
        self.norms = xp.empty(n)

        def measure(start: int, stop: int) -> None:
            block = self.values(slice(start, stop))
            block *= block
            self.norms[start:stop] = block.sum(axis=1)

        blocks.run(n, 16 * self.dimensions, measure)

    def __len__(self) -> int:
        return len(self._features)

    def values(self, index: Array | slice) -> Array:
        """(m, d) float64: the snapped features of some regions."""
        out = self._features[index].astype(self.xp.float64)
        out *= self._scale
        self.xp.rint(out, out=out)
        return out

    def rows(self, index: Array | slice) -> Array:
        """(m, d + 1) float64: the snapped features and a 1, to be multiplied with `Centres.factors`."""
        features = self._features[index]
        out = self.xp.empty((len(features), self.dimensions + 1))
        values = out[:, :-1]
        values[...] = features
        values *= self._scale
        self.xp.rint(values, out=values)
        out[:, -1] = 1
        return out

    def squared(self, rows: Array | slice, others: Array) -> Array:
        """(r, m) float64 squared distances between two groups of regions."""
        out = self.values(rows) @ (-2 * self.values(others)).T
        out += self.norms[rows][:, None]
        out += self.norms[others][None, :]
        self.evaluated += out.size
        return out


class Centres:
    """The set S as matrix factors: labelled regions first, then the picks, in order.

    Attributes:
        factors: (capacity, d + 1) float64, -2 f(y) and |f(y)|^2, so that one product with `Features.rows` gives
            |f(x) - f(y)|^2 - |f(x)|^2.
        index: (capacity,) int64 their region ids.
        count: how many there are.
    """

    def __init__(self, features: Features, capacity: int) -> None:
        xp = features.xp
        self._features = features
        self.factors = xp.empty((capacity, features.dimensions + 1))
        self.index = xp.empty(capacity, xp.int64)
        self.count = 0

    def append(self, index: Array) -> None:
        """Adds (m,) regions, in order."""
        new = slice(self.count, self.count + len(index))
        self.factors[new, :-1] = self._features.values(index)
        self.factors[new, :-1] *= -2
        self.factors[new, -1] = self._features.norms[index]
        self.index[new] = index
        self.count += len(index)
