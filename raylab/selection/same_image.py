"""The eager half of the mixed objective: distances to members of the set in a region's own image.

min_y [lambda_f d_f + lambda_s d_s] is the lesser of two minima: over members in other images, where d_s is one
constant and the feature distance can wait (`max_min`), and over those in the same image, whose few regions are
brought up to date with every pick.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from raylab.regions.base import Regions
from raylab.selection.by_image import SpatialState
from raylab.selection.features import FAR, Features


class LocalTerm:
    """Per region, the least lambda_f d_f + lambda_s d_s to the members of the set in its image.

    Attributes:
        cross: lambda_s times the distance across images.
        value: (n,) float64 the least weighted distance, infinite where the image has no member.
        d2: (n,) float64 squared feature distance on the grid of the pair that attains it.
        spatial: (n,) float64 unweighted d_s of that pair.
        image: (n,) int64 image of every region if some distance within an image exceeds the one across images, so
            that the other half must leave the members of the same image out; else None.
    """

    def __init__(self, regions: Regions, state: SpatialState, weight: float, features: Features) -> None:
        xp = features.xp
        self._regions, self._state, self._weight, self._features = regions, state, weight, features
        self._offset = regions.offset.tolist()
        self.cross = weight * state.distance.cross
        self.value = xp.full(regions.n_regions, xp.inf)
        self.d2, self.spatial = xp.zeros(regions.n_regions), xp.zeros(regions.n_regions)
        self.image = None
        if not state.distance.bounded_by_cross:
            self.image = xp.asarray(np.repeat(np.arange(regions.n_images), np.diff(regions.offset)))

    def add(self, region: int, scale: float) -> None:
        """Takes a region into the set; `scale` is lambda_f / s, s in steps of the grid."""
        self._meet(int(self._regions.image_of(region)), np.array([region]), scale)

    def add_all(self, ids: NDArray[np.int64], scale: float) -> None:
        """Takes (m,) regions into the set, image by image."""
        ids = np.sort(ids)
        images, starts = np.unique(self._regions.image_of(ids), return_index=True)
        for image, members in zip(images.tolist(), np.split(ids, starts[1:]), strict=True):
            self._meet(image, members, scale)

    def _meet(self, image: int, members: NDArray[np.int64], scale: float) -> None:
        f, xp = self._features, self._features.xp
        low, high = self._offset[image], self._offset[image + 1]
        inside = slice(low, high)
        here = xp.asarray(members)
        d2 = f.squared(inside, here)
        spatial = self._state.distances(image, here - low).T
        value = xp.sqrt(d2)
        value *= scale
        value += self._weight * spatial
        if len(members) > 1:
            nearest, row = xp.argmin(value, axis=1), xp.arange(high - low)
            value, d2, spatial = value[row, nearest], d2[row, nearest], spatial[row, nearest]
        else:
            value, d2, spatial = value[:, 0], d2[:, 0], spatial[:, 0]
        closer = value < self.value[inside]
        self.value[inside] = xp.where(closer, value, self.value[inside])
        self.d2[inside] = xp.where(closer, d2, self.d2[inside])
        self.spatial[inside] = xp.where(closer, spatial, self.spatial[inside])

    def pair(self, region: int, d2: float, scale: float) -> tuple[float, float]:
        """Squared feature distance and d_s of the pair that attains a region's minimum, `d2` being the other half's."""
        elsewhere = math.sqrt(d2) * scale + self.cross if d2 < FAR else math.inf
        if float(self.value[region]) <= elsewhere:
            return float(self.d2[region]), float(self.spatial[region])
        return d2, self._state.distance.cross
