"""How many picks the readings of what the paper leaves open have in common.

    python benchmarks/readings.py --tables raylab-results/round0/*/pca-*/regions.parquet

Max-Sum of Entropy+Spatial, scaled and raw, beside Max-Min and Entropy, on generated pools of Cityscapes' and VOC 2012's
geometry and on scored pools of studies; how Entropy+Feature scales its distances, and how far apart two images are by
the linear distance, on generated pools of 100 of Cityscapes' images. Four per cent of the pool are picked after one per
cent was drawn at random.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.pools import entropies, pool
from raylab.config.options import parse
from raylab.config.sections import Frozen
from raylab.config.strategy import parse_strategy
from raylab.errors import exit_cleanly
from raylab.files import open_at
from raylab.regions import RegionGrid, Regions
from raylab.regions.table import columns_of, regions_of
from raylab.selection import select
from raylab.selection.reference import Distances, scaled

STRATEGIES = {
    "max_min": "entropy+spatial",
    "max_sum": "entropy+spatial,set_function=max_sum",
    "max_sum_raw": "entropy+spatial,set_function=max_sum_raw",
    "entropy": "entropy",
}

SCALES = ("minimum and maximum, fixed", "maximum, at each pick", "minimum and maximum, at each pick")
"""Of d_f, beside ours: its maximum as the round begins."""

FAR = {"the images' longer side": 2048.0, "twice that distance": 2 * 1920.0}
"""Pixels between two images, beside ours: the largest distance within one, 1920 for regions of 128."""

Floats = NDArray[np.float64]


class Options(Frozen):
    """What to compare on."""

    tables: tuple[str, ...] = ()
    """Region tables of studies."""


def generated(height: int, width: int, images: int, size: int) -> tuple[Regions, Any]:
    """A pool of images of one size with made-up entropies."""
    regions = RegionGrid(np.tile([[height, width]], (images, 1)), size)
    rows, cols = int(regions.rows[0]), int(regions.cols[0])
    return regions, entropies(np.random.default_rng(0), images, rows, cols).reshape(-1)


def overlaps(regions: Regions, entropy: Any) -> list[float]:
    """Shares of equal picks, of every pair of `STRATEGIES`."""
    percent = regions.n_regions // 100
    labelled = np.random.default_rng(0).permutation(regions.n_regions)[:percent]
    picks = {}
    for name, text in STRATEGIES.items():
        acquisition = parse_strategy(text).acquisition()
        chosen = select(regions, acquisition, 4 * percent, labelled=labelled, uncertainty=entropy).region_id
        picks[name] = set(chosen.tolist())
    return [len(picks[one] & picks[other]) / (4 * percent) for one, other in combinations(STRATEGIES, 2)]


def greedy(
    u: Floats, distance: Callable[[int], Floats], labelled: list[int], k: int, low: str = "zero", fixed: bool = True
) -> set[int]:
    """Max-Min with an uncertainty in [0, 1] and a distance that is scaled by its own extremes.

    Args:
        u: (n,) uncertainty.
        distance: of a region to all n.
        labelled: what is labelled as the round begins.
        k: picks.
        low: `zero` or `minimum`: what becomes 0.
        fixed: whether the extremes are those of the round's begin, not those before each pick.
    """
    least = np.min([distance(y) for y in labelled], axis=0)
    free = np.full(len(u), True)
    free[labelled] = False
    picks: set[int] = set()
    ends = (0.0, 1.0)
    while len(picks) < k:
        if not picks or not fixed:
            ends = (float(least[free].min()) if low == "minimum" else 0.0, float(least[free].max()))
        best = int(np.argmax(np.where(free, u + (least - ends[0]) / (ends[1] - ends[0]), -np.inf)))
        free[best] = False
        picks.add(best)
        least = np.minimum(least, distance(best))
    return picks


def other_readings(seed: int) -> list[float]:
    """Shares of equal picks with ours: of `SCALES`, then of `FAR`."""
    regions, entropy, features = pool(100, seed=seed)
    u, percent = scaled(entropy), regions.n_regions // 100
    labelled = np.random.default_rng(seed).permutation(regions.n_regions)[:percent].tolist()

    distances = Distances(regions, parse_strategy("entropy+spatial").acquisition(), None)

    def feature(y: int) -> Floats:
        return np.asarray(np.linalg.norm(features - features[y], axis=1), np.float64)

    def linear(far: float) -> set[int]:
        def distance(y: int) -> Floats:
            return np.where(distances.image == distances.image[y], distances.within(y), far)

        return greedy(u, distance, labelled, 4 * percent)

    ours = greedy(u, feature, labelled, 4 * percent)
    others = [
        greedy(u, feature, labelled, 4 * percent, low, fixed)
        for low, fixed in (("minimum", True), ("zero", False), ("minimum", False))
    ]
    shares = [len(ours & other) / (4 * percent) for other in others]
    near = linear(1920.0)
    return shares + [len(near & linear(far)) / (4 * percent) for far in FAR.values()]


def main(options: Options) -> None:
    """Print tables in Markdown."""
    found = np.array([other_readings(seed) for seed in range(3)])
    print("| other reading | equal picks, three pools |\n| --- | --- |")
    for name, shares in zip((*SCALES, *FAR), found.T, strict=True):
        print(f"| {name} | {', '.join(f'{share:.1%}' for share in shares)} |")
    print()
    pairs = [f"{one}, {other}" for one, other in combinations(STRATEGIES, 2)]
    print(f"| pool | regions | {' | '.join(pairs)} |")
    print(f"| --- | --- |{' --- |' * len(pairs)}")
    pools = {
        "generated, as Cityscapes, N = 128": generated(1024, 2048, 2975, 128),
        "generated, as VOC 2012, N = 32": generated(375, 500, 1464, 32),
    }
    for uri in options.tables:
        folder, path = open_at(uri)
        table = folder.read_table(path)
        regions = regions_of(table, uri)
        pools[uri] = regions, columns_of(table, regions.n_regions)[0]["entropy"]
    for name, (regions, entropy) in pools.items():
        shares = " | ".join(f"{share:.1%}" for share in overlaps(regions, entropy))
        print(f"| {name} | {regions.n_regions:,} | {shares} |", flush=True)


if __name__ == "__main__":
    with exit_cleanly():
        main(parse(Options, sys.argv[1:], "readings.py", __doc__))
