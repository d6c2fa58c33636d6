"""Bounds from a prefix of the columns, which rule out most pairs before their exact distance is computed (hosts only).

With |x|^2 = |x_p|^2 + r_x^2, where x_p are the few columns of the largest variance and r_x is the length of the
rest, |x - y|^2 >= |x|^2 + |y|^2 - 2 (x_p y_p + r_x r_y). A pair for which that is no less than x's present
minimum changes nothing. The product runs in float32 over a quarter of the columns; what its rounding could hide is
allowed for, so that the result is the exact one. It stays on the host, where it is worth most: GPUs may multiply
float32 in fewer bits than they say.

Measured on decoder features of CamVid (39,636 regions of 128 components, of which 4 hold 90 % of the variance), for
Core-Set and Entropy+Feature: with 4,000 labelled and 4,000 picked 1.3 times as fast, with 16,000 and 16,000 twice,
below some 4,000 members no faster (benchmarks/camvid_features.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raylab.selection.features import Centres, Features

FROM_DIMENSIONS, FROM_MEMBERS = 64, 4096
"""Columns of the features, and members of the set in the end, from which the bounds are worth their while."""
COLUMNS = 32
"""Columns that are compared, beside the length of the rest."""
FEW = 6
"""Open pairs up to which a region's are computed one by one; beyond, a matrix product over all is faster."""
_SAMPLE = 4096


def prefix_bounds(features: Features, centres: Centres) -> PrefixBounds | None:
    """The bounds for a set of that capacity; None where they are not worth their while."""
    worth = features.dimensions >= FROM_DIMENSIONS and len(centres.factors) >= FROM_MEMBERS
    return PrefixBounds(features) if worth and not hasattr(features.xp, "cuda") else None


class PrefixBounds:
    """Prefix factors of all regions and of the set.

    Attributes:
        opened: pairs that the bounds left open.
    """

    def __init__(self, features: Features) -> None:
        n = len(features)
        sample = features.values(slice(None, None, max(1, n // _SAMPLE)))
        self._columns = np.sort(np.argsort(-sample.var(axis=0), kind="stable")[:COLUMNS])
        self._features = features
        self._rows = np.empty((n, len(self._columns) + 2), np.float32)
        self._set = np.empty((0, len(self._columns) + 2), np.float32)
        self._filled = 0
        self.opened = 0
        # a dot product of m float32 terms is off by at most about m 2^-24 times the sum of their sizes; twice that
        self._relative = (len(self._columns) + 12) * 2.0**-23

        def fill(start: int, stop: int) -> None:
            block = slice(start, stop)
            self._rows[block, :-1] = self._prefix(features.values(block), features.norms[block])
            self._rows[start:stop, -1] = 1

        features.blocks.run(n, 16 * features.dimensions, fill)

    def _prefix(self, values: NDArray[np.float64], norms: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m, columns + 1): the columns and the length of the rest."""
        out = np.empty((len(values), len(self._columns) + 1))
        out[:, :-1] = values[:, self._columns]
        rest = norms - np.einsum("ij,ij->i", out[:, :-1], out[:, :-1])
        np.sqrt(rest, out=out[:, -1])
        return out

    def follow(self, centres: Centres) -> None:
        """Takes in the members that joined the set since the last call."""
        if len(self._set) < len(centres.factors):
            self._set = np.empty((len(centres.factors), self._rows.shape[1]), np.float32)
            self._filled = 0
        new = slice(self._filled, centres.count)
        norms = centres.factors[new, -1]
        self._set[new, :-1] = self._prefix(centres.values(new), norms)
        self._set[new, -1] = -norms / 2
        self._filled = centres.count

    def lower(self, rows: NDArray[np.int64], d2: NDArray[np.float64], centres: Centres, low: int, high: int) -> None:
        """Lowers `d2` where one of the members low..high is nearer.

        Args:
            rows: (r,) region ids.
            d2: (r,) float64 their least squared distances so far; changed in place.
            centres: the set.
            low: first member.
            high: past the last member.
        """
        f = self._features
        norms = f.norms[rows]
        largest = 2 * float(np.abs(self._set[low:high, -1]).max())
        slack = self._relative * (np.sqrt(norms * largest) + largest)
        least = (norms - d2) / 2 - slack
        least = (least - np.abs(least) * 2.0**-22).astype(np.float32)
        product = self._rows[rows] @ self._set[low:high].T
        some = np.flatnonzero(product.max(axis=1) > least)
        opened = product[some] > least[some, None]
        count = np.count_nonzero(opened, axis=1)
        self.opened += int(count.sum())
        many = count > FEW
        if many.any():
            which = some[many]
            nearest = (f.rows(rows[which]) @ centres.factors[low:high].T).min(axis=1) + norms[which]
            d2[which] = np.minimum(d2[which], nearest)
            some, opened = some[~many], opened[~many]
        row, member = np.nonzero(opened)
        which = some[row]
        pairs = np.einsum("ij,ij->i", f.rows(rows[which]), centres.factors[low + member]) + norms[which]
        np.minimum.at(d2, which, pairs)
