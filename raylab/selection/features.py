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


def largest_magnitude(features: Array) -> float:
    """The largest absolute value of (n, d) features; 0 of none.

    Raises:
        ConfigError: a feature is not finite.
    """
    largest = max(float(features.max()), -float(features.min())) if len(features) else 0.0
    if not math.isfinite(largest):  # both pass NaN on
        raise ConfigError("features: not all of them are finite")
    return largest


class Features:
    """Features of one round, and their snapped values: whole numbers of at most `grid_bits(d)` bits.

    Only the features as given are kept; rows are snapped when they are used, which costs less than a second copy.

    Args:
        xp: array namespace.
        features: (n, d) float32, of the pool or a part of it.
        blocks: bounds the temporary arrays.
        largest: `largest_magnitude` of the whole pool.

    Attributes:
        norms: (n,) float64, squared lengths of the snapped values, exact.
        evaluated: pairs of regions whose distance has been computed, or ruled out, so far.
    """

    def __init__(self, xp: ModuleType, features: Array, blocks: Blocks, largest: float) -> None:
        n, self.dimensions = features.shape
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

    def given(self, index: Array | slice) -> Array:
        """(m, d) float32: the features of some regions as they were scored."""
        return self._features[index]

    def snap(self, features: Array) -> Array:
        """(m, d) float64: features on the grid."""
        out = features.astype(self.xp.float64)
        out *= self._scale
        self.xp.rint(out, out=out)
        return out

    def values(self, index: Array | slice) -> Array:
        """(m, d) float64: the snapped features of some regions."""
        return self.snap(self._features[index])

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
    """The set S as matrix factors: labelled regions first, then the picks, in order; or only the picks of an epoch.

    Attributes:
        factors: (capacity, d + 1) float64, -2 f(y) and |f(y)|^2, so that one product with `Features.rows` gives
            |f(x) - f(y)|^2 - |f(x)|^2.
        image: (capacity,) int64 the image each lies in; -1 where it is none of those that are looked at.
        count: how many there are.
    """

    def __init__(self, features: Features, capacity: int) -> None:
        xp = features.xp
        self._features = features
        self.factors = xp.empty((capacity, features.dimensions + 1))
        self.image = xp.empty(capacity, xp.int64)
        self.count = 0

    def append(self, features: Array, image: Array) -> None:
        """Adds members, in order.

        Args:
            features: (m, d) float32, as scored.
            image: (m,) int64.
        """
        new = slice(self.count, self.count + len(features))
        values = self._features.snap(features)
        self.factors[new, :-1] = values
        self.factors[new, :-1] *= -2
        values *= values
        self.factors[new, -1] = values.sum(axis=1)
        self.image[new] = image
        self.count += len(features)

    def values(self, index: slice) -> Array:
        """(m, d) float64: the snapped features of some members."""
        return self.factors[index, :-1] * -0.5
