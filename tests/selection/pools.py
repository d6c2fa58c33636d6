"""Pools small enough for Algorithm 1 as it is written, as awkward as hypothesis can make them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from raylab.acquisition import FIELDS, Acquisition
from raylab.regions.base import Regions
from raylab.regions.grid import RegionGrid
from raylab.regions.superpixels import Geometry, Superpixels, geometry_of, joined
from tests.configs import other_values

OTHERS = other_values()


class Case(NamedTuple):
    """The arguments of `select`, but for the acquisition."""

    regions: Regions
    k: int
    labelled: np.ndarray
    uncertainty: np.ndarray
    features: np.ndarray
    seed: int
    predicted_class: np.ndarray | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "labelled": self.labelled,
            "uncertainty": self.uncertainty,
            "features": self.features,
            "predicted_class": self.predicted_class,
            "seed": self.seed,
        }


def label_map(rng: np.random.Generator, height: int, width: int, regions: int) -> np.ndarray:
    """Every pixel goes to the nearest of some places, and a few to any; numbered without gaps."""
    places = rng.random((regions, 2)) * [height, width]
    y, x = np.indices((height, width))[:, :, :, None]
    labels = np.abs(np.stack([y - places[:, 0], x - places[:, 1]])).max(axis=0).argmin(axis=-1)
    stray = rng.random(labels.shape) < 0.02
    labels[stray] = rng.integers(0, regions, np.count_nonzero(stray))
    return np.unique(labels, return_inverse=True)[1].reshape(height, width).astype(np.int32)


def scattered(regions: Regions) -> Superpixels:
    """The same regions as superpixels, which are told by their centres alone."""
    ids = np.arange(regions.n_regions)
    geometry = Geometry(np.diff(regions.offset), regions.centres(ids), regions.boxes(ids), regions.pixels(ids))
    return Superpixels(regions.sizes, regions.region_size, geometry)


def irregular(rng: np.random.Generator, sizes: list[tuple[int, int]], size: int, kind: str) -> Superpixels:
    """Superpixels of images of very different numbers of regions, by label maps or by centres, some the same."""
    counts = [int(rng.choice([1, 2, 3, h * w // size**2, 20])) for h, w in sizes]
    if kind == "maps":
        maps = [label_map(rng, h, w, count) for (h, w), count in zip(sizes, counts, strict=True)]
        return Superpixels(sizes, size, joined([geometry_of(labels) for labels in maps]))
    n = sum(counts)
    sides = np.repeat(np.array(sizes), counts, axis=0)
    centres = rng.random((n, 2)) * sides
    if kind == "few places":
        centres = np.floor(centres / 6) * 6 + 0.5
    boxes = np.column_stack([np.zeros((n, 2), np.int32), sides]).astype(np.int32)
    return Superpixels(sizes, size, Geometry(np.array(counts), centres, boxes, np.ones(n, np.int64)))


@st.composite
def pools(draw: st.DrawFn, most_images: int = 5) -> Regions:
    """Grids with clipped borders and irregular regions, images of differing sizes."""
    size = draw(st.sampled_from([8, 16]))
    side = st.integers(size, 4 * size)
    sizes = draw(st.lists(st.tuples(side, side), min_size=1, max_size=most_images))
    kind = draw(st.sampled_from(["grid", "grid", "maps", "places", "few places"]))
    if kind == "grid":
        return RegionGrid(sizes, size)
    return irregular(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), sizes, size, kind)


@st.composite
def cases(draw: st.DrawFn, most_images: int = 5) -> Case:
    """Pools of any shape, ties, constants, duplicates; nothing or all of it labelled."""
    regions = draw(pools(most_images))
    n = regions.n_regions
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 3, 10, 0]))
    uncertainty = rng.random(n) if levels == 0 else rng.integers(0, levels, n) / 7
    d = draw(st.sampled_from([1, 2, 3, 5, 8]))
    kind = draw(st.sampled_from(["normal", "whole", "constant", "duplicates", "tiny", "huge"]))
    features = rng.normal(size=(n, d))
    if kind == "whole":
        features = rng.integers(-2, 3, (n, d))
    elif kind == "constant":
        features[:] = features[0]
    elif kind == "duplicates":
        features = features[rng.integers(0, max(1, n // 4), n)]
    elif kind in ("tiny", "huge"):
        features = features * (1e-41 if kind == "tiny" else 1e37)
    share = draw(st.sampled_from([0.0, 0.02, 0.2, 0.9, 1.0]))
    labelled = rng.permutation(n)[: math.ceil(share * n)]
    k = draw(st.sampled_from([0, 1, 2, n // 3, n, n + 5]))
    classes = rng.integers(0, draw(st.sampled_from([1, 4])), n).astype(np.int16)
    return Case(regions, k, labelled, uncertainty, features.astype(np.float32), int(rng.integers(0, 2**31)), classes)


@st.composite
def acquisitions(draw: st.DrawFn) -> Acquisition:
    """Any acquisition, metric or not."""
    weight = st.sampled_from([0.0, 1.0, 0.3, 2.5])
    q: dict[str, Any] = {name: draw(weight) for name in ("uncertainty", "feature", "spatial")}
    if not any(q.values()):
        q["uncertainty"] = 1.0
    q["random"] = draw(st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0]))
    q["class_balanced"] = draw(st.booleans())
    q["set_function"] = draw(st.sampled_from(["max_min", "max_min", "max_sum", "max_sum_raw"]))
    q["distance"] = draw(st.sampled_from(["piecewise", "piecewise", "linear"]))
    q["p"] = draw(st.sampled_from([1.0, 2.0, math.inf]))
    q["tau"] = draw(st.sampled_from([None, 0.0, 12.0, 40.0]))
    q["a"], q["b"], q["c"] = draw(
        st.sampled_from([(1, 2, 2), (1, 1, 1), (1, 2, 3), (0.7, 1.1, 1.3), (1, 2, 1), (2, 1, 1), (3, 1, 2), (0, 1, 0)])
    )
    base = Acquisition(**q)  # what a later version adds is drawn too
    q |= {name: draw(st.sampled_from([getattr(base, name), OTHERS[name]])) for name in FIELDS if name not in q}
    return Acquisition(**q)
