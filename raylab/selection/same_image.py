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
from raylab.selection.arrays import Array
from raylab.selection.features import FAR, Features
from raylab.selection.image_blocks import ImageDistances


class LocalTerm:
    """Per region, the least lambda_f d_f + lambda_s d_s to the members of the set in its image.

    Regions, and members among them, are named by their row in `features`.

    Args:
        features: of some regions.
        distances: within the images of the pool.
        weight: lambda_s.
        regions: of the pool.
        region: (n,) int64 region_id of each, rising; None where they are the whole pool.

    Attributes:
        cross: lambda_s times the distance across images.
        value: (n,) float64 the least weighted distance, infinite where the image has no member.
        d2: (n,) float64 squared feature distance on the grid of the pair that attains it.
        spatial: (n,) float64 unweighted d_s of that pair.
        apart: some distance within an image exceeds the one across images, so that the other half must leave the
            members of the same image out.
    """

    def __init__(
        self,
        features: Features,
        distances: ImageDistances,
        weight: float,
        regions: Regions,
        region: NDArray[np.int64] | None = None,
    ) -> None:
        xp, n = features.xp, len(features)
        self._features, self._distances, self._weight = features, distances, weight
        self._regions, self._region, self._offset = regions, region, regions.offset
        self.cross = weight * distances.distance.cross
        self.apart = not distances.distance.bounded_by_cross
        self.value, self.d2, self.spatial = xp.full(n, xp.inf), xp.zeros(n), xp.zeros(n)

    def terms(self) -> tuple[Array, Array, Array]:
        """What is known of every region: value, d2 and spatial, (n,) each."""
        return self.value, self.d2, self.spatial

    def restore(self, terms: NDArray[np.float64]) -> None:
        """Goes on from (3, n) `terms`, on the host."""
        self.value, self.d2, self.spatial = terms.copy()

    def add(self, row: int, scale: float) -> None:
        """Takes a region into the set; `scale` is lambda_f / s, s in steps of the grid."""
        region = row if self._region is None else self._region[row]
        self._meet(int(self._regions.image_of(region)), np.array([row]), scale)

    def add_all(self, rows: NDArray[np.int64], scale: float) -> None:
        """Takes (m,) regions of a whole pool into the set, image by image: as one by one, in their order."""
        image = self._regions.image_of(rows)
        if not len(rows):
            return
        order = np.argsort(image, kind="stable")
        images, starts = np.unique(image[order], return_index=True)
        for image, members in zip(images.tolist(), np.split(rows[order], starts[1:]), strict=True):
            self._meet(image, members, scale)

    def _pairs(self, image: int, rows: NDArray[np.int64]) -> tuple[slice, Array]:
        """The rows of an image's regions, and (regions, m) their d_s to those of some members."""
        xp, low, high = self._features.xp, int(self._offset[image]), int(self._offset[image + 1])
        if self._region is None:
            return slice(low, high), self._distances(image, xp.asarray(rows - low)).T
        inside = slice(*np.searchsorted(self._region, (low, high)).tolist())
        spatial = self._distances(image, self._region[rows] - low)
        return inside, spatial[:, self._region[inside] - low].T

    def _meet(self, image: int, members: NDArray[np.int64], scale: float) -> None:
        xp = self._features.xp
        inside, spatial = self._pairs(image, members)
        d2 = self._features.squared(inside, xp.asarray(members))
        value = xp.sqrt(d2)
        value *= scale
        value += self._weight * spatial
        if len(members) > 1:
            nearest, row = xp.argmin(value, axis=1), xp.arange(len(value))
            value, d2, spatial = value[row, nearest], d2[row, nearest], spatial[row, nearest]
        else:
            value, d2, spatial = value[:, 0], d2[:, 0], spatial[:, 0]
        closer = value < self.value[inside]
        self.value[inside] = xp.where(closer, value, self.value[inside])
        self.d2[inside] = xp.where(closer, d2, self.d2[inside])
        self.spatial[inside] = xp.where(closer, spatial, self.spatial[inside])

    def pair(self, row: int, d2: float, scale: float) -> tuple[float, float]:
        """Squared feature distance and d_s of the pair that attains a region's minimum, `d2` being the other half's."""
        elsewhere = math.sqrt(d2) * scale + self.cross if d2 < FAR else math.inf
        if float(self.value[row]) <= elsewhere:
            return float(self.d2[row]), float(self.spatial[row])
        return d2, self._distances.distance.cross
