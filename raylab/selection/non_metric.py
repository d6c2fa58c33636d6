"""Greedy selection without features where a distance within an image exceeds the one across images (c < a or c < b).

Such values are no metric, and images do meet. Under Max-Min they do until the set lies in two images; from then on
the distance across images bounds every region's minimum and `by_image.lock_step` goes on. Under Max-Sum a region's phi
may rise, so that an image's picks do not fall in order; each pick then looks at the best of every image.
"""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from raylab.regions.base import Regions
from raylab.selection.arrays import Array
from raylab.selection.by_image import Picks, SpatialState
from raylab.selection.distance import SpatialDistance
from raylab.selection.image_blocks import ImageDistances


def first_image(
    regions: Regions,
    potential: NDArray[np.float64],
    distance: SpatialDistance,
    members: NDArray[np.int64],
    weight: float,
    k: int,
) -> Picks:
    """Max-Min's picks up to the first with which the set lies in two images, k at most.

    Args:
        regions: of the pool.
        potential: (n,) float64, the modular part of phi; -inf where a region cannot be picked, also once it is picked.
        distance: of the pool.
        members: (m,) int64 of the set so far.
        weight: lambda_s.
        k: number of picks.
    """
    distances = ImageDistances(np, regions, distance, False)
    images = set(np.unique(regions.image_of(members)).tolist())
    term = np.full(regions.n_regions, distance.cross if images else distance.empty)
    picks: list[tuple[int, float, float]] = []

    def meet(image: int, some: NDArray[np.int64]) -> None:
        inside = slice(int(regions.offset[image]), int(regions.offset[image + 1]))
        nearest = distances(image, some - inside.start).min(axis=0)
        term[inside] = nearest if image not in images else np.minimum(term[inside], nearest)
        images.add(image)

    if len(images) == 1:
        image = images.pop()
        meet(image, members)
    while len(picks) < k and len(images) < 2:
        phi = potential + weight * term
        best = int(np.argmax(phi))
        picks.append((best, float(phi[best]), float(term[best])))
        potential[best] = -np.inf
        if not images:
            term[:] = distance.cross
        meet(int(regions.image_of(best)), np.array([best]))
    return _columns(picks)


def greedy_sum(xp: ModuleType, regions: Regions, potential: Array, state: SpatialState, weight: float, k: int) -> Picks:
    """Max-Sum when distances relative to the one across images may be positive.

    Args:
        xp: array namespace.
        regions: of the pool, or of some of its images.
        potential: (n,) float64; it is used up.
        state: the spatial sums for the labelled set; it is used up.
        weight: lambda_s over what the sum is divided by.
        k: number of picks.

    Returns:
        As `lock_step`, in the order of the picks, in which phi may rise.
    """
    offset = regions.offset.tolist()
    phi = potential + weight * state.term
    best = np.array([float(phi[a:b].max()) for a, b in pairwise(offset)])
    picks: list[tuple[int, float, float]] = []
    while len(picks) < k:
        image = int(np.argmax(best))  # the first of equal ones holds the lowest ids
        inside = slice(offset[image], offset[image + 1])
        region = offset[image] + int(xp.argmax(phi[inside]))
        if best[image] == -np.inf:
            break
        picks.append((region, float(phi[region]), float(state.term[region])))
        potential[region] = -xp.inf
        state.add(np.array([region]))
        phi[inside] = potential[inside] + weight * state.term[inside]
        best[image] = float(phi[inside].max())
    return _columns(picks)


def _columns(picks: list[tuple[int, float, float]]) -> Picks:
    ids, phi, term = (np.array([p[i] for p in picks]) for i in range(3))
    return ids.astype(np.int64), phi.astype(np.float64), term.astype(np.float64)
