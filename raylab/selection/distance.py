"""The spatial distance of two regions (Eq. 5 and 6), scaled to [0, 1]: the same numbers on NumPy and CuPy."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from raylab.acquisition import Acquisition
from raylab.regions.base import Regions
from raylab.regions.grid import RegionGrid
from raylab.selection.arrays import Array, either

SUM_GRID = {"piecewise": 2.0**-32, "linear": 2.0**-20}
"""Max-Sum adds multiples of these steps, of a, b and c or of a pixel, so that its running sums are exact and know no
order; they are scaled once they are added up, so that 1/3 + 1/3 is 2/3."""
_PAIRS = 1 << 17  # looked at in one step
_SLACK = 1 + 1e-9  # what rounding may hide in a bound


def lp_norm(xp: ModuleType, dy: Array, dx: Array, p: float) -> Array:
    """L_p norm of differences, one correctly rounded operation after another: the same on NumPy and CuPy.

    Args:
        xp: array namespace.
        dy: float64, none negative.
        dx: float64, none negative; the two are broadcast.
        p: 1, 2 or infinity.
    """
    if p == 1:
        return dy + dx
    if p == 2:
        return xp.sqrt(dy * dy + dx * dx)
    return xp.maximum(dy, dx)


def largest_distance(regions: Regions, p: float) -> float:
    """The largest L_p distance in pixels of the centres of two regions of one image, on the host.

    Regions that can be far from others by the extent of their image are looked at first, until no other can be
    farther than the pair found.
    """
    ids = np.arange(regions.n_regions)
    if not len(ids):
        return 0.0
    y, x = regions.centres(ids).T
    image, first = regions.image_of(ids), regions.offset[:-1]
    reach = []
    for centre in (y, x):
        low, high = np.minimum.reduceat(centre, first)[image], np.maximum.reduceat(centre, first)[image]
        reach.append(np.maximum(centre - low, high - centre))
    bound = lp_norm(np, reach[0], reach[1], p) * _SLACK
    count = np.diff(regions.offset)
    others = np.arange(int(count.max()))
    order, best = np.argsort(-bound, kind="stable"), 0.0
    for step in np.array_split(order, max(1, len(order) * len(others) // _PAIRS)):
        if bound[step[0]] < best:
            break
        of = image[step]
        pairs = first[of][:, None] + np.minimum(others[None, :], count[of][:, None] - 1)
        found = lp_norm(np, np.abs(y[pairs] - y[step][:, None]), np.abs(x[pairs] - x[step][:, None]), p)
        best = max(best, float(found.max()))
    return best


def grid_shapes(regions: RegionGrid) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
    """The differing (rows, columns) of a pool's images, and (images,) int64, which of them each image has."""
    most = int(regions.cols.max(initial=0)) + 1
    codes, kind = np.unique(regions.rows * most + regions.cols, return_inverse=True)
    return [divmod(int(code), most) for code in codes], kind.reshape(-1)


class SpatialDistance:
    """The scaled spatial distance d_s of a pool (Eq. 5 or 6).

    Attributes:
        p: order of the norm between centres.
        scale: what distances are divided by: max(b, c), or the largest in pixels (1 where none occurs).
        cross: distance across images, 1 unless b > c (then c / b) or no distance occurs at all (then 0).
        raw_cross: the same before it is scaled.
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
                self._largest = max((float(self._pixels(r, c).max()) for r, c in shapes), default=0.0)
            else:
                self._largest = largest_distance(regions, acquisition.p)
            self.cross = self.empty = self.within = 1.0 if self._largest > 0 else 0.0
            self.scale, self.raw_cross = self._largest or 1.0, self._largest
        else:
            self.scale, self.raw_cross = max(acquisition.b, acquisition.c), acquisition.c
            self.cross, self.empty = acquisition.c / self.scale, 1.0
            self.within = max(acquisition.a, acquisition.b) / self.scale

    def _pixels(self, rows: int, cols: int) -> NDArray[np.float64]:
        """(rows, cols) float64: the distance in pixels of two centres of a grid, by their offset."""
        dy, dx = (self._region_size * np.arange(count, dtype=np.float64) for count in (rows, cols))
        return np.asarray(lp_norm(np, dy[:, None], dx[None, :], self.p))

    @property
    def bounded_by_cross(self) -> bool:
        """Whether no distance within an image exceeds the one across images, as in every metric."""
        q = self._acquisition
        return q.distance == "linear" or max(q.a, q.b) <= q.c

    def scaled(self, xp: ModuleType, pixels: Array) -> Array:
        """d_s of different regions of one image, float64, given the distances of their centres in pixels."""
        if self._acquisition.distance == "linear":
            return pixels / self.scale
        return self._piecewise(xp, pixels, self.scale)

    def _piecewise(self, xp: ModuleType, pixels: Array, scale: float) -> Array:
        q = self._acquisition
        tau = self._region_size if q.tau is None else q.tau
        return either(xp, pixels <= tau, q.a / scale, q.b / scale)

    def relative(self, xp: ModuleType, pixels: Array, same: tuple[Array, Array]) -> Array:
        """The distance of regions of one image relative to the one across images, not scaled, on Max-Sum's exact grid.

        A running sum of these stays small and exact, whatever the size of S; d_s summed over S is this sum plus
        |S| times `raw_cross`, divided by `scale`.

        Args:
            xp: array namespace.
            pixels: distances of centres.
            same: index of the entries that are of a region and itself.
        """
        linear, step = self._acquisition.distance == "linear", SUM_GRID[self._acquisition.distance]
        raw = pixels if linear else self._piecewise(xp, pixels, 1.0)
        raw[same] = 0.0
        return xp.rint((raw - self.raw_cross) / step) * step

    def table(self, rows: int, cols: int) -> NDArray[np.float64]:
        """d_s within an image of a grid, by offset.

        Args:
            rows: rows of the image's grid.
            cols: columns of the image's grid.

        Returns:
            (rows, cols) float64: entry [dr, dc] is the scaled distance of two regions that far apart.
        """
        table: NDArray[np.float64] = self.scaled(np, self._pixels(rows, cols))
        table[0, 0] = 0.0
        return table

    def sum_table(self, rows: int, cols: int) -> NDArray[np.float64]:
        """The `table`, `relative`."""
        return np.asarray(self.relative(np, self._pixels(rows, cols), (np.array([0]), np.array([0]))))
