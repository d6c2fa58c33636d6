"""The spatial distance of two regions (Eq. 5 and 6), scaled to [0, 1]: the same numbers on NumPy and CuPy."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from raylab.acquisition import Acquisition
from raylab.regions.base import Regions
from raylab.regions.grid import RegionGrid
from raylab.selection.arrays import Array
from raylab.selection.centres import largest_distance

SUM_GRID = 2.0**-32
"""Max-Sum adds multiples of this step, so that its running sums are exact and know no order."""


def _norm(dr: int, dc: int, p: float) -> float:
    """L_p norm of (dr, dc); by `math`, value by value, so that it does not depend on NumPy's vector width."""
    high, low = max(dr, dc), min(dr, dc)
    if low == 0 or math.isinf(p):
        return float(high)
    if p == 1:
        return float(high + low)
    if p == 2:
        return math.sqrt(high * high + low * low)
    return high * math.pow(1 + math.pow(low / high, p), 1 / p)


def grid_shapes(regions: RegionGrid) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
    """The differing (rows, columns) of a pool's images, and (images,) int64, which of them each image has."""
    most = int(regions.cols.max(initial=0)) + 1
    codes, kind = np.unique(regions.rows * most + regions.cols, return_inverse=True)
    return [divmod(int(code), most) for code in codes], kind.reshape(-1)


class SpatialDistance:
    """The scaled spatial distance d_s of a pool (Eq. 5 or 6).

    Attributes:
        p: order of the norm between centres.
        cross: distance across images, 1 unless b > c (then c / b) or no distance occurs at all (then 0).
        empty: the term over an empty set, its largest value.
        within: no distance within an image exceeds it.
    """

    def __init__(self, regions: Regions, acquisition: Acquisition) -> None:
        self._acquisition, self.p = acquisition, acquisition.p
        self._region_size = regions.region_size
        self._largest = 0.0
        if acquisition.distance == "linear":
            if isinstance(regions, RegionGrid):
                shapes, _ = grid_shapes(regions)
                self._largest = max((self._centres(r - 1, c - 1) for r, c in shapes), default=0.0)
            else:
                self._largest = largest_distance(regions, acquisition.p)
            self.cross = self.empty = self.within = 1.0 if self._largest > 0 else 0.0
        else:
            scale = max(acquisition.b, acquisition.c)
            self.cross, self.empty = acquisition.c / scale, 1.0
            self.within = max(acquisition.a, acquisition.b) / scale

    def _centres(self, dr: int, dc: int) -> float:
        """Distance in pixels of two centres dr rows and dc columns apart."""
        return self._region_size * _norm(dr, dc, self.p)

    @property
    def bounded_by_cross(self) -> bool:
        """Whether no distance within an image exceeds the one across images, as in every metric."""
        q = self._acquisition
        return q.distance == "linear" or max(q.a, q.b) <= q.c

    def scaled(self, xp: ModuleType, pixels: Array) -> Array:
        """d_s of different regions of one image, float64, given the distances of their centres in pixels."""
        q = self._acquisition
        if q.distance == "linear":
            return pixels / self._largest if self._largest > 0 else pixels
        tau, scale = self._region_size if q.tau is None else q.tau, max(q.b, q.c)
        return xp.where(pixels <= tau, q.a / scale, q.b / scale)

    def relative(self, xp: ModuleType, scaled: Array) -> Array:
        """d_s relative to the distance across images, on Max-Sum's exact grid.

        A running sum of these stays small and exact, whatever the size of S; the sum proper is this one plus
        |S| times `cross`.
        """
        return xp.rint((scaled - self.cross) / SUM_GRID) * SUM_GRID

    def table(self, rows: int, cols: int) -> NDArray[np.float64]:
        """d_s within an image of a grid, by offset.

        Args:
            rows: rows of the image's grid.
            cols: columns of the image's grid.

        Returns:
            (rows, cols) float64: entry [dr, dc] is the scaled distance of two regions that far apart.
        """
        table: NDArray[np.float64] = self.scaled(
            np, np.array([[self._centres(dr, dc) for dc in range(cols)] for dr in range(rows)])
        )
        table[0, 0] = 0.0
        return table

    def sum_table(self, rows: int, cols: int) -> NDArray[np.float64]:
        """The `table`, `relative`."""
        return np.asarray(self.relative(np, self.table(rows, cols)))
