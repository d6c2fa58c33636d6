"""Selection beside its peers, measured in one run on one thread.

    python benchmarks/selection.py --size quick          n = 95,000    K = 4,000     about a minute
    python benchmarks/selection.py --size full           n = 380,800   K = 16,000    Cityscapes' geometry
    python benchmarks/selection.py --size full --labelled 16000        the 32k row of the paper's Table V
    python benchmarks/selection.py --size huge           n = 3,808,000 K = 16,000    ours alone

Set OPENBLAS_NUM_THREADS=1 and OMP_NUM_THREADS=1. Times are CPU seconds. Ours is the median of whole selections, set-up
included; a peer's is extrapolated from a few timed picks, plus the labelled set met in one matrix product, because
whole it would take from minutes to hours. What the peers are: see peers.py.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers import Floats, feature_peers, ours, spatial_peers
from benchmarks.pools import DIMENSIONS, pool
from raylab.acquisition import strategy
from raylab.regions.grid import RegionGrid
from raylab.selection import GreedySelector

SIZES = {"quick": (742, 4_000), "full": (2_975, 16_000), "huge": (29_750, 16_000)}


def memory(name: str, regions: RegionGrid, u: Floats, features: Floats, labelled: NDArray[np.int64], k: int) -> None:
    """Prints the peak of what one selection allocates, beside what it is given."""
    given = u.nbytes + (features.nbytes if "spatial" not in name or "feature" in name else 0)
    tracemalloc.start()
    selector = GreedySelector(regions, strategy(name))
    selector.label(labelled)
    selector.select(k, uncertainty=u, features=features)
    peak = tracemalloc.get_traced_memory()[1] + given
    tracemalloc.stop()
    print(
        f"{name:28s} peak {peak / 2**20:7.0f} MiB with its input: {peak / features.nbytes:.2f} x the feature matrix, "
        f"{peak / regions.n_regions:.0f} bytes a region"
    )


def main() -> None:
    """Prints ours, the peers and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="quick")
    parser.add_argument("--labelled", type=int, default=1000, help="size of the labelled set")
    parser.add_argument("--picks", type=int, default=20, help="picks of a peer that are timed")
    parser.add_argument("--repeat", type=int, default=3, help="whole selections of ours that are timed")
    parser.add_argument("--strategies", nargs="*", default=["entropy+feature", "core-set", "entropy+spatial"])
    parser.add_argument("--decay", type=float, default=0.8, help="of the features' spectrum; 0 is flat")
    args = parser.parse_args()
    images, k = SIZES[args.size]
    regions, u, features = pool(images, args.decay)
    labelled = np.random.default_rng(1).permutation(regions.n_regions)[: args.labelled]
    print(f"n = {regions.n_regions:,}, d = {DIMENSIONS}, |L| = {args.labelled:,}, K = {k:,}, NumPy {np.__version__}")
    mine = {}
    for name in args.strategies:
        mine[name], share, _ = ours(name, regions, u, features, labelled, k, args.repeat)
        print(f"{name:28s} ours {mine[name]:9.3f} s   evaluated pairs {share:6.2%}", flush=True)
    for name in args.strategies:
        memory(name, regions, u, features, labelled, k)
    if args.size == "huge":
        return
    peers = {
        "feature": list(feature_peers(u, features, args.picks)),
        "spatial": list(spatial_peers(regions, u, args.picks)),
    }
    print(f"\n{'objective':28s} {'peer':8s} {'peer s':>10s} {'ours s':>10s} {'ratio':>8s}")
    for name, seconds in mine.items():
        kind = "spatial" if name.startswith("entropy+spatial") and "feature" not in name else "feature"
        for peer in peers[kind]:
            theirs = peer.seconds(args.labelled, k)
            print(f"{name:28s} {peer.name:8s} {theirs:10.1f} {seconds:10.3f} {theirs / seconds:7.0f}x")


if __name__ == "__main__":
    main()
