"""Greedy selection without features: images never meet, so each is solved alone and the picks are merged.

The distance across images is one constant and no smaller than any within an image, so a region's potential
depends on its own image only: Algorithm 1 runs inside all images in lock step, on arrays of (images, regions of
an image), and gives every image's picks in order of falling (phi, -id). Merging them gives Algorithm 1's picks on
the pool. An image is dropped as soon as its next pick is worse than the k-th best on record.
"""

from __future__ import annotations

import copy
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from raylab.regions.grid import RegionGrid
from raylab.selection.arrays import Array, Blocks, to_host
from raylab.selection.objective import Acquisition, SpatialDistance, grid_shapes

_HUGE = np.finfo(np.float64).max
_DENSE_TABLE = 1 << 10  # regions of an image up to which all pairs' distances are kept (8 MB)

Picks = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""region_id, phi and spatial term of picks, in order."""


class Shape:
    """The images of one grid shape, and the distances within such an image.

    Attributes:
        first: (images,) int64 on the host, each image's first region_id.
        regions: regions of an image.
    """

    def __init__(self, xp: ModuleType, rows: int, cols: int, first: NDArray[np.int64], table: NDArray[np.float64]):
        self.first, self.rows, self.cols, self.regions = first, rows, cols, rows * cols
        self._xp = xp
        self._contiguous = bool(np.all(np.diff(first) == self.regions))
        # at [R - 1 + dr, C - 1 + dc]; the window from [R - 1 - r, C - 1 - c] on holds all distances to (r, c)
        dr, dc = np.abs(np.arange(1 - rows, rows)), np.abs(np.arange(1 - cols, cols))
        self._mirrored = xp.asarray(table[dr[:, None], dc[None, :]])
        self._pairs = None
        if self.regions <= _DENSE_TABLE:
            everywhere = xp.arange(self.regions)
            self._pairs = self._windows(everywhere)

    def _windows(self, local: Array) -> Array:
        xp = self._xp
        row, col = self.rows - 1 - local // self.cols, self.cols - 1 - local % self.cols
        rows = row[:, None, None] + xp.arange(self.rows)[None, :, None]
        cols = col[:, None, None] + xp.arange(self.cols)[None, None, :]
        return self._mirrored[rows, cols].reshape(len(local), self.regions)

    def distances(self, local: Array) -> Array:
        """(m, regions) float64: row i holds the distances of all regions of an image to its region `local[i]`."""
        return self._windows(local) if self._pairs is None else self._pairs[local]

    def view(self, values: Array) -> Array:
        """(images, regions): the values, one a region of the pool, of these images; a view where possible."""
        if self._contiguous:
            start = int(self.first[0])
            return values[start : start + len(self.first) * self.regions].reshape(len(self.first), self.regions)
        return values[self._index()]

    def put(self, values: Array, images: Array, update: Array) -> None:
        """Writes rows of a `view` back: `values` at the regions of `images` (indices into `first`) become `update`."""
        if self._contiguous:
            self.view(values)[images] = update
        else:
            values[self._index()[images]] = update

    def _index(self) -> Array:
        return self._xp.asarray(self.first)[:, None] + self._xp.arange(self.regions)[None, :]


class SpatialState:
    """The spatial term of every region for the labelled set so far; lives on the device and grows with the set.

    Attributes:
        term: (n,) float64 on the device: Max-Min, the least d_s to a labelled region of the same image, at most
            the distance across images (infinite without one if that bounds nothing); Max-Sum, the sum of d_s to
            those relative to that distance.
        count: number of labelled regions.
        images: the images they lie in.
        largest: the largest d_s between two regions of one image, under Max-Sum relative to the one across images.
    """

    def __init__(self, xp: ModuleType, grid: RegionGrid, acquisition: Acquisition) -> None:
        self.xp, self.distance, self.is_sum = xp, SpatialDistance(grid, acquisition), acquisition.is_sum
        shapes, kind = grid_shapes(grid)
        relative = self.distance.sum_table if self.is_sum else self.distance.table
        tables = [relative(rows, cols) for rows, cols in shapes]
        self.shapes = [
            Shape(xp, rows, cols, grid.offset[:-1][kind == i], table)
            for i, ((rows, cols), table) in enumerate(zip(shapes, tables, strict=True))
        ]
        self.largest = max((float(table.max()) for table in tables), default=0.0)
        self._kind, self._grid = kind, grid
        self._rank = np.zeros(grid.n_images, np.int64)  # an image's place in its shape's `first`
        for i in range(len(shapes)):
            self._rank[kind == i] = np.arange(np.count_nonzero(kind == i))
        self.count = 0
        self.images: set[int] = set()
        start = self.distance.cross if self.distance.bounded_by_cross else np.inf
        if self.is_sum:
            start = 0.0
        self.term = xp.full(grid.n_regions, start)

    def copy(self) -> SpatialState:
        """Another state that can grow on its own."""
        other = copy.copy(self)
        other.term, other.images = self.term.copy(), set(self.images)
        return other

    def shape_of(self, image: int) -> Shape:
        """The shape of an image."""
        return self.shapes[int(self._kind[image])]

    def add(self, ids: NDArray[np.int64]) -> None:
        """Takes new regions into the set.

        Args:
            ids: (m,) int64 on the host, none of them in the set already.
        """
        ids = np.sort(ids)
        image = self._grid.image_of(ids)
        self.count += len(ids)
        self.images.update(np.unique(image).tolist())
        order = np.arange(len(ids)) - np.searchsorted(image, image)  # first, second, ... of its image
        for i in np.unique(self._kind[image]).tolist():
            shape, mine = self.shapes[i], self._kind[image] == i
            for step in range(int(order[mine].max(initial=-1)) + 1):
                now = mine & (order == step)
                images = self.xp.asarray(self._rank[image[now]])
                d = shape.distances(self.xp.asarray(ids[now] - self._grid.offset[image[now]]))
                old = shape.view(self.term)[images]
                shape.put(self.term, images, old + d if self.is_sum else self.xp.minimum(old, d))


class _Active:
    """The images of one shape that may still hold a pick, in lock step."""

    def __init__(self, shape: Shape, potential: Array, term: Array, first: Array) -> None:
        self.shape, self.potential, self.term, self.first = shape, potential, term, first
        self.local: Array = None
        self.phi: Array = None

    def best(self, xp: ModuleType, weight: float) -> None:
        phi = self.potential + (self.term if weight == 1 else weight * self.term)
        self.local = xp.argmax(phi, axis=1)  # the first of equal ones: the lowest id
        self.phi = phi[xp.arange(len(phi)), self.local]

    def keep(self, xp: ModuleType, least: float) -> None:
        """Drops the images whose next pick is below `least`, or that have none left."""
        alive = (self.phi >= least) & (self.phi > -xp.inf)
        if not bool(alive.all()):
            alive = xp.flatnonzero(alive)
            self.potential, self.term, self.first = self.potential[alive], self.term[alive], self.first[alive]
            self.local, self.phi = self.local[alive], self.phi[alive]

    def advance(self, xp: ModuleType, is_sum: bool) -> None:
        """Makes each image's pick."""
        d = self.shape.distances(self.local)
        if is_sum:
            self.term += d
        else:
            xp.minimum(self.term, d, out=self.term)
        self.potential[xp.arange(len(self.local)), self.local] = -xp.inf


def lock_step(xp: ModuleType, potential: Array, state: SpatialState, weight: float, k: int, blocks: Blocks) -> Picks:
    """Algorithm 1 by images.

    Args:
        xp: array namespace.
        potential: (n,) float64, the modular part of phi; -inf where a region cannot be picked.
        state: the spatial term for the labelled set; it is not changed.
        weight: lambda_s.
        k: number of picks.
        blocks: bounds the temporary arrays of the first step, which meets every region.

    Returns:
        region_id (m,) int64, phi (m,) float64 (relative to |S| `cross` under Max-Sum) and the spatial term at the
        time of the pick (m,) float64, in order, m <= k.
    """
    record = _Record(k)
    active = [_first_picks(xp, shape, potential, state.term, weight, blocks, record) for shape in state.shapes]
    while active:
        record.tighten()
        for group in active:
            group.keep(xp, record.least)
            here = xp.arange(len(group.local))
            record.add(*map(to_host, (group.first + group.local, group.phi, group.term[here, group.local])))
        active = [group for group in active if len(group.local)]
        for group in active:
            group.advance(xp, state.is_sum)
            group.best(xp, weight)
            record.count(to_host(group.phi))
    return record.merged()


def _first_picks(
    xp: ModuleType, shape: Shape, potential: Array, term: Array, weight: float, blocks: Blocks, record: _Record
) -> _Active:
    """The first pick of every image of a shape; only images among whose picks one of the best k may be are copied."""
    u, term = shape.view(potential), shape.view(term)
    local, phi = xp.empty(len(u), xp.int64), xp.empty(len(u))

    def first_pick(start: int, stop: int) -> None:
        value = u[start:stop] + (term[start:stop] if weight == 1 else weight * term[start:stop])
        local[start:stop] = xp.argmax(value, axis=1)
        phi[start:stop] = xp.max(value, axis=1)

    blocks.run(len(u), 24 * shape.regions, first_pick)
    record.count(to_host(phi))
    record.tighten()
    alive = xp.flatnonzero((phi >= record.least) & (phi > -xp.inf))
    group = _Active(shape, u[alive], term[alive], xp.asarray(shape.first)[alive])
    group.local, group.phi = local[alive], phi[alive]
    return group


class _Record:
    """Picks of all images so far, and the k-th best phi among them.

    Attributes:
        least: no pick below this one is among the best k; -inf until k picks are known.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._top = np.zeros(0)
        self._new: list[NDArray[np.float64]] = []
        self._parts: list[Picks] = []
        self.least = -np.inf

    def count(self, phi: NDArray[np.float64]) -> None:
        """Takes note of each image's next pick, recorded or not."""
        self._new.append(phi[phi >= max(self.least, -_HUGE)])

    def tighten(self) -> None:
        """Brings `least` up to date."""
        top = np.concatenate([self._top, *self._new])
        self._new = []
        if len(top) > self._k:
            top = np.partition(top, len(top) - self._k)[len(top) - self._k :]
        self._top = top
        if len(top) == self._k:
            self.least = float(top.min())

    def add(self, ids: NDArray[np.int64], phi: NDArray[np.float64], term: NDArray[np.float64]) -> None:
        """Records one pick of each of some images."""
        self._parts.append((ids, phi, term))

    def merged(self) -> Picks:
        """The best k, best first."""
        ids, phi, term = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        worth = np.flatnonzero(phi >= self.least)
        order = worth[np.lexsort((ids[worth], -phi[worth]))][: self._k]
        return ids[order], phi[order], term[order]
