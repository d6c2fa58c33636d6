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

from raylab.regions.base import Regions
from raylab.selection.arrays import Array, Blocks, to_host
from raylab.selection.distance import SpatialDistance
from raylab.selection.image_blocks import ImageBlock, ImageDistances

_HUGE = np.finfo(np.float64).max

Picks = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""region_id, phi and spatial term of picks, in order."""


class SpatialState:
    """The spatial term of every region for the labelled set so far; lives on the device and grows with the set.

    Args:
        xp: array namespace.
        regions: of the pool, or of some of its images.
        distance: of the pool.
        is_sum: the set function is a Max-Sum.

    Attributes:
        term: (n,) float64 on the device: Max-Min, the least d_s to a labelled region of the same image, at most
            the distance across images (infinite without one if that bounds nothing); Max-Sum, the sum of the distances
            to those relative to that distance, not scaled.
        distances: within these images.
    """

    def __init__(self, xp: ModuleType, regions: Regions, distance: SpatialDistance, is_sum: bool) -> None:
        self.xp, self.distance, self.is_sum, self._regions = xp, distance, is_sum, regions
        self.distances = ImageDistances(xp, regions, distance, is_sum)
        start = distance.cross if distance.bounded_by_cross else np.inf
        self.term = xp.full(regions.n_regions, 0.0 if is_sum else start)

    def copy(self) -> SpatialState:
        """Another state that can grow on its own."""
        other = copy.copy(self)
        other.term = self.term.copy()
        return other

    def add(self, ids: NDArray[np.int64]) -> None:
        """Takes new regions into the set.

        Args:
            ids: (m,) int64 on the host, none of them in the set already.
        """
        ids = np.sort(ids)
        image = self._regions.image_of(ids)
        kind, rank = self.distances.kind[image], self.distances.rank[image]
        order = np.arange(len(ids)) - np.searchsorted(image, image)  # first, second, ... of its image
        for i in np.unique(kind).tolist():
            block, mine = self.distances.blocks[i], kind == i
            for step in range(int(order[mine].max(initial=-1)) + 1):
                now = mine & (order == step)
                images = self.xp.asarray(rank[now])
                d = block.distances(images, self.xp.asarray(ids[now] - self._regions.offset[image[now]]))
                old = block.view(self.term, images)
                block.put(self.term, images, old + d if self.is_sum else self.xp.minimum(old, d))


class _Active:
    """The images of one block that may still hold a pick, in lock step."""

    def __init__(self, block: ImageBlock, images: Array, potential: Array, term: Array) -> None:
        self.block, self.images, self.potential, self.term = block, images, potential, term
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
            self.potential, self.term, self.images = self.potential[alive], self.term[alive], self.images[alive]
            self.local, self.phi = self.local[alive], self.phi[alive]

    def advance(self, xp: ModuleType, is_sum: bool) -> None:
        """Makes each image's pick."""
        d = self.block.distances(self.images, self.local)
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
        weight: lambda_s; under Max-Sum over what the sum is divided by.
        k: number of picks.
        blocks: bounds the temporary arrays of the first step, which meets every region.

    Returns:
        region_id (m,) int64, phi (m,) float64 (relative to |S| `cross` under Max-Sum) and the spatial term at the
        time of the pick (m,) float64, in order, m <= k.
    """
    record = _Record(k)
    active = [
        _first_picks(xp, block, potential, state.term, weight, blocks, record) for block in state.distances.blocks
    ]
    while active:
        record.tighten()
        for group in active:
            group.keep(xp, record.least)
            here, ids = xp.arange(len(group.local)), group.block.first[group.images] + group.local
            record.add(*map(to_host, (ids, group.phi, group.term[here, group.local])))
        active = [group for group in active if len(group.local)]
        for group in active:
            group.advance(xp, state.is_sum)
            group.best(xp, weight)
            record.count(to_host(group.phi))
    return record.merged()


def _first_picks(
    xp: ModuleType, block: ImageBlock, potential: Array, term: Array, weight: float, blocks: Blocks, record: _Record
) -> _Active:
    """The first pick of every image of a block; only images among whose picks one of the best k may be are copied."""
    images = len(block.first)
    local, phi = xp.empty(images, xp.int64), xp.empty(images)

    def first_pick(start: int, stop: int) -> None:
        some = slice(start, stop)
        u, d = block.view(potential, some, -xp.inf), block.view(term, some)
        value = u + (d if weight == 1 else weight * d)
        local[some] = xp.argmax(value, axis=1)
        phi[some] = xp.max(value, axis=1)

    blocks.run(images, 24 * block.regions, first_pick)
    record.count(to_host(phi))
    record.tighten()
    alive = xp.flatnonzero((phi >= record.least) & (phi > -xp.inf))
    group = _Active(block, alive, block.view(potential, alive, -xp.inf), block.view(term, alive))
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
