"""Greedy selection without features where a distance within an image exceeds the one across images (c < a or c < b).

Such values are no metric, and images do meet. Under Max-Min they do until the set lies in two images; from then on
the distance across images bounds every region's minimum and `by_image.lock_step` goes on. Under Max-Sum a region's phi
may rise, so that an image's picks do not fall in order; each pick then looks at the best of every image.
"""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType

import numpy as np

from raylab.regions.base import Regions
from raylab.selection.arrays import Array, Blocks
from raylab.selection.by_image import Picks, SpatialState, lock_step


def greedy_min(
    xp: ModuleType, regions: Regions, potential: Array, state: SpatialState, weight: float, k: int, blocks: Blocks
) -> Picks:
    """Algorithm 1 when images meet; arguments and result as in `lock_step`, `potential` is used up."""
    state = state.copy()
    picks: list[tuple[int, float, float]] = []
    while len(picks) < k and len(state.images) < 2:
        term = xp.full(regions.n_regions, state.distance.cross if state.images else state.distance.empty)
        for image in state.images:
            inside = slice(int(regions.offset[image]), int(regions.offset[image + 1]))
            term[inside] = state.term[inside]
        phi = potential + weight * term
        best = int(xp.argmax(phi))
        picks.append((best, float(phi[best]), float(term[best])))
        potential[best] = -xp.inf
        state.add(np.array([best]))
    head = _columns(picks)
    if len(picks) == k:
        return head
    state.term = xp.minimum(state.term, state.distance.cross)
    rest = lock_step(xp, potential, state, weight, k - len(picks), blocks)
    ids, phi, term = (np.concatenate(pair) for pair in zip(head, rest, strict=True))
    return ids, phi, term


def greedy_sum(xp: ModuleType, regions: Regions, potential: Array, state: SpatialState, weight: float, k: int) -> Picks:
    """Max-Sum when distances relative to the one across images may be positive; as `greedy_min`."""
    state = state.copy()
    offset = regions.offset.tolist()
    phi = potential + weight * state.term
    best = np.array([float(phi[a:b].max()) for a, b in pairwise(offset)])
    picks: list[tuple[int, float, float]] = []
    while len(picks) < k:
        image = int(np.argmax(best))  # the first of equal ones holds the lowest ids
        inside = slice(offset[image], offset[image + 1])
        region = offset[image] + int(xp.argmax(phi[inside]))
        picks.append((region, float(phi[region]), float(state.term[region])))
        potential[region] = -xp.inf
        state.add(np.array([region]))
        phi[inside] = potential[inside] + weight * state.term[inside]
        best[image] = float(phi[inside].max())
    return _columns(picks)


def _columns(picks: list[tuple[int, float, float]]) -> Picks:
    ids, phi, term = (np.array([p[i] for p in picks]) for i in range(3))
    return ids.astype(np.int64), phi.astype(np.float64), term.astype(np.float64)
