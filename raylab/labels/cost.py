"""What labelling costs: regions, pixels, or the clicks of drawing polygons; and spending a budget without exceeding it.

Plain NumPy; scikit-image traces the outlines that clicks are estimated from.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from raylab.data.base import SegmentationDataset
from raylab.data.classes import IGNORE
from raylab.regions import Regions

TOLERANCE = 1.0
"""Pixels a simplified outline may lie off the true one (Douglas-Peucker)."""
_USUAL_CLICKS = 8.0

Ids = NDArray[np.int64]


class Prices:
    """The cost of regions in a budget's unit. Clicks are read off the masks: in a simulation the oracle knows them.

    Args:
        unit: `regions`, `pixels` or `clicks`.
        dataset: whose training masks clicks are estimated from.
        regions: the pool's geometry.
    """

    def __init__(self, unit: str, dataset: SegmentationDataset, regions: Regions) -> None:
        self.unit = unit
        self._dataset = dataset
        self._regions = regions
        self._clicks: dict[int, int] = {}

    def __call__(self, region_id: Ids) -> NDArray[np.float64]:
        """(k,) float64 costs of (k,) regions.

        Raises:
            DataError: a mask cannot be read.
        """
        if self.unit == "regions":
            return np.ones(len(region_id))
        if self.unit == "pixels":
            return self._regions.pixels(region_id).astype(np.float64)
        self._estimate(np.array([i for i in region_id.tolist() if i not in self._clicks], np.int64))
        return np.array([self._clicks[i] for i in region_id.tolist()], np.float64)

    def _estimate(self, region_id: Ids) -> None:
        images = self._regions.image_of(region_id)
        for image in np.unique(images).tolist():
            mask, labels = self._dataset.read_mask("train", image), self._regions.label_map(image)
            here = region_id[images == image]
            for region, (top, left, height, width) in zip(here.tolist(), self._regions.boxes(here), strict=True):
                window = np.s_[top : top + height, left : left + width]
                inside = labels[window] == region - self._regions.offset[image]
                self._clicks[region] = polygon_clicks(mask[window], inside)

    @property
    def usual(self) -> float:
        """About what a region costs."""
        if self.unit == "regions":
            return 1.0
        if self.unit == "pixels":
            return float(self._regions.region_size**2)
        # A constant: what is asked for must not depend on which prices a process happens to know.
        return _USUAL_CLICKS


def polygon_clicks(mask: NDArray[np.uint8], inside: NDArray[np.bool_]) -> int:
    """Clicks that label a region by polygons (after CEREALS, and Cai et al., CVPR 2021).

    One click names the class of every segment (8-connected pixels of one class). Every segment but the largest, which
    is what is left, is outlined: a click a vertex of its outline within the region, simplified to `TOLERANCE` pixels,
    and one where the outline meets the region's border.

    Args:
        mask: (h, w) uint8 training ids around a region; ignored pixels are no segment.
        inside: (h, w) which of them are the region's.

    Returns:
        Clicks; 0 where nothing of the region counts.
    """
    from skimage.measure import approximate_polygon, find_contours, label  # takes a second, and few runs need it

    known = inside & (mask != IGNORE)
    segments = label(np.where(known, mask.astype(np.int16) + 1, 0), background=0, connectivity=2)
    sizes = np.bincount(segments.reshape(-1))[1:]
    clicks = len(sizes)
    largest = int(np.argmax(sizes)) if clicks else 0
    within = np.pad(inside, 1)  # scikit-image traces nothing in a window one pixel wide
    for segment in (s + 1 for s in range(len(sizes)) if s != largest):
        # Outside the region nothing is drawn: the outline ends where it leaves the region.
        drawn = find_contours(np.pad(segments == segment, 1).astype(np.float64), 0.5, mask=within)
        clicks += sum(_vertices(approximate_polygon(line, TOLERANCE)) for line in drawn)
    return clicks


def _vertices(line: NDArray[np.float64]) -> int:
    closed = len(line) > 1 and bool((line[0] == line[-1]).all())
    return len(line) - int(closed)


def spend(
    choose: Callable[[int], Ids], prices: Callable[[Ids], NDArray[np.float64]], allowance: float, usual: float
) -> tuple[int, int, NDArray[np.float64]]:
    """How many regions to ask for, and how many of them an allowance pays, in their order.

    Args:
        choose: gives the first k regions.
        prices: their costs, each above 0 or 0 where nothing of a region counts.
        allowance: never exceeded.
        usual: about what a region costs.

    Returns:
        The number asked for, the number paid, and the costs of those.
    """
    asked = max(1, math.ceil(allowance / usual))
    while True:
        picks = choose(asked)
        cost = prices(picks)
        paid = int(np.searchsorted(np.cumsum(cost), allowance, side="right"))
        exhausted = len(picks) < asked
        spent = float(cost[:paid].sum())
        if paid < len(picks) or exhausted or spent == allowance:
            return asked, paid, cost[:paid]
        asked *= 2
