"""How many picks of Entropy+Spatial the set functions have in common, and with Entropy.

    python benchmarks/set_functions.py --tables raylab-results/round0/*/pca-*/regions.parquet

On generated pools of Cityscapes' and VOC 2012's geometry, and on scored pools of studies. Four per cent of the pool are
picked after one per cent was drawn at random.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.pools import entropies
from raylab.config.options import parse
from raylab.config.sections import Frozen
from raylab.config.strategy import parse_strategy
from raylab.errors import exit_cleanly
from raylab.files import open_at
from raylab.regions import RegionGrid, Regions
from raylab.regions.table import columns_of, regions_of
from raylab.selection import select

STRATEGIES = {
    "max_min": "entropy+spatial",
    "max_sum": "entropy+spatial,set_function=max_sum",
    "max_sum_raw": "entropy+spatial,set_function=max_sum_raw",
    "entropy": "entropy",
}


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


def main(options: Options) -> None:
    """Print a table in Markdown."""
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
        main(parse(Options, sys.argv[1:], "set_functions.py", __doc__))
